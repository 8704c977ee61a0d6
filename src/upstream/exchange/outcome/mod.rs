//! The outcome of an attempt: the basis of the score, the circuit breaker and failover.
//!
//! Every attempt ends in exactly one [`Outcome`], and `classify` is the only place that interprets a provider's
//! error. The methods below are the columns of one table; no other code may decide by status code. A client's
//! own fault must never count against a target, and a target's fault must never be shown as the client's.

mod classify;
mod error_text;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use classify::{of_error_in_200, of_status};
pub use error_text::ErrorFields;

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first content of a stream, or a whole body.
    Success,
    /// The target failed before any content.
    Hard(HardKind),
    /// The target is healthy but wants fewer requests.
    Throttled {
        /// The cooldown it asked for, 1–300 s; `None` if it gave none.
        rest: Option<Duration>,
    },
    /// The provider rejected our key, quota or credit: nothing the client could change.
    KeyRefused,
    /// This target does not have what was requested; another may.
    NotServed(MissingFeature),
    /// Prompt and answer do not fit this target.
    TooBig,
    /// The request itself is wrong, or against the provider's policy.
    ClientFault,
    /// The client left, or the process is stopping.
    Cancelled,
    /// The answer broke after content had been sent to the client.
    Broken(BrokenKind),
}

/// How a target failed before any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardKind {
    /// Nothing was sent: DNS, refused, TLS, connect timeout, a pooled connection closed before the first write.
    Connect,
    /// The connection ended after the request was sent.
    Reset,
    /// No content until the first-token or answer deadline.
    Silent,
    /// An error status.
    Status(u16),
    /// A 200 that is empty, not JSON, of the wrong shape, or contains an error.
    Malformed,
}

/// What a target does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingFeature {
    /// The model: our configuration names one that the provider does not offer (any more).
    Model,
    /// The route, such as embeddings on a chat server; or the base URL is wrong.
    Route,
    /// A request field that this provider is known to reject.
    Field,
}

/// How an answer broke after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenKind {
    /// The connection ended, or the stream did without a proper end.
    Cut,
    /// No content until the stall deadline.
    Stalled,
    /// The provider sent an error event.
    Error,
    /// The target sent an invalid event.
    Malformed,
}

/// The keys of `failures` in `/admin/providers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection, or lost before the first content.
    Connect,
    /// Silence until a deadline.
    Timeout,
    /// An error status of the target.
    Status5xx,
    /// The target wants fewer requests.
    RateLimited,
    /// The stream broke after the first content.
    StreamBroken,
    /// The provider rejected our key, quota or credit.
    Auth,
    /// A 200 that is not an answer.
    Malformed,
}

/// How certain it is that the provider did the work (and may bill it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: the request did not arrive, or was rejected.
    No,
    /// Possibly: a reset, a silence, an error status, or a cancelled attempt.
    Perhaps,
    /// Certainly: it was answering.
    Answering,
}

/// What an outcome means for the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerSignal {
    /// A success: ends a streak of failures.
    Success,
    /// A failure for the streak and for the ratio.
    Failure,
    /// A failure for the ratio alone.
    RatioOnly,
    /// No sample; a half-open probe gives its permit back.
    Neutral,
}

/// What an outcome means for the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreSignal {
    /// A success with its latency.
    Success,
    /// A failure: lowers the success rate.
    Failure,
    /// No sample: the target did nothing wrong.
    Neutral,
}

/// Whether another target may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// No: there is an answer, the fault is the client's, or the client has left.
    No,
    /// Yes, without a pause.
    AtOnce,
    /// Only one whose context window is larger, or not stated.
    Larger,
    /// Only to continue the text already sent.
    Rescue,
}

impl Outcome {
    /// The column of the breaker.
    pub fn counts_for_breaker(self) -> BreakerSignal {
        match self {
            Self::Success => BreakerSignal::Success,
            Self::Hard(_) | Self::Broken(_) => BreakerSignal::Failure,
            Self::Throttled { .. } => BreakerSignal::RatioOnly,
            Self::KeyRefused | Self::NotServed(_) | Self::TooBig | Self::ClientFault | Self::Cancelled => {
                BreakerSignal::Neutral
            }
        }
    }

    /// The column of the score.
    pub fn counts_for_score(self) -> ScoreSignal {
        match self.counts_for_breaker() {
            BreakerSignal::Success => ScoreSignal::Success,
            BreakerSignal::Failure | BreakerSignal::RatioOnly => ScoreSignal::Failure,
            BreakerSignal::Neutral => ScoreSignal::Neutral,
        }
    }

    /// The column of failover.
    pub fn may_try_next(self) -> NextStep {
        match self {
            Self::Hard(_) | Self::Throttled { .. } | Self::KeyRefused | Self::NotServed(_) => {
                NextStep::AtOnce
            }
            Self::TooBig => NextStep::Larger,
            Self::Broken(_) => NextStep::Rescue,
            Self::Success | Self::ClientFault | Self::Cancelled => NextStep::No,
        }
    }

    /// The key under which the admin page counts it; `None` if it is not a failure of the target.
    pub fn failure_kind(self) -> Option<FailureKind> {
        Some(match self {
            Self::Hard(HardKind::Connect | HardKind::Reset) => FailureKind::Connect,
            Self::Hard(HardKind::Silent | HardKind::Status(408)) => FailureKind::Timeout,
            Self::Hard(HardKind::Status(_)) => FailureKind::Status5xx,
            Self::Hard(HardKind::Malformed) => FailureKind::Malformed,
            Self::Throttled { .. } => FailureKind::RateLimited,
            Self::KeyRefused => FailureKind::Auth,
            Self::Broken(_) => FailureKind::StreamBroken,
            Self::Success | Self::NotServed(_) | Self::TooBig | Self::ClientFault | Self::Cancelled => {
                return None;
            }
        })
    }

    /// Whether the target cannot serve anyone until an operator acts or 15 minutes pass.
    pub fn misconfigures(self) -> bool {
        matches!(self, Self::KeyRefused | Self::NotServed(MissingFeature::Model))
    }

    /// The target was silent: the same call does not try it again.
    pub fn is_silence(self) -> bool {
        self == Self::Hard(HardKind::Silent)
    }

    /// The connection may be dead, and so may the idle ones beside it.
    pub fn doubts_the_connection(self) -> bool {
        matches!(self, Self::Hard(HardKind::Silent | HardKind::Reset) | Self::Broken(BrokenKind::Stalled))
    }

    /// A 5xx or a reset: the same target may be tried once more before a fallback model is.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Hard(HardKind::Status(_) | HardKind::Reset))
    }

    /// How certain it is that the provider did the work.
    pub fn sent(self) -> Sent {
        match self {
            Self::Hard(HardKind::Connect) => Sent::No,
            Self::Throttled { .. } | Self::KeyRefused | Self::NotServed(_) => Sent::No,
            Self::TooBig | Self::ClientFault => Sent::No,
            Self::Hard(HardKind::Reset | HardKind::Silent | HardKind::Status(_)) => Sent::Perhaps,
            Self::Cancelled => Sent::Perhaps,
            Self::Success | Self::Hard(HardKind::Malformed) | Self::Broken(_) => Sent::Answering,
        }
    }
}

impl Outcome {
    /// Whether the provider's message probably quotes the request: then it must not be logged.
    pub fn quotes_the_request(self) -> bool {
        matches!(self, Self::ClientFault | Self::TooBig | Self::NotServed(MissingFeature::Field))
    }

    /// The label in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Hard(HardKind::Connect) => "connect",
            Self::Hard(HardKind::Reset) => "reset",
            Self::Hard(HardKind::Silent) => "timeout",
            Self::Hard(HardKind::Status(_)) => "status",
            Self::Hard(HardKind::Malformed) => "malformed",
            Self::Throttled { .. } => "rate_limited",
            Self::KeyRefused => "key_refused",
            Self::NotServed(MissingFeature::Model) => "model_missing",
            Self::NotServed(MissingFeature::Route) => "route_missing",
            Self::NotServed(MissingFeature::Field) => "field_refused",
            Self::TooBig => "too_big",
            Self::ClientFault => "client_fault",
            Self::Cancelled => "cancelled",
            Self::Broken(BrokenKind::Cut) => "cut",
            Self::Broken(BrokenKind::Stalled) => "stalled",
            Self::Broken(BrokenKind::Error) => "error_event",
            Self::Broken(BrokenKind::Malformed) => "unreadable_event",
        }
    }
}

impl std::fmt::Display for Outcome {
    /// A short description for logs and the admin page, without any text of the provider.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Hard(HardKind::Connect) => "no connection",
            Self::Hard(HardKind::Reset) => "connection lost before the first content",
            Self::Hard(HardKind::Silent) => "no content in time",
            Self::Hard(HardKind::Status(status)) => return write!(f, "status {status}"),
            Self::Hard(HardKind::Malformed) => "a 200 without a valid answer",
            Self::Throttled { .. } => "rate limited",
            Self::KeyRefused => "API key, quota or credit rejected",
            Self::NotServed(MissingFeature::Model) => "model not offered",
            Self::NotServed(MissingFeature::Route) => "route not offered",
            Self::NotServed(MissingFeature::Field) => "a request field is not supported",
            Self::TooBig => "too large for this target",
            Self::ClientFault => "rejected as a client error",
            Self::Cancelled => "cancelled",
            Self::Broken(BrokenKind::Cut) => "cut off",
            Self::Broken(BrokenKind::Stalled) => "stalled",
            Self::Broken(BrokenKind::Error) => "error inside the answer",
            Self::Broken(BrokenKind::Malformed) => "unreadable event",
        })
    }
}

impl FailureKind {
    /// All kinds, in the order of the admin page.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Status5xx,
        Self::RateLimited,
        Self::StreamBroken,
        Self::Auth,
        Self::Malformed,
    ];

    /// The JSON key and metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Status5xx => "status_5xx",
            Self::RateLimited => "rate_limited",
            Self::StreamBroken => "stream_broken",
            Self::Auth => "auth",
            Self::Malformed => "malformed",
        }
    }
}
