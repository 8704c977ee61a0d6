//! Why a target gave no answer: the outcome, the message for the operator, and the reply for the client.
//!
//! [`outcome`] classifies; here its input is taken from a response. Our key appears in none of it.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use tokio::time::Instant;

use super::{
    event_stream::StreamError,
    outcome::{self, BrokenKind, ErrorFields, HardKind, Outcome},
    timed_body::{TimedBody, TimedBodyError},
};
use crate::{
    clock,
    openai::error::{self, ProviderError},
    refusal::ProviderReply,
    upstream::{client::UpstreamBody, provider::Provider},
};

/// The largest error body that is relayed, in bytes.
const MAX_ERROR: usize = 1 << 20;
/// Timeout of an error's body: its head already has the most important part.
const ERROR_BODY: Duration = Duration::from_secs(5);

/// A failed exchange.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its class, which decides what follows.
    pub outcome: Outcome,
    /// One sentence, without secrets.
    pub message: String,
    /// The provider's response, for failures that are the client's to see.
    pub reply: Option<ProviderReply>,
    /// How long the attempt took.
    pub elapsed: Duration,
}

impl Failure {
    /// A failure of the target before any content.
    pub fn hard(kind: HardKind, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Hard(kind), message: message.into(), reply: None, elapsed: Duration::ZERO }
    }

    /// A 200 that is not an answer.
    pub fn malformed(message: &str) -> Self {
        Self::hard(HardKind::Malformed, message)
    }

    fn with_reply(outcome: Outcome, message: String, reply: ProviderReply) -> Self {
        Self { outcome, message, reply: Some(reply), elapsed: Duration::ZERO }
    }

    /// A stream that broke before its first content.
    pub fn broken_early(provider: &Provider, headers: &HeaderMap, broken: StreamError) -> Self {
        match (broken.kind, broken.error) {
            (_, Some(error)) => Self::in_200(provider, headers, &error, "an error event"),
            (BrokenKind::Malformed, None) => Self::malformed("an event that is not valid JSON"),
            (_, None) => Self::malformed("a stream that ended before its first content"),
        }
    }

    /// An error under status 200.
    pub fn in_200(provider: &Provider, headers: &HeaderMap, error: &ProviderError, what: &str) -> Self {
        let outcome = outcome::of_error_in_200(provider.profile, headers, error_fields(error), clock::wall());
        let code = error.code.as_deref();
        let status = code.and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok());
        let status = status.filter(StatusCode::is_client_error).unwrap_or(StatusCode::BAD_REQUEST);
        let kind = error.kind.as_deref().unwrap_or("invalid_request_error");
        let body = error::body(&error.message, kind, error.param.as_deref(), code.unwrap_or("error"));
        let reply = ProviderReply { status, content_type: None, body };
        Self::with_reply(outcome, with_message(what, &error.message), reply)
    }

    /// A status that is not 2xx.
    pub async fn of_status(response: Response<UpstreamBody>, provider: &Provider, total: Instant) -> Self {
        let (parts, body) = response.into_parts();
        let deadline = total.min(clock::now() + ERROR_BODY);
        let body = TimedBody::new(body, deadline, ERROR_BODY, deadline).at_most(MAX_ERROR).await;
        let body = body.unwrap_or_default();
        let error = ProviderError::parse(&body);
        let (status, headers) = (parts.status, &parts.headers);
        let outcome = outcome::of_status(
            provider.profile,
            status.as_u16(),
            headers,
            error_fields(&error),
            clock::wall(),
        );
        // The provider's text about our key is not for the client.
        let words = if outcome == Outcome::KeyRefused { "" } else { &error.message };
        let message = with_message(&format!("status {}", status.as_u16()), words);
        let content_type = headers.get(header::CONTENT_TYPE).cloned();
        Self::with_reply(outcome, message, ProviderReply { status, content_type, body })
    }
}

impl From<TimedBodyError> for Failure {
    fn from(torn: TimedBodyError) -> Self {
        let kind = match torn {
            TimedBodyError::Stalled => HardKind::Silent,
            TimedBodyError::Cut(_) => HardKind::Reset,
            TimedBodyError::TooLarge => HardKind::Malformed,
        };
        Self::hard(kind, torn.to_string())
    }
}

fn error_fields(error: &ProviderError) -> ErrorFields<'_> {
    ErrorFields {
        code: error.code.as_deref(),
        kind: error.kind.as_deref(),
        param: error.param.as_deref(),
        message: &error.message,
    }
}

fn with_message(what: &str, words: &str) -> String {
    let words: String = words.chars().take(200).collect();
    if words.is_empty() { what.to_owned() } else { format!("{what}: {words}") }
}
