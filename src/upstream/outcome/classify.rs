//! From a provider's refusal to an [`Outcome`].
//!
//! Status first, then the provider's error code, and words only where providers give nothing better. A message
//! may quote what the client wrote, so words that would shut a target down are looked for outside quotes and
//! only where no request field is blamed: no client may talk a target out of service.

use std::time::SystemTime;

use http::HeaderMap;

use super::{HardKind, Missing, Outcome};
use crate::upstream::{quirks::Quirks, retry_after};

/// What a provider's error body says; empty where it is no JSON error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// `error.code`, numbers as text.
    pub code: Option<&'a str>,
    /// `error.type`.
    pub kind: Option<&'a str>,
    /// `error.param`: the request field that is blamed.
    pub param: Option<&'a str>,
    /// `error.message`.
    pub message: &'a str,
}

/// Classifies an answer whose status is not 2xx.
///
/// `now` is the wall clock, for dates in `Retry-After`.
pub fn of_status(
    quirks: &Quirks,
    status: u16,
    headers: &HeaderMap,
    said: Said<'_>,
    now: SystemTime,
) -> Outcome {
    let words = Words::of(said);
    if status >= 400 && words.is_code(TOO_BIG_CODES) {
        return Outcome::TooBig;
    }
    match status {
        ..300 => Outcome::Hard(HardKind::Malformed),
        429 | 498 => throttled(&words, headers, now),
        503 => match retry_after::explicit(headers, now) {
            Some(rest) => Outcome::Throttled { rest: Some(rest) },
            None if quirks.throttle_503 => Outcome::Throttled { rest: None },
            None => Outcome::Hard(HardKind::Status(status)),
        },
        401 | 402 => Outcome::KeyRefused,
        403 => forbidden(quirks, &words),
        404 => not_found(&words),
        // A redirect is not followed: the base URL is wrong. 501: llama.cpp without embeddings.
        300..400 | 405 | 501 => Outcome::NotServed(Missing::Route),
        413 => Outcome::TooBig,
        409 => conflict(&words),
        // Two that SDKs retry, and a cancellation which was not ours.
        408 | 499 => Outcome::Hard(HardKind::Status(status)),
        400..500 => bad_request(quirks, &words),
        500 if words.has(TOO_BIG_WORDS) => Outcome::TooBig,
        _ => Outcome::Hard(HardKind::Status(status)),
    }
}

/// Classifies an error that came inside a 200: as the whole body, or as an event before any content.
///
/// OpenRouter puts the status it would have sent into `code`; others name the error. If neither says
/// what it is, it is a 200 that is no answer.
pub fn of_error_in_200(quirks: &Quirks, headers: &HeaderMap, said: Said<'_>, now: SystemTime) -> Outcome {
    let words = Words::of(said);
    let status = said.code.and_then(|code| code.trim().parse().ok()).filter(|code| (400..600).contains(code));
    if let Some(status) = status {
        return of_status(quirks, status, headers, said, now);
    }
    if words.is_code(THROTTLED_CODES) {
        return throttled(&words, headers, now);
    }
    match bad_request(quirks, &words) {
        Outcome::ClientFault if !words.is_policy() => Outcome::Hard(HardKind::Malformed),
        outcome => outcome,
    }
}

/// 429 and 498. A quota that is used up never clears by waiting, and a request larger than the whole
/// limit never fits: neither may be sold to the client as "try again later".
fn throttled(words: &Words<'_>, headers: &HeaderMap, now: SystemTime) -> Outcome {
    if words.is_code(QUOTA_CODES) {
        Outcome::KeyRefused
    } else if words.has(&["request too large"]) || words.asks_more_than_limit() {
        Outcome::TooBig
    } else {
        Outcome::Throttled { rest: retry_after::of_throttled(headers, words.said.message, now) }
    }
}

fn forbidden(quirks: &Quirks, words: &Words<'_>) -> Outcome {
    if quirks.context_403 || words.has(TOO_BIG_WORDS) {
        Outcome::TooBig
    } else if words.is_policy() {
        Outcome::ClientFault
    } else if words.is_code(NO_MODEL_CODES) {
        Outcome::NotServed(Missing::Model)
    } else {
        Outcome::KeyRefused
    }
}

/// One provider without the model, or without the route, is no answer for the client while others have it.
/// Anything else that is "not found" was named in the request.
fn not_found(words: &Words<'_>) -> Outcome {
    let no_error_body = words.said.message.is_empty() && words.said.code.is_none();
    let about_model =
        words.said.param == Some("model") || words.plain_has(&["model", "deployment", "no endpoints"]);
    if words.is_code(NO_MODEL_CODES) || about_model {
        Outcome::NotServed(Missing::Model)
    } else if no_error_body || words.is_code(&["unknown_url"]) || words.has(NO_ROUTE_WORDS) {
        Outcome::NotServed(Missing::Route)
    } else {
        Outcome::ClientFault
    }
}

/// OpenAI sends 409 for a lock that a retry may find free; a stated conflict is with the request.
fn conflict(words: &Words<'_>) -> Outcome {
    if words.said.message.is_empty() || words.has(&["lock", "try again", "retry", "timeout"]) {
        Outcome::Hard(HardKind::Status(409))
    } else {
        Outcome::ClientFault
    }
}

fn bad_request(quirks: &Quirks, words: &Words<'_>) -> Outcome {
    if words.is_policy() {
        Outcome::ClientFault
    } else if words.is_code(TOO_BIG_CODES) || words.has(TOO_BIG_WORDS) {
        Outcome::TooBig
    } else if words.is_code(QUOTA_CODES) || words.is_code(KEY_CODES) || words.blames_account() {
        Outcome::KeyRefused
    } else if words.is_code(NO_MODEL_CODES) || words.plain_has(NO_MODEL_WORDS) {
        Outcome::NotServed(Missing::Model)
    } else if words.names_refused_field(quirks) {
        Outcome::NotServed(Missing::Field)
    } else {
        Outcome::ClientFault
    }
}

// Codes are compared without case against `code` and `type`. Sources: the providers' error pages and bodies
// reported in the issue trackers of their clients.
const TOO_BIG_CODES: &[&str] =
    &["context_length_exceeded", "exceed_context_size_error", "request_too_large", "tokens_limit_reached"];
const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "budget_exceeded",
];
const KEY_CODES: &[&str] =
    &["invalid_api_key", "api_key_invalid", "authentication_error", "account_deactivated"];
const NO_MODEL_CODES: &[&str] = &[
    "model_not_found",
    "model_not_available",
    "model_decommissioned",
    "invalid_model",
    "unknown_model",
    "deploymentnotfound",
];
const THROTTLED_CODES: &[&str] = &["rate_limit_exceeded", "rate_limit_error", "too_many_requests"];
const POLICY_CODES: &[&str] =
    &["content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"];

const TOO_BIG_WORDS: &[&str] = &[
    "context length",
    "context window",
    "context size",
    "context limit",
    "prompt is too long",
    "input is too long",
    "too large to process",
    "reduce the length of the messages",
    "max_new_tokens` must be <=",
];
const ACCOUNT_WORDS: &[&str] = &[
    "usage limit reached",
    "reached your usage limit",
    "exceeded your current quota",
    "quota exceeded",
    "insufficient quota",
    "insufficient credit",
    "insufficient balance",
    "insufficient funds",
    "not enough credit",
    "out of credits",
    "credit balance is too low",
    "budget has been exceeded",
    "check your plan and billing",
    "api key not valid",
    "invalid api key",
    "incorrect api key",
];
const POLICY_WORDS: &[&str] =
    &["content management policy", "content policy", "flagged", "moderation", "safety system"];
const NO_MODEL_WORDS: &[&str] = &["is not a valid model", "invalid model", "has been decommissioned"];
const NO_ROUTE_WORDS: &[&str] = &["unknown request url", "invalid url", "route not found", "page not found"];

/// A refusal in lower case, with and without what it quotes.
struct Words<'a> {
    said: Said<'a>,
    all: String,
    unquoted: String,
}

impl<'a> Words<'a> {
    fn of(said: Said<'a>) -> Self {
        let all = said.message.to_lowercase();
        let unquoted = without_quotes(&all);
        Self { said, all, unquoted }
    }

    fn is_code(&self, codes: &[&str]) -> bool {
        let is = |text: Option<&str>| text.is_some_and(|t| codes.iter().any(|c| t.eq_ignore_ascii_case(c)));
        is(self.said.code) || is(self.said.kind)
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.all.contains(word))
    }

    fn plain_has(&self, words: &[&str]) -> bool {
        self.said.param.is_none() && words.iter().any(|word| self.unquoted.contains(word))
    }

    fn blames_account(&self) -> bool {
        self.plain_has(ACCOUNT_WORDS)
    }

    fn is_policy(&self) -> bool {
        self.is_code(POLICY_CODES) || self.has(POLICY_WORDS)
    }

    /// "Limit 6000, Used 0, Requested 7895": a 429 that never clears.
    fn asks_more_than_limit(&self) -> bool {
        let after = |lead: &str| {
            let rest = self.all[self.all.rfind(lead)? + lead.len()..].trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse::<u64>().ok()
        };
        matches!((after("limit "), after("requested ")), (Some(limit), Some(asked)) if asked > limit)
    }

    /// Whether the error is about a field that this provider is known to refuse.
    fn names_refused_field(&self, quirks: &Quirks) -> bool {
        let fields = self.all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut blamed = self.said.param.into_iter().chain(fields.filter(|word| word.len() > 3));
        let refusing = ["not supported", "unsupported", "extra_forbidden", "extra inputs", "unknown"];
        let refused = self.has(&refusing) || self.is_code(&["extra_forbidden", "unsupported_parameter"]);
        refused && blamed.any(|field| quirks.refuses(field))
    }
}

/// `text` without what stands in single, double or back quotes. An apostrophe inside a word is no quote.
fn without_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<char> = None;
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let inside_word = |next: Option<&char>| c == '\'' && next.is_some_and(|n| n.is_alphanumeric());
        match open {
            Some(quote) if c == quote && !inside_word(chars.peek()) => open = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') || (c == '\'' && !before.is_alphanumeric()) => open = Some(c),
            None => out.push(c),
        }
        before = c;
    }
    out
}
