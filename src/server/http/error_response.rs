//! Every refusal as HTTP: the one place that knows status codes and the words of OpenAI's error shape.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::response_body::ResponseBody;
use crate::{
    openai::error,
    refusal::{Failed, Refusal},
};

/// `type` values of OpenAI's error shape that we use.
const INVALID: &str = "invalid_request_error";
const PERMISSION: &str = "permission_error";
const RATE_LIMIT: &str = "rate_limit_error";
const SERVER: &str = "server_error";
const UPSTREAM: &str = "upstream_error";
/// The code of a provider's refusal that has none.
const PROVIDER_REFUSED: &str = "provider_refused";

/// The error code of a refusal, beside its response: for what counts refusals.
#[derive(Debug, Clone, Copy)]
pub struct ErrorCode(pub &'static str);

/// A refusal in OpenAI's words.
pub struct ErrorMessage {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
    /// Whether the SDKs should try again on their own; `None` leaves it to the status.
    should_retry: Option<bool>,
}

impl ErrorMessage {
    fn new(status: u16, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
            should_retry: None,
        }
    }

    fn about(mut self, param: Option<&str>) -> Self {
        self.param = param.map(str::to_owned);
        self
    }

    fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    fn used_up(mut self) -> Self {
        self.should_retry = Some(false);
        self
    }

    /// The JSON body.
    pub fn body(&self) -> Bytes {
        error::body(&self.message, self.kind, self.param.as_deref(), self.code)
    }
}

/// The error code of `refusal`, one of the bounded set in the table of errors.
pub fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Provider(_) => PROVIDER_REFUSED,
        _ => word(refusal).code,
    }
}

/// `refusal` as a response.
pub fn refuse(refusal: &Refusal) -> Response<ResponseBody> {
    let mut response = error_message(refusal);
    response.extensions_mut().insert(ErrorCode(code(refusal)));
    response
}

fn error_message(refusal: &Refusal) -> Response<ResponseBody> {
    if let Refusal::Provider(reply) = refusal {
        let body = if reply.is_json() { reply.body.clone() } else { in_our_shape(&reply.body) };
        let mut response = Response::new(ResponseBody::whole(body));
        *response.status_mut() = reply.status;
        let json = HeaderValue::from_static("application/json");
        let theirs = reply.content_type.clone().filter(|_| reply.is_json());
        response.headers_mut().insert(header::CONTENT_TYPE, theirs.unwrap_or(json));
        return response;
    }
    let wording = word(refusal);
    let mut response = json(wording.status, wording.body());
    if let Refusal::MethodNotAllowed(allowed) = refusal {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    if let Refusal::PreconditionFailed { etag } = refusal
        && let Ok(etag) = HeaderValue::from_str(etag)
    {
        response.headers_mut().insert(header::ETAG, etag);
    }
    let headers = response.headers_mut();
    if let Some(after) = wording.retry_after {
        headers
            .insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64));
        headers.insert("retry-after-ms", HeaderValue::from(after.as_millis() as u64));
    }
    if let Some(should) = wording.should_retry {
        headers.insert("x-should-retry", HeaderValue::from_static(if should { "true" } else { "false" }));
    }
    response
}

/// A provider's page or plain text, as an error that the SDKs can read.
fn in_our_shape(body: &[u8]) -> Bytes {
    let said = error::ProviderError::parse(body).message;
    let message =
        if said.is_empty() { "The provider refused the request without giving a reason." } else { &said };
    error::body(message, INVALID, None, PROVIDER_REFUSED)
}

/// `refusal` as the last event of a stream whose head has been sent.
pub fn as_event(refusal: &Refusal) -> Bytes {
    let body = match refusal {
        Refusal::Provider(reply) if reply.is_json() => reply.body.clone(),
        Refusal::Provider(reply) => in_our_shape(&reply.body),
        _ => word(refusal).body(),
    };
    // A provider's pretty-printed body would end the event at its first line.
    let line: Vec<u8> =
        body.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    Bytes::from([b"data: ", &line[..], b"\n\n"].concat())
}

/// A JSON answer that nobody may keep.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `refusal` in OpenAI's words; [`Refusal::Provider`] brings its own and is not for here.
pub fn word(refusal: &Refusal) -> ErrorMessage {
    match refusal {
        Refusal::BadRequest(_)
        | Refusal::TooLarge { .. }
        | Refusal::HeadTooLarge
        | Refusal::SlowBody
        | Refusal::UnsupportedMedia(_)
        | Refusal::RouteNotFound(_)
        | Refusal::TargetNotFound(_)
        | Refusal::ModelNotFound { .. }
        | Refusal::MethodNotAllowed(_) => request_error(refusal),
        Refusal::MissingKey | Refusal::InvalidKey | Refusal::AdminOnly | Refusal::ModelNotAllowed(_) => {
            auth_error(refusal)
        }
        Refusal::WrongKeys { .. }
        | Refusal::RateLimit { .. }
        | Refusal::TokenLimit { .. }
        | Refusal::QueueFull { .. }
        | Refusal::QueueTimeout { .. } => admission_error(refusal),
        Refusal::MemoryDisabled
        | Refusal::MemoryNotFound
        | Refusal::Duplicate(_)
        | Refusal::PreconditionFailed { .. }
        | Refusal::StoreUnavailable(_) => memory_error(refusal),
        _ => gateway_error(refusal),
    }
}

fn request_error(refusal: &Refusal) -> ErrorMessage {
    match refusal {
        Refusal::BadRequest(bad) => {
            ErrorMessage::new(400, INVALID, bad.code, &bad.message).about(bad.param.as_deref())
        }
        Refusal::TooLarge { limit } => ErrorMessage::new(
            413,
            INVALID,
            "request_too_large",
            format!(
                "The request body, or the context it would make, is larger than the limit of {limit} bytes."
            ),
        ),
        Refusal::HeadTooLarge => ErrorMessage::new(
            431,
            INVALID,
            "request_too_large",
            "The request head is too large: send fewer headers.",
        ),
        // Not 408: the SDKs would send the same slow body again.
        Refusal::SlowBody => {
            ErrorMessage::new(400, INVALID, "invalid_json", "The request body did not arrive in time.")
        }
        Refusal::UnsupportedMedia(found) => ErrorMessage::new(
            415,
            INVALID,
            "unsupported_media_type",
            format!("The content type {found:?} is not supported: send application/json."),
        ),
        Refusal::RouteNotFound(route) => {
            ErrorMessage::new(404, INVALID, "route_not_found", format!("There is no route {route}."))
        }
        Refusal::TargetNotFound(id) => ErrorMessage::new(
            404,
            INVALID,
            "target_not_found",
            format!("There is no target or provider {id:?}: see /admin/providers."),
        ),
        Refusal::ModelNotFound { model, nearest } => {
            let hint = nearest.as_ref().map(|name| format!(" Did you mean {name:?}?")).unwrap_or_default();
            let message =
                format!("The model {model:?} does not exist.{hint} GET /v1/models lists all models.");
            ErrorMessage::new(404, INVALID, "model_not_found", message).about(Some("model"))
        }
        Refusal::MethodNotAllowed(allowed) => {
            ErrorMessage::new(405, INVALID, "method_not_allowed", format!("This route allows {allowed}."))
        }
        _ => gateway_error(refusal),
    }
}

fn auth_error(refusal: &Refusal) -> ErrorMessage {
    match refusal {
        Refusal::MissingKey => ErrorMessage::new(
            401,
            INVALID,
            "missing_api_key",
            "No API key was given: send it as 'Authorization: Bearer KEY'.",
        ),
        Refusal::InvalidKey => {
            ErrorMessage::new(401, INVALID, "invalid_api_key", "The API key is not valid.")
        }
        Refusal::AdminOnly => {
            ErrorMessage::new(403, PERMISSION, "admin_only", "This route is for the operator of the gateway.")
        }
        Refusal::ModelNotAllowed(model) => {
            let message = format!("This API key may not use the model {model:?}.");
            ErrorMessage::new(403, PERMISSION, "model_not_allowed", message).about(Some("model"))
        }
        _ => gateway_error(refusal),
    }
}

/// The user has, or asks for, more than its share.
fn admission_error(refusal: &Refusal) -> ErrorMessage {
    let (code, message, retry_after) = match refusal {
        // The SDKs would go on trying the same key.
        Refusal::WrongKeys { retry_after } => {
            let message = "The API key is not valid, and too many invalid keys were sent from your address.";
            return ErrorMessage::new(429, RATE_LIMIT, "rate_limit_exceeded", message)
                .after(Some(*retry_after))
                .used_up();
        }
        Refusal::RateLimit { retry_after } => {
            ("rate_limit_exceeded", "You have used up your requests per minute.", *retry_after)
        }
        Refusal::TokenLimit { retry_after } => (
            "token_limit_exceeded",
            "This request needs more tokens than you have left this minute; running requests reserve tokens until they end.",
            *retry_after,
        ),
        Refusal::QueueTimeout { retry_after } => (
            "queue_timeout",
            "Too many of your requests are running: no slot became free in time.",
            *retry_after,
        ),
        Refusal::QueueFull { retry_after } => (
            "queue_full",
            "Too many of your requests are running and waiting: your queue is full.",
            *retry_after,
        ),
        _ => return gateway_error(refusal),
    };
    ErrorMessage::new(429, RATE_LIMIT, code, message).after(Some(retry_after))
}

/// About memories and contexts. Somebody else's memory reads exactly as one that never was.
fn memory_error(refusal: &Refusal) -> ErrorMessage {
    match refusal {
        Refusal::MemoryDisabled => ErrorMessage::new(
            404,
            INVALID,
            "route_not_found",
            "There is no such route: memory is disabled on this gateway.",
        ),
        Refusal::MemoryNotFound => {
            ErrorMessage::new(404, INVALID, "memory_not_found", "You have no memory with this id.")
                .about(Some("id"))
        }
        Refusal::Duplicate(message) => {
            ErrorMessage::new(409, INVALID, "duplicate", *message).about(Some("idempotency-key"))
        }
        Refusal::PreconditionFailed { .. } => ErrorMessage::new(
            412,
            INVALID,
            "precondition_failed",
            "The context was changed in the meantime: read it again, then write.",
        )
        .about(Some("if-match")),
        Refusal::StoreUnavailable(message) => {
            ErrorMessage::new(503, SERVER, "store_unavailable", *message).after(Some(Duration::from_secs(1)))
        }
        _ => gateway_error(refusal),
    }
}

fn gateway_error(refusal: &Refusal) -> ErrorMessage {
    match refusal {
        Refusal::UpstreamRateLimited { retry_after } => ErrorMessage::new(
            429,
            RATE_LIMIT,
            "upstream_rate_limited",
            "Every provider of this model is rate-limited at the moment.",
        )
        .after(Some(*retry_after)),
        Refusal::UpstreamError(failed) => used_up(502, "upstream_error", failed),
        Refusal::UpstreamInvalid(failed) => used_up(502, "upstream_invalid_response", failed),
        Refusal::UpstreamAuth(failed) => used_up(502, "upstream_auth_error", failed),
        Refusal::UpstreamTimeout(failed) => used_up(504, "upstream_timeout", failed),
        Refusal::NoTarget { retry_after, model } => ErrorMessage::new(
            503,
            SERVER,
            "no_target_available",
            format!("No provider of the model {model:?} is available at the moment."),
        )
        .after(*retry_after),
        Refusal::Overloaded { retry_after } => {
            ErrorMessage::new(503, SERVER, "overloaded", "The gateway is overloaded.")
                .after(Some(*retry_after))
        }
        Refusal::LimitsUnavailable => ErrorMessage::new(
            503,
            SERVER,
            "limits_unavailable",
            "Rate limits are unavailable and the gateway is configured to fail closed.",
        )
        .after(Some(Duration::from_secs(1))),
        Refusal::ShuttingDown => {
            let soon = Some(Duration::from_secs(1));
            ErrorMessage::new(503, SERVER, "shutting_down", "The gateway is shutting down.").after(soon)
        }
        _ => ErrorMessage::new(
            500,
            SERVER,
            "internal_error",
            "Internal gateway error; the log has the details.",
        ),
    }
}

fn used_up(status: u16, code: &'static str, failed: &Failed) -> ErrorMessage {
    let Failed { message, attempts } = failed;
    let times = if *attempts == 1 { "attempt" } else { "attempts" };
    ErrorMessage::new(status, UPSTREAM, code, format!("{message} ({attempts} {times})")).used_up()
}
