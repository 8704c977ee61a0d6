//! Every refusal as HTTP: the one place that knows status codes and the words of OpenAI's error shape.
//!
//! Each group of refusals has one exhaustive match: a new refusal does not compile until it has a status and a code.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::response_body::ResponseBody;
use crate::{
    openai::error,
    refusal::{
        AdmissionError, AuthError, Failed, GatewayError, MemoryError, ProviderReply, Refusal, RequestError,
        UpstreamError,
    },
};

/// `type` values of OpenAI's error shape that we use.
const INVALID: &str = "invalid_request_error";
const PERMISSION: &str = "permission_error";
const RATE_LIMIT: &str = "rate_limit_error";
const SERVER: &str = "server_error";
const UPSTREAM: &str = "upstream_error";
/// Where nothing tells when it is worth another try.
const SOON: Duration = Duration::from_secs(1);

/// The error code of a refusal, beside its response: for what counts refusals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub &'static str);

/// A refusal in OpenAI's words.
struct ErrorMessage<'a> {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<&'a str>,
    message: Cow<'a, str>,
    retry_after: Option<Duration>,
    /// Tells the SDKs not to try again on their own; else they go by the status.
    is_final: bool,
    /// What this refusal alone says in the head.
    header: Option<(HeaderName, HeaderValue)>,
}

impl<'a> ErrorMessage<'a> {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<Cow<'a, str>>,
    ) -> Self {
        let message = message.into();
        Self { status, kind, code, param: None, message, retry_after: None, is_final: false, header: None }
    }

    fn about(self, param: &'a str) -> Self {
        Self { param: Some(param), ..self }
    }

    fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    fn without_retry(self) -> Self {
        Self { is_final: true, ..self }
    }

    fn body(&self) -> Bytes {
        error::body(&self.message, self.kind, self.param, self.code)
    }

    fn response(self) -> Response<ResponseBody> {
        let mut response = json(self.status, self.body());
        let headers = response.headers_mut();
        headers.extend(self.header);
        if let Some(after) = self.retry_after {
            let seconds = after.as_millis().div_ceil(1000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert("retry-after-ms", HeaderValue::from(after.as_millis() as u64));
        }
        if self.is_final {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

/// The error code of `refusal`, one of the bounded set in the table of errors.
pub(crate) fn code(refusal: &Refusal) -> &'static str {
    error_message(refusal).code
}

/// `refusal` as a response.
pub(crate) fn refuse(refusal: &Refusal) -> Response<ResponseBody> {
    let message = error_message(refusal);
    let code = ErrorCode(message.code);
    let mut response = match provider_reply(refusal) {
        Some(reply) => passed_on(reply, &message),
        None => message.response(),
    };
    response.extensions_mut().insert(code);
    response
}

fn provider_reply(refusal: &Refusal) -> Option<&ProviderReply> {
    if let Refusal::Upstream(UpstreamError::Provider(reply)) = refusal { Some(reply) } else { None }
}

/// A provider's own refusal; its page or plain text becomes `message`, which the SDKs can read.
fn passed_on(reply: &ProviderReply, message: &ErrorMessage) -> Response<ResponseBody> {
    let (body, theirs) = match reply.is_json() {
        true => (reply.body.clone(), reply.content_type.clone()),
        false => (message.body(), None),
    };
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = reply.status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, theirs.unwrap_or(json));
    response
}

/// `refusal` as the last event of a stream whose head has been sent.
pub(crate) fn as_event(refusal: &Refusal) -> Bytes {
    let body = match provider_reply(refusal).filter(|reply| reply.is_json()) {
        Some(reply) => reply.body.clone(),
        None => error_message(refusal).body(),
    };
    // A provider's pretty-printed body would end the event at its first line.
    let line: Vec<u8> =
        body.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    Bytes::from([b"data: ", &line[..], b"\n\n"].concat())
}

/// A JSON answer that nobody may keep.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn error_message(refusal: &Refusal) -> ErrorMessage<'_> {
    match refusal {
        Refusal::Auth(error) => auth_error(error),
        Refusal::Request(error) => request_error(error),
        Refusal::Admission(error) => admission_error(error),
        Refusal::Memory(error) => memory_error(error),
        Refusal::Upstream(error) => upstream_error(error),
        Refusal::Gateway(error) => gateway_error(error),
    }
}

fn auth_error(error: &AuthError) -> ErrorMessage<'_> {
    let (status, kind, code, message) = match error {
        AuthError::MissingKey => (
            StatusCode::UNAUTHORIZED,
            INVALID,
            "missing_api_key",
            "No API key was given: send it as 'Authorization: Bearer KEY'.",
        ),
        AuthError::InvalidKey => {
            (StatusCode::UNAUTHORIZED, INVALID, "invalid_api_key", "The API key is not valid.")
        }
        // Final, or the SDKs would go on trying the same key.
        AuthError::WrongKeys { retry_after } => {
            let message = "The API key is not valid, and too many invalid keys were sent from your address.";
            return limited("rate_limit_exceeded", message, *retry_after).without_retry();
        }
        AuthError::AdminOnly => (
            StatusCode::FORBIDDEN,
            PERMISSION,
            "admin_only",
            "This route is for the operator of the gateway.",
        ),
        AuthError::ModelNotAllowed(model) => {
            let message = format!("This API key may not use the model {model:?}.");
            return ErrorMessage::new(StatusCode::FORBIDDEN, PERMISSION, "model_not_allowed", message)
                .about("model");
        }
    };
    ErrorMessage::new(status, kind, code, message)
}

fn request_error(error: &RequestError) -> ErrorMessage<'_> {
    let invalid = |status, code, message: String| ErrorMessage::new(status, INVALID, code, message);
    match error {
        RequestError::Invalid(bad) => {
            let message = ErrorMessage::new(StatusCode::BAD_REQUEST, INVALID, bad.code, &bad.message);
            ErrorMessage { param: bad.param.as_deref(), ..message }
        }
        // Not 408: the SDKs would send the same slow body again.
        RequestError::SlowBody => {
            let message = "The request body did not arrive in time.";
            invalid(StatusCode::BAD_REQUEST, "invalid_json", message.to_owned())
        }
        RequestError::RouteNotFound(route) => {
            invalid(StatusCode::NOT_FOUND, "route_not_found", format!("There is no route {route}."))
        }
        RequestError::MethodNotAllowed(allowed) => {
            let message = format!("This route allows {allowed}.");
            let allow = Some((header::ALLOW, HeaderValue::from_static(allowed)));
            let error = invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            ErrorMessage { header: allow, ..error }
        }
        RequestError::ModelNotFound { model, nearest } => {
            let hint = nearest.as_ref().map(|name| format!(" Did you mean {name:?}?")).unwrap_or_default();
            let message =
                format!("The model {model:?} does not exist.{hint} GET /v1/models lists all models.");
            invalid(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
        }
        RequestError::TargetNotFound(id) => {
            let message = format!("There is no target or provider {id:?}: see /admin/providers.");
            invalid(StatusCode::NOT_FOUND, "target_not_found", message)
        }
        RequestError::UnsupportedMedia(found) => {
            let message = format!("The content type {found:?} is not supported: send application/json.");
            invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
        }
        RequestError::TooLarge { limit } => {
            let message = format!(
                "The request body, or the context it would make, is larger than the limit of {limit} bytes."
            );
            invalid(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
        }
        RequestError::HeadTooLarge => {
            let message = "The request head is too large: send fewer headers.";
            invalid(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "request_too_large", message.to_owned())
        }
    }
}

fn admission_error(error: &AdmissionError) -> ErrorMessage<'_> {
    match error {
        AdmissionError::RateLimit { retry_after } => {
            limited("rate_limit_exceeded", "You have used up your requests per minute.", *retry_after)
        }
        AdmissionError::TokenLimit { retry_after } => limited(
            "token_limit_exceeded",
            "This request needs more tokens than you have left this minute; running requests reserve tokens until they end.",
            *retry_after,
        ),
        AdmissionError::QueueTimeout { retry_after } => limited(
            "queue_timeout",
            "Too many of your requests are running: no slot became free in time.",
            *retry_after,
        ),
        AdmissionError::QueueFull { retry_after } => limited(
            "queue_full",
            "Too many of your requests are running and waiting: your queue is full.",
            *retry_after,
        ),
        AdmissionError::Overloaded { retry_after } => {
            unavailable("overloaded", "The gateway is overloaded.", *retry_after)
        }
        AdmissionError::LimitsUnavailable => unavailable(
            "limits_unavailable",
            "Rate limits are unavailable and the gateway is configured to fail closed.",
            SOON,
        ),
    }
}

/// Somebody else's memory reads exactly as one that never was.
fn memory_error(error: &MemoryError) -> ErrorMessage<'_> {
    let (status, code, message, param) = match error {
        MemoryError::Disabled => {
            let message = "There is no such route: memory is disabled on this gateway.";
            return ErrorMessage::new(StatusCode::NOT_FOUND, INVALID, "route_not_found", message);
        }
        MemoryError::StoreUnavailable(message) => return unavailable("store_unavailable", message, SOON),
        MemoryError::NotFound => {
            (StatusCode::NOT_FOUND, "memory_not_found", "You have no memory with this id.", "id")
        }
        MemoryError::Duplicate(message) => (StatusCode::CONFLICT, "duplicate", *message, "idempotency-key"),
        MemoryError::PreconditionFailed { etag } => {
            let message = "The context was changed in the meantime: read it again, then write.";
            let header = HeaderValue::from_str(etag).ok().map(|etag| (header::ETAG, etag));
            let error =
                ErrorMessage::new(StatusCode::PRECONDITION_FAILED, INVALID, "precondition_failed", message);
            return ErrorMessage { header, ..error }.about("if-match");
        }
    };
    ErrorMessage::new(status, INVALID, code, message).about(param)
}

fn upstream_error(error: &UpstreamError) -> ErrorMessage<'_> {
    match error {
        UpstreamError::RateLimited { retry_after } => limited(
            "upstream_rate_limited",
            "Every provider of this model is rate-limited at the moment.",
            *retry_after,
        ),
        UpstreamError::Failed(failed) => used_up(StatusCode::BAD_GATEWAY, "upstream_error", failed),
        UpstreamError::InvalidResponse(failed) => {
            used_up(StatusCode::BAD_GATEWAY, "upstream_invalid_response", failed)
        }
        UpstreamError::KeyRefused(failed) => used_up(StatusCode::BAD_GATEWAY, "upstream_auth_error", failed),
        UpstreamError::Timeout(failed) => used_up(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", failed),
        UpstreamError::NoTarget { retry_after, model } => {
            let message = format!("No provider of the model {model:?} is available at the moment.");
            let error =
                ErrorMessage::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, "no_target_available", message);
            ErrorMessage { retry_after: *retry_after, ..error }
        }
        UpstreamError::Provider(reply) => {
            ErrorMessage::new(reply.status, INVALID, "provider_refused", provider_text(reply))
        }
    }
}

/// What the provider said; of no use where its own JSON is passed on.
fn provider_text(reply: &ProviderReply) -> String {
    if reply.is_json() {
        return String::new();
    }
    match error::ProviderError::parse(&reply.body).message {
        silent if silent.is_empty() => "The provider refused the request without giving a reason.".to_owned(),
        said => said,
    }
}

fn gateway_error(error: &GatewayError) -> ErrorMessage<'_> {
    match error {
        GatewayError::ShuttingDown => unavailable("shutting_down", "The gateway is shutting down.", SOON),
        GatewayError::Internal => {
            let message = "Internal gateway error; the log has the details.";
            ErrorMessage::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error", message)
        }
    }
}

fn limited<'a>(code: &'static str, message: &'a str, retry_after: Duration) -> ErrorMessage<'a> {
    ErrorMessage::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, code, message).after(retry_after)
}

fn unavailable<'a>(code: &'static str, message: &'a str, retry_after: Duration) -> ErrorMessage<'a> {
    ErrorMessage::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, code, message).after(retry_after)
}

/// The attempts that a request may have are used up.
fn used_up<'a>(status: StatusCode, code: &'static str, failed: &Failed) -> ErrorMessage<'a> {
    let Failed { message, attempts } = failed;
    let times = if *attempts == 1 { "attempt" } else { "attempts" };
    ErrorMessage::new(status, UPSTREAM, code, format!("{message} ({attempts} {times})")).without_retry()
}

#[cfg(test)]
mod tests;
