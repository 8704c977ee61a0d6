//! Why a request gets no answer: one enum for the whole gateway, with a group for each part that can refuse.
//!
//! A refusal says whose fault it is and what cures it. It knows no status codes: `server::http::error_response` alone
//! turns it into HTTP. What the client reads is in here; what an operator reads is logged where it happened.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

/// An answer that is a refusal.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The caller is not known, or may not make this request.
    Auth(AuthError),
    /// The request cannot be acted on.
    Request(RequestError),
    /// The user, or the gateway, has too much to do.
    Admission(AdmissionError),
    /// About memories and contexts.
    Memory(MemoryError),
    /// No target gave an answer.
    Upstream(UpstreamError),
    /// The gateway itself.
    Gateway(GatewayError),
}

/// The caller is not known, or may not make this request.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthError {
    /// No key was given where one is needed.
    MissingKey,
    /// The key is not known. It is never echoed.
    InvalidKey,
    /// Too many wrong keys came from the client's address.
    WrongKeys {
        /// Until the next is not too many.
        retry_after: Duration,
    },
    /// The route is for operators.
    AdminOnly,
    /// The key may not use this model.
    ModelNotAllowed(String),
}

/// The request cannot be acted on.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestError {
    /// The body or a header is wrong.
    Invalid(BadRequest),
    /// No such route.
    RouteNotFound(String),
    /// The route exists, with these methods.
    MethodNotAllowed(&'static str),
    /// No such model; the nearest known one, if there is any.
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// No such target for an operator's action.
    TargetNotFound(String),
    /// The body is neither JSON nor a form.
    UnsupportedMedia(String),
    /// The body is larger than `max_body` bytes.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request's head is larger than we read.
    HeadTooLarge,
    /// The body did not arrive in time.
    SlowBody,
}

/// The user, or the gateway, has too much to do.
#[derive(Debug, Clone, PartialEq)]
pub enum AdmissionError {
    /// The user's requests per minute are used up.
    RateLimit {
        /// Until one may be made again.
        retry_after: Duration,
    },
    /// The user's tokens per minute are used up.
    TokenLimit {
        /// Until there are enough again.
        retry_after: Duration,
    },
    /// As many requests of this user wait for a slot as may.
    QueueFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// None of this user's slots became free in time.
    QueueTimeout {
        /// When to come back.
        retry_after: Duration,
    },
    /// The gateway is overloaded.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// What all gateways count together cannot be counted now.
    LimitsUnavailable,
}

/// About memories and contexts.
#[derive(Debug, Clone, PartialEq)]
pub enum MemoryError {
    /// Memory is switched off.
    Disabled,
    /// The caller has no memory with this id; somebody else may.
    NotFound,
    /// The idempotency key was used for something else; what the client is told of it.
    Duplicate(&'static str),
    /// The context is not the one that the caller has seen.
    PreconditionFailed {
        /// The entity tag of the present one.
        etag: String,
    },
    /// The memory store is away; what the client is told of it.
    StoreUnavailable(&'static str),
}

/// No target gave an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamError {
    /// Every target that could answer is rate-limited.
    RateLimited {
        /// Until the first of them may be asked again.
        retry_after: Duration,
    },
    /// The targets failed.
    Failed(Failed),
    /// The targets answered, but not with an answer.
    InvalidResponse(Failed),
    /// The providers refuse our keys.
    KeyRefused(Failed),
    /// The targets were silent for too long.
    Timeout(Failed),
    /// Every target is out at the moment.
    NoTarget {
        /// Until the first may be asked again, if that is known.
        retry_after: Option<Duration>,
        /// The model that was asked for.
        model: String,
    },
    /// The provider refused for a reason that lies with the client: passed on as it came.
    Provider(ProviderReply),
}

/// The gateway itself.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayError {
    /// It is draining.
    ShuttingDown,
    /// A bug of ours; the log has the rest.
    Internal,
}

/// What is wrong with a request, in one sentence, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRequest {
    /// `invalid_json`, `invalid_type` or `missing_field`.
    pub code: &'static str,
    /// The field or header.
    pub param: Option<String>,
    /// What is wrong and how to correct it, in one sentence.
    pub message: String,
}

/// The last failure of a request that has used up its attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// What happened last, in one sentence, without secrets.
    pub message: String,
    /// How many attempts were made.
    pub attempts: u32,
}

/// A provider's own refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderReply {
    /// The provider's status, 4xx.
    pub status: StatusCode,
    /// Its body's type.
    pub content_type: Option<http::HeaderValue>,
    /// The provider's body, unchanged.
    pub body: Bytes,
}

impl ProviderReply {
    /// Whether the body is a JSON object, which the SDKs can read.
    pub fn is_json(&self) -> bool {
        self.body.trim_ascii_start().starts_with(b"{")
    }
}

impl Refusal {
    /// A request that cannot be acted on.
    pub fn bad_request(code: &'static str, param: Option<&str>, message: impl Into<String>) -> Self {
        let param = param.map(str::to_owned);
        RequestError::Invalid(BadRequest { code, param, message: message.into() }).into()
    }
}

macro_rules! from_group {
    ($($group:ident: $error:ty),+ $(,)?) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::$group(error)
            }
        }
    )+};
}

from_group! {
    Auth: AuthError,
    Request: RequestError,
    Admission: AdmissionError,
    Memory: MemoryError,
    Upstream: UpstreamError,
    Gateway: GatewayError,
}
