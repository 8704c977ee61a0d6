//! How an attempt ended: the root of scoring, breaking and failover.
//!
//! Every attempt ends in exactly one [`Outcome`], and [`classify`] is the one place that reads a provider's
//! refusal. The methods below are the columns of one table; nobody else may decide by status code. A client's
//! own fault must never count against a target, and a target's fault must never be shown as the client's.

mod classify;
mod error_text;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use classify::{ErrorFields, of_error_in_200, of_status};

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first content of a stream, or a whole body.
    Success,
    /// The target failed before any content.
    Hard(HardKind),
    /// The target is well but wants fewer requests.
    Throttled {
        /// How long to stay away, 1–300 s; `None`: it did not say.
        rest: Option<Duration>,
    },
    /// Our key, quota or credit at this provider: nothing the client could do.
    KeyRefused,
    /// This target does not have what was asked; another may.
    NotServed(MissingFeature),
    /// Prompt and answer do not fit this target.
    TooBig,
    /// The request itself is wrong, or against the provider's policy.
    ClientFault,
    /// The client left, or we are stopping.
    Cancelled,
    /// It broke after content had been sent to the client.
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
    /// A 200 that is empty, not JSON, of the wrong shape, or an error in disguise.
    Malformed,
}

/// What a target does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingFeature {
    /// The model: our configuration names one it does not offer (any more).
    Model,
    /// The route, such as embeddings on a chat server; or the base URL is wrong.
    Route,
    /// A request field that this provider is known to refuse.
    Field,
}

/// How an answer broke after its first content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenKind {
    /// The connection ended, or the stream did without saying that it was complete.
    Cut,
    /// No content until the stall deadline.
    Stalled,
    /// The provider sent an error event.
    Error,
    /// It sent something that is no event.
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
    /// It wants fewer requests.
    RateLimited,
    /// It broke after the first content.
    StreamBroken,
    /// It refused our key, quota or credit.
    Auth,
    /// A 200 that is no answer.
    Malformed,
}

/// How sure we are that the provider did the work (and may bill it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly not: the request did not arrive, or was turned away.
    No,
    /// It may have.
    Perhaps,
    /// It was answering.
    Answering,
}

/// What an outcome means to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerSignal {
    /// A success.
    Success,
    /// A failure in the row and in the ratio.
    Failure,
    /// A failure in the ratio alone.
    RatioOnly,
    /// Neither; a probe is handed back.
    Neutral,
}

/// What an outcome means to the live score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreSignal {
    /// A success with its latency.
    Success,
    /// A failure.
    Failure,
    /// No sample.
    Neutral,
}

/// Whether another target may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// No: there is an answer, a client's fault, or nobody to answer.
    No,
    /// Yes, without a pause.
    AtOnce,
    /// Only one whose context window is larger, or not stated.
    Larger,
    /// Only to go on from the text already sent.
    Rescue,
}

impl Outcome {
    /// The breaker's column.
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

    /// The score's column.
    pub fn counts_for_score(self) -> ScoreSignal {
        match self.counts_for_breaker() {
            BreakerSignal::Success => ScoreSignal::Success,
            BreakerSignal::Failure | BreakerSignal::RatioOnly => ScoreSignal::Failure,
            BreakerSignal::Neutral => ScoreSignal::Neutral,
        }
    }

    /// The column "next target?".
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

    /// Under which key the admin page counts it; `None`: no failure of the target.
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

    /// Whether the target cannot serve anyone until an operator, or 15 minutes, changed something.
    pub fn misconfigures(self) -> bool {
        matches!(self, Self::KeyRefused | Self::NotServed(MissingFeature::Model))
    }

    /// The target was silent: it is not asked a second time by the same call.
    pub fn is_silence(self) -> bool {
        self == Self::Hard(HardKind::Silent)
    }

    /// Its connection may lead nowhere, and so may those that are idle beside it.
    pub fn doubts_the_connection(self) -> bool {
        matches!(self, Self::Hard(HardKind::Silent | HardKind::Reset) | Self::Broken(BrokenKind::Stalled))
    }

    /// A 5xx or a reset: the same target may be asked once more before a fallback model is.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Hard(HardKind::Status(_) | HardKind::Reset))
    }

    /// How sure we are that the provider did the work.
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
    /// Whether what the provider says of it probably quotes the request: then no log may repeat it.
    pub fn quotes_the_request(self) -> bool {
        matches!(self, Self::ClientFault | Self::TooBig | Self::NotServed(MissingFeature::Field))
    }

    /// Its word in metrics and spans.
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
    /// A few words for logs and the admin page; nothing of what the provider wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Hard(HardKind::Connect) => "no connection",
            Self::Hard(HardKind::Reset) => "connection lost before the first content",
            Self::Hard(HardKind::Silent) => "no content in time",
            Self::Hard(HardKind::Status(status)) => return write!(f, "status {status}"),
            Self::Hard(HardKind::Malformed) => "a 200 that is no answer",
            Self::Throttled { .. } => "rate limited",
            Self::KeyRefused => "key, quota or credit refused",
            Self::NotServed(MissingFeature::Model) => "model not offered",
            Self::NotServed(MissingFeature::Route) => "route not offered",
            Self::NotServed(MissingFeature::Field) => "a request field is not supported",
            Self::TooBig => "too big for this target",
            Self::ClientFault => "refused as the client's fault",
            Self::Cancelled => "cancelled",
            Self::Broken(BrokenKind::Cut) => "cut off",
            Self::Broken(BrokenKind::Stalled) => "stalled",
            Self::Broken(BrokenKind::Error) => "error inside the answer",
            Self::Broken(BrokenKind::Malformed) => "unreadable event",
        })
    }
}

impl FailureKind {
    /// All of them, in the order of the admin page.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Status5xx,
        Self::RateLimited,
        Self::StreamBroken,
        Self::Auth,
        Self::Malformed,
    ];

    /// Its JSON key and metric label.
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
