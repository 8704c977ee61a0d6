//! The table of refusals: what each looks like to a client.

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;

const AFTER: Duration = Duration::from_millis(1500);

/// One of each, and of those that have two forms both.
fn examples() -> Vec<Refusal> {
    let retry_after = AFTER;
    let failed = || Failed { message: "It failed.".into(), attempts: 1 };
    let reply = |body: &'static [u8]| ProviderReply {
        status: StatusCode::IM_A_TEAPOT,
        content_type: Some(HeaderValue::from_static("text/json")),
        body: Bytes::from_static(body),
    };
    vec![
        AuthError::MissingKey.into(),
        AuthError::InvalidKey.into(),
        AuthError::WrongKeys { retry_after }.into(),
        AuthError::AdminOnly.into(),
        AuthError::ModelNotAllowed("m".into()).into(),
        Refusal::bad_request("invalid_type", Some("p"), "It is wrong."),
        RequestError::RouteNotFound("GET /x".into()).into(),
        RequestError::MethodNotAllowed("POST").into(),
        RequestError::ModelNotFound { model: "m".into(), nearest: None }.into(),
        RequestError::TargetNotFound("p/m".into()).into(),
        RequestError::UnsupportedMedia("text/html".into()).into(),
        RequestError::TooLarge { limit: 9 }.into(),
        RequestError::HeadTooLarge.into(),
        RequestError::SlowBody.into(),
        AdmissionError::RateLimit { retry_after }.into(),
        AdmissionError::TokenLimit { retry_after }.into(),
        AdmissionError::QueueFull { retry_after }.into(),
        AdmissionError::QueueTimeout { retry_after }.into(),
        AdmissionError::Overloaded { retry_after: Duration::ZERO }.into(),
        AdmissionError::LimitsUnavailable.into(),
        MemoryError::Disabled.into(),
        MemoryError::NotFound.into(),
        MemoryError::Duplicate("It was used.").into(),
        MemoryError::PreconditionFailed { etag: "\"e\"".into() }.into(),
        MemoryError::StoreUnavailable("It is away.").into(),
        UpstreamError::RateLimited { retry_after }.into(),
        UpstreamError::Failed(failed()).into(),
        UpstreamError::InvalidResponse(failed()).into(),
        UpstreamError::KeyRefused(failed()).into(),
        UpstreamError::Timeout(failed()).into(),
        UpstreamError::NoTarget { retry_after: Some(AFTER), model: "m".into() }.into(),
        UpstreamError::NoTarget { retry_after: None, model: "m".into() }.into(),
        UpstreamError::Provider(reply(b"{\n}")).into(),
        UpstreamError::Provider(reply(b"busy")).into(),
        GatewayError::ShuttingDown.into(),
        GatewayError::Internal.into(),
    ]
}

/// Status, `type`, `code` and `param`, then the headers but those of every error. Exhaustive: a new refusal does not
/// compile until it has its line.
fn expected(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Auth(error) => auth(error),
        Refusal::Request(error) => request(error),
        Refusal::Admission(error) => admission(error),
        Refusal::Memory(error) => memory(error),
        Refusal::Upstream(error) => upstream(error),
        Refusal::Gateway(error) => gateway(error),
    }
}

fn auth(error: &AuthError) -> &'static str {
    match error {
        AuthError::MissingKey => "401 invalid_request_error missing_api_key null",
        AuthError::InvalidKey => "401 invalid_request_error invalid_api_key null",
        AuthError::WrongKeys { .. } => {
            "429 rate_limit_error rate_limit_exceeded null, retry-after-ms: 1500, retry-after: 2, x-should-retry: false"
        }
        AuthError::AdminOnly => "403 permission_error admin_only null",
        AuthError::ModelNotAllowed(_) => "403 permission_error model_not_allowed \"model\"",
    }
}

fn request(error: &RequestError) -> &'static str {
    match error {
        RequestError::Invalid(_) => "400 invalid_request_error invalid_type \"p\"",
        RequestError::RouteNotFound(_) => "404 invalid_request_error route_not_found null",
        RequestError::MethodNotAllowed(_) => "405 invalid_request_error method_not_allowed null, allow: POST",
        RequestError::ModelNotFound { .. } => "404 invalid_request_error model_not_found \"model\"",
        RequestError::TargetNotFound(_) => "404 invalid_request_error target_not_found null",
        RequestError::UnsupportedMedia(_) => "415 invalid_request_error unsupported_media_type null",
        RequestError::TooLarge { .. } => "413 invalid_request_error request_too_large null",
        RequestError::HeadTooLarge => "431 invalid_request_error request_too_large null",
        RequestError::SlowBody => "400 invalid_request_error invalid_json null",
    }
}

fn admission(error: &AdmissionError) -> &'static str {
    match error {
        AdmissionError::RateLimit { .. } => {
            "429 rate_limit_error rate_limit_exceeded null, retry-after-ms: 1500, retry-after: 2"
        }
        AdmissionError::TokenLimit { .. } => {
            "429 rate_limit_error token_limit_exceeded null, retry-after-ms: 1500, retry-after: 2"
        }
        AdmissionError::QueueFull { .. } => {
            "429 rate_limit_error queue_full null, retry-after-ms: 1500, retry-after: 2"
        }
        AdmissionError::QueueTimeout { .. } => {
            "429 rate_limit_error queue_timeout null, retry-after-ms: 1500, retry-after: 2"
        }
        AdmissionError::Overloaded { .. } => {
            "503 server_error overloaded null, retry-after-ms: 0, retry-after: 1"
        }
        AdmissionError::LimitsUnavailable => {
            "503 server_error limits_unavailable null, retry-after-ms: 1000, retry-after: 1"
        }
    }
}

fn memory(error: &MemoryError) -> &'static str {
    match error {
        MemoryError::Disabled => "404 invalid_request_error route_not_found null",
        MemoryError::NotFound => "404 invalid_request_error memory_not_found \"id\"",
        MemoryError::Duplicate(_) => "409 invalid_request_error duplicate \"idempotency-key\"",
        MemoryError::PreconditionFailed { .. } => {
            "412 invalid_request_error precondition_failed \"if-match\", etag: \"e\""
        }
        MemoryError::StoreUnavailable(_) => {
            "503 server_error store_unavailable null, retry-after-ms: 1000, retry-after: 1"
        }
    }
}

fn upstream(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::RateLimited { .. } => {
            "429 rate_limit_error upstream_rate_limited null, retry-after-ms: 1500, retry-after: 2"
        }
        UpstreamError::Failed(_) => "502 upstream_error upstream_error null, x-should-retry: false",
        UpstreamError::InvalidResponse(_) => {
            "502 upstream_error upstream_invalid_response null, x-should-retry: false"
        }
        UpstreamError::KeyRefused(_) => "502 upstream_error upstream_auth_error null, x-should-retry: false",
        UpstreamError::Timeout(_) => "504 upstream_error upstream_timeout null, x-should-retry: false",
        UpstreamError::NoTarget { retry_after: None, .. } => "503 server_error no_target_available null",
        UpstreamError::NoTarget { retry_after: Some(_), .. } => {
            "503 server_error no_target_available null, retry-after-ms: 1500, retry-after: 2"
        }
        UpstreamError::Provider(reply) if reply.is_json() => "418, content-type: text/json",
        UpstreamError::Provider(_) => "418 invalid_request_error provider_refused null",
    }
}

fn gateway(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::ShuttingDown => {
            "503 server_error shutting_down null, retry-after-ms: 1000, retry-after: 1"
        }
        GatewayError::Internal => "500 server_error internal_error null",
    }
}

async fn seen(response: Response<ResponseBody>) -> String {
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!(", {name}: {}", value.to_str().unwrap()))
        .collect();
    headers.retain(|line| {
        !matches!(line.as_str(), ", content-type: application/json" | ", cache-control: no-store")
    });
    headers.sort();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok().unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let error = body.get("error").map(|error| {
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        let (kind, code) = (error["type"].as_str().unwrap(), error["code"].as_str().unwrap());
        format!(" {kind} {code} {}", error["param"])
    });
    format!("{status}{}{}", error.unwrap_or_default(), headers.concat())
}

#[tokio::test]
async fn every_refusal_has_its_status_code_and_headers() {
    for refusal in examples() {
        assert_eq!(seen(refuse(&refusal)).await, expected(&refusal), "{refusal:?}");
    }
}

#[tokio::test]
async fn errors_are_never_stored_and_a_providers_own_are_as_it_says() {
    for refusal in examples() {
        let response = refuse(&refusal);
        let stored = response.headers().get(header::CACHE_CONTROL).is_none();
        assert_eq!(stored, provider_reply(&refusal).is_some(), "{refusal:?}");
        assert_eq!(response.extensions().get::<ErrorCode>().map(|found| found.0), Some(code(&refusal)));
    }
}

#[test]
fn a_late_refusal_is_one_event_of_one_line() {
    for refusal in examples() {
        let event = as_event(&refusal);
        assert!(event.starts_with(b"data: {") && event.ends_with(b"}\n\n"), "{event:?}");
        assert_eq!(event.iter().filter(|byte| **byte == b'\n').count(), 2, "{event:?}");
    }
}
