//! The table of outcomes, row by row, with bodies as providers send them.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};

use super::*;
use crate::config::known;

const KEY: Outcome = Outcome::KeyRefused;
const CLIENT: Outcome = Outcome::ClientFault;
const BIG: Outcome = Outcome::TooBig;
const MODEL: Outcome = Outcome::NotServed(MissingFeature::Model);
const ROUTE: Outcome = Outcome::NotServed(MissingFeature::Route);
const FIELD: Outcome = Outcome::NotServed(MissingFeature::Field);
const REST_UNSAID: Outcome = Outcome::Throttled { rest: None };

const fn hard(status: u16) -> Outcome {
    Outcome::Hard(HardKind::Status(status))
}

const fn rest(seconds: u64) -> Outcome {
    Outcome::Throttled { rest: Some(Duration::from_secs(seconds)) }
}

/// Classifies `status` from `host` with `[code, type, param, message]`; an empty string is an absent field.
fn classify(host: &str, status: u16, retry_after: &'static str, body: [&str; 4]) -> Outcome {
    let mut headers = HeaderMap::new();
    if !retry_after.is_empty() {
        headers.insert("retry-after", HeaderValue::from_static(retry_after));
    }
    of_status(known::profile(host), status, &headers, said(&body), SystemTime::now())
}

fn said<'a>(body: &[&'a str; 4]) -> ErrorFields<'a> {
    let field = |text: &'a str| (!text.is_empty()).then_some(text);
    ErrorFields { code: field(body[0]), kind: field(body[1]), param: field(body[2]), message: body[3] }
}

#[test]
fn plain_statuses() {
    let table = [
        (200, Outcome::Hard(HardKind::Malformed)),
        (301, ROUTE),
        (307, ROUTE),
        (400, CLIENT),
        (401, KEY),
        (402, KEY),
        (403, KEY),
        (404, ROUTE), // without any error body: a wrong base URL, not something the client named
        (405, ROUTE),
        (406, CLIENT),
        (408, hard(408)),
        (409, hard(409)),
        (413, BIG),
        (415, CLIENT),
        (418, CLIENT),
        (422, CLIENT),
        (424, CLIENT),
        (429, REST_UNSAID),
        (498, REST_UNSAID),
        (499, hard(499)),
        (500, hard(500)),
        (501, ROUTE),
        (502, hard(502)),
        (503, hard(503)),
        (504, hard(504)),
        (520, hard(520)),
        (524, hard(524)),
        (529, hard(529)),
        (599, hard(599)),
        (999, hard(999)),
    ];
    for (status, want) in table {
        assert_eq!(classify("127.0.0.1", status, "", [""; 4]), want, "{status}");
    }
}

#[test]
fn a_503_with_retry_after_is_throttling_and_other_5xx_are_not() {
    assert_eq!(classify("x", 503, "7", [""; 4]), rest(7));
    assert_eq!(classify("x", 503, "99999", [""; 4]), rest(300));
    assert_eq!(classify("x", 503, "garbage", [""; 4]), hard(503));
    assert_eq!(classify("x", 500, "7", [""; 4]), hard(500));
    assert_eq!(classify("x", 502, "7", [""; 4]), hard(502));
    assert_eq!(classify("api.together.xyz", 503, "", [""; 4]), REST_UNSAID);
    assert_eq!(classify("x", 429, "0", [""; 4]), rest(1));
}

/// (host, status, [code, type, param, message], outcome)
type Row = (&'static str, u16, [&'static str; 4], Outcome);

fn check(table: &[Row]) {
    for (host, status, body, want) in table {
        assert_eq!(classify(host, *status, "", *body), *want, "{host} {status} {body:?}");
    }
}

#[test]
fn throttling_quota_and_requests_that_never_fit() {
    let groq_too_large = "Request too large for model `llama-3.1-8b-instant` in organization `org_1` on tokens \
        per minute (TPM): Limit 6000, Requested 7895, please reduce your message size and try again.";
    let never_clears =
        "Rate limit reached for model on tokens per minute (TPM): Limit 6000, Used 0, Requested 7895.";
    let busy = "Rate limit reached on tokens per minute (TPM): Limit 6000, Used 5999, Requested 95. \
        Please try again in 9s.";
    let together =
        "You have reached the rate limit specific to this model. The maximum rate limit is 3.0 queries.";
    let gemini = "You exceeded your current quota, please check your plan and billing details.";
    check(&[
        ("api.groq.com", 413, ["rate_limit_exceeded", "tokens", "", groq_too_large], BIG),
        ("api.openai.com", 429, ["rate_limit_exceeded", "tokens", "", groq_too_large], BIG),
        ("api.groq.com", 429, ["rate_limit_exceeded", "tokens", "", never_clears], BIG),
        ("api.groq.com", 429, ["rate_limit_exceeded", "tokens", "", busy], rest(9)),
        ("api.groq.com", 498, ["", "capacity_exceeded", "", "Flex tier capacity exceeded"], REST_UNSAID),
        ("api.together.xyz", 429, ["", "credit_limit", "", together], REST_UNSAID),
        ("generativelanguage.googleapis.com", 429, ["429", "", "", gemini], REST_UNSAID),
        ("api.openai.com", 429, ["insufficient_quota", "insufficient_quota", "", gemini], KEY),
        ("api.mistral.ai", 429, ["1300", "rate_limited", "", "Rate limit exceeded"], REST_UNSAID),
    ]);
}

#[test]
fn our_key_quota_and_credit() {
    let low = "Your credit balance is too low to access the API. Please go to Plans & Billing.";
    check(&[
        ("x", 401, ["invalid_api_key", "invalid_request_error", "", "Incorrect API key provided"], KEY),
        ("openrouter.ai", 402, ["402", "", "", "Insufficient credits"], KEY),
        ("openrouter.ai", 403, ["403", "", "", "Key limit exceeded"], KEY),
        ("x", 403, ["unsupported_country_region_territory", "", "", "Country not supported"], KEY),
        ("x", 400, ["", "", "", "Usage limit reached for this month"], KEY),
        ("x", 400, ["", "invalid_request_error", "", low], KEY),
        ("x", 400, ["budget_exceeded", "", "", "Budget has been exceeded! Current cost: 1.1"], KEY),
        ("x", 400, ["400", "INVALID_ARGUMENT", "", "API key not valid. Please pass a valid API key."], KEY),
    ]);
}

#[test]
fn a_client_cannot_talk_a_target_out_of_service() {
    check(&[
        (
            "x",
            400,
            ["", "", "", "Invalid value: 'insufficient credits'. Supported values are: 'auto'"],
            CLIENT,
        ),
        ("x", 400, ["", "", "", "Invalid value: \"it's usage limit reached\""], CLIENT),
        ("x", 400, ["", "", "", "Invalid value: 'it's usage limit reached'"], CLIENT),
        ("x", 400, ["", "", "tool_choice", "usage limit reached is not a tool"], CLIENT),
        ("x", 400, ["", "", "", "Unknown role `invalid api key`"], CLIENT),
        ("x", 404, ["", "", "", "Item with id 'model' not found"], CLIENT),
        ("x", 400, ["", "", "", "You've an invalid tool"], CLIENT),
    ]);
}

#[test]
fn context_length_in_every_dialect() {
    let openai = "This model's maximum context length is 16385 tokens. However, your messages resulted in 33625 tokens.";
    let llama = "the request exceeds the available context size. try increasing the context size";
    let mistral = "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length";
    let tgi = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8000";
    let anthropic = "input length and `max_tokens` exceed context limit: 189136 + 20000 > 204648";
    let batch = "input is too large to process. increase the physical batch size";
    check(&[
        (
            "api.openai.com",
            400,
            ["context_length_exceeded", "invalid_request_error", "messages", openai],
            BIG,
        ),
        ("vllm", 400, ["400", "BadRequestError", "", openai], BIG),
        ("127.0.0.1", 400, ["400", "exceed_context_size_error", "", llama], BIG),
        ("127.0.0.1", 500, ["500", "server_error", "", batch], BIG),
        ("api.mistral.ai", 400, ["3051", "invalid_request_prompt", "", mistral], BIG),
        ("api.together.xyz", 422, ["", "invalid_request_error", "", tgi], BIG),
        (
            "api.together.xyz",
            403,
            ["", "", "", "Input token count + max_tokens must be less than the limit"],
            BIG,
        ),
        ("api.anthropic.com", 400, ["", "invalid_request_error", "", anthropic], BIG),
        ("api.anthropic.com", 413, ["", "request_too_large", "", "Request exceeds the maximum size"], BIG),
        ("x", 400, ["", "", "", "Please reduce the length of the messages or completion."], BIG),
    ]);
}

#[test]
fn policy_and_plain_client_faults() {
    let azure =
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.";
    check(&[
        ("r.openai.azure.com", 400, ["content_filter", "", "prompt", azure], CLIENT),
        (
            "api.openai.com",
            400,
            ["content_policy_violation", "image_generation_user_error", "", "Rejected"],
            CLIENT,
        ),
        ("openrouter.ai", 403, ["403", "", "", "Your input was flagged by moderation"], CLIENT),
        (
            "api.openai.com",
            400,
            ["invalid_value", "invalid_request_error", "temperature", "Too high"],
            CLIENT,
        ),
        ("api.openai.com", 400, ["unknown_parameter", "", "foo", "Unknown parameter: 'foo'."], CLIENT),
        ("api.openai.com", 422, ["", "", "", "extra inputs: logprobs not supported"], CLIENT),
        ("api.openai.com", 404, ["", "invalid_request_error", "id", "No such response"], CLIENT),
        ("api.openai.com", 409, ["", "", "", "Conversation already exists"], CLIENT),
        ("api.openai.com", 409, ["", "", "", "Could not acquire the lock, try again"], hard(409)),
        ("api.groq.com", 422, ["", "", "", "Unprocessable: semantic error"], CLIENT),
    ]);
}

#[test]
fn what_a_target_does_not_have() {
    let extra = "property 'logit_bias' is unsupported";
    check(&[
        (
            "api.openai.com",
            404,
            ["model_not_found", "invalid_request_error", "", "The model `x` does not exist"],
            MODEL,
        ),
        ("vllm", 404, ["404", "NotFoundError", "model", "The model `x` does not exist."], MODEL),
        ("127.0.0.1", 404, ["", "", "", "model 'x' not found"], MODEL),
        ("openrouter.ai", 404, ["404", "", "", "No endpoints found for x."], MODEL),
        ("openrouter.ai", 400, ["400", "", "", "x is not a valid model ID"], MODEL),
        (
            "r.openai.azure.com",
            404,
            ["DeploymentNotFound", "", "", "The API deployment does not exist."],
            MODEL,
        ),
        ("api.mistral.ai", 400, ["1500", "invalid_model", "", "Invalid model: x"], MODEL),
        ("api.groq.com", 400, ["model_decommissioned", "", "", "The model has been decommissioned"], MODEL),
        ("api.openai.com", 403, ["model_not_found", "", "", "Project has no access to model `x`"], MODEL),
        (
            "api.groq.com",
            404,
            ["unknown_url", "", "", "Unknown request URL: POST /openai/v1/embeddings"],
            ROUTE,
        ),
        ("api.openai.com", 404, ["", "", "", "Invalid URL (POST /v1/v1/chat/completions)"], ROUTE),
        ("api.groq.com", 400, ["", "invalid_request_error", "", extra], FIELD),
        ("api.mistral.ai", 422, ["", "extra_forbidden", "user", "Extra inputs are not permitted"], FIELD),
        ("api.mistral.ai", 422, ["", "", "", "extra_forbidden: body.stream_options"], FIELD),
        ("api.mistral.ai", 422, ["", "", "", "extra_forbidden: body.temperatur"], CLIENT),
    ]);
}

#[test]
fn errors_inside_a_200() {
    let malformed = Outcome::Hard(HardKind::Malformed);
    let table = [
        (["", "", "", ""], malformed),
        (["502", "", "", "Provider returned error"], hard(502)),
        (["402", "", "", "Insufficient credits"], KEY),
        (["429", "", "", "Rate limited upstream, try again in 3s"], rest(3)),
        (["400", "", "", "maximum context length is 10"], BIG),
        (["400", "", "", "bad tool"], CLIENT),
        (["0", "", "", "?"], malformed),
        (["200", "", "", "?"], malformed),
        (["99999", "", "", "?"], malformed),
        (["rate_limit_exceeded", "", "", "slow down"], REST_UNSAID),
        (["", "insufficient_quota", "", "no quota"], KEY),
        (["context_length_exceeded", "", "", ""], BIG),
        (["content_filter", "", "", "filtered"], CLIENT),
        (["", "server_error", "", "The server had an error"], malformed),
        (["server_error", "", "", "overloaded"], malformed),
    ];
    for (body, want) in table {
        let got = of_error_in_200(&known::PLAIN, &HeaderMap::new(), said(&body), SystemTime::now());
        assert_eq!(got, want, "{body:?}");
    }
}

#[test]
fn the_columns() {
    use BreakerSignal as B;
    use NextStep as N;
    use ScoreSignal as S;
    let broken = Outcome::Broken(BrokenKind::Cut);
    let table = [
        (Outcome::Success, B::Success, S::Success, N::No, None, Sent::Answering),
        (Outcome::Hard(HardKind::Connect), B::Failure, S::Failure, N::AtOnce, Some("connect"), Sent::No),
        (Outcome::Hard(HardKind::Reset), B::Failure, S::Failure, N::AtOnce, Some("connect"), Sent::Perhaps),
        (Outcome::Hard(HardKind::Silent), B::Failure, S::Failure, N::AtOnce, Some("timeout"), Sent::Perhaps),
        (hard(503), B::Failure, S::Failure, N::AtOnce, Some("status_5xx"), Sent::Perhaps),
        (hard(408), B::Failure, S::Failure, N::AtOnce, Some("timeout"), Sent::Perhaps),
        (
            Outcome::Hard(HardKind::Malformed),
            B::Failure,
            S::Failure,
            N::AtOnce,
            Some("malformed"),
            Sent::Answering,
        ),
        (REST_UNSAID, B::RatioOnly, S::Failure, N::AtOnce, Some("rate_limited"), Sent::No),
        (KEY, B::Neutral, S::Neutral, N::AtOnce, Some("auth"), Sent::No),
        (MODEL, B::Neutral, S::Neutral, N::AtOnce, None, Sent::No),
        (BIG, B::Neutral, S::Neutral, N::Larger, None, Sent::No),
        (CLIENT, B::Neutral, S::Neutral, N::No, None, Sent::No),
        (Outcome::Cancelled, B::Neutral, S::Neutral, N::No, None, Sent::Perhaps),
        (broken, B::Failure, S::Failure, N::Rescue, Some("stream_broken"), Sent::Answering),
    ];
    for (outcome, breaker, score, next, kind, sent) in table {
        assert_eq!(outcome.counts_for_breaker(), breaker, "{outcome}");
        assert_eq!(outcome.counts_for_score(), score, "{outcome}");
        assert_eq!(outcome.may_try_next(), next, "{outcome}");
        assert_eq!(outcome.failure_kind().map(FailureKind::as_str), kind, "{outcome}");
        assert_eq!(outcome.sent(), sent, "{outcome}");
        assert_eq!(outcome.misconfigures(), outcome == KEY || outcome == MODEL, "{outcome}");
        assert_eq!(outcome.is_silence(), outcome == Outcome::Hard(HardKind::Silent), "{outcome}");
    }
    assert!(hard(500).is_transient() && Outcome::Hard(HardKind::Reset).is_transient());
    assert!(
        !Outcome::Hard(HardKind::Silent).is_transient() && !Outcome::Hard(HardKind::Connect).is_transient()
    );
    assert!(!REST_UNSAID.is_transient() && !broken.is_transient());
}
