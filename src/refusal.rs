//! Why a request gets no answer: one enum for the whole gateway.
//!
//! A refusal says whose fault it is and what cures it. It knows no status codes: `server::reply` alone turns
//! it into HTTP. What the client reads is in here; what an operator reads is logged where it happened.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

/// An answer that is a refusal.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The body or a header cannot be acted on.
    BadRequest(BadRequest),
    /// No key was given where one is needed.
    MissingKey,
    /// The key is not known. It is never echoed.
    InvalidKey,
    /// The key may not use this model.
    ModelNotAllowed(String),
    /// The route is for operators.
    AdminOnly,
    /// No such model; the nearest known one, if there is any.
    ModelNotFound {
        /// What was asked for.
        model: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// No route has this method and path.
    RouteNotFound(String),
    /// No such target for an operator's hand.
    TargetNotFound(String),
    /// The route exists, with these methods.
    MethodNotAllowed(&'static str),
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
    /// Every target that could answer is rate-limited.
    UpstreamRateLimited {
        /// Until the first of them may be asked again.
        retry_after: Duration,
    },
    /// The targets failed.
    UpstreamError(Failed),
    /// The targets answered, but not with an answer.
    UpstreamInvalid(Failed),
    /// The providers refuse our keys.
    UpstreamAuth(Failed),
    /// The targets were silent for too long.
    UpstreamTimeout(Failed),
    /// Every target is out at the moment.
    NoTarget {
        /// Until the first may be asked again, if that is known.
        retry_after: Option<Duration>,
        /// The model that was asked for.
        model: String,
    },
    /// Too many wrong keys came from the client's address.
    WrongKeys {
        /// Until the next is not too many.
        retry_after: Duration,
    },
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
    /// The gateway has its hands full.
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
    /// What all gateways count together cannot be counted now.
    LimitsUnavailable,
    /// Memory is switched off.
    MemoryDisabled,
    /// The caller has no memory with this id; somebody else may.
    MemoryNotFound,
    /// The idempotency key was used for something else; what the client is told of it.
    Duplicate(&'static str),
    /// The context is not the one that the caller has seen.
    PreconditionFailed {
        /// The entity tag of the present one.
        etag: String,
    },
    /// The memory store is away; what the client is told of it.
    StoreUnavailable(&'static str),
    /// The gateway is draining.
    ShuttingDown,
    /// A bug of ours; the log has the rest.
    Internal,
    /// The provider refused for a reason that lies with the client: passed on as it came.
    Provider(ProviderReply),
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
        Self::BadRequest(BadRequest { code, param: param.map(str::to_owned), message: message.into() })
    }
}
