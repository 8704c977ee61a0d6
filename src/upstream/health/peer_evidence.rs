//! What other gateways have seen of a target: plain values on this gateway's clock.
//!
//! The algorithms of this folder take them as evidence beside what was seen here. How they travel from one gateway to
//! another is decided above, in `gossip`. What this gateway has seen is given to the peers in the same form, with its own
//! number as the peer's.

use std::fmt;

use tokio::time::Instant;

use super::breaker::OpenCause;

/// A gateway, by a number that it drew at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A breaker that a gateway has opened because of what it saw itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerOutage {
    /// The gateway.
    pub peer: PeerId,
    /// When it saw the failure that opened it, or the probe that failed last.
    pub opened: Instant,
    /// When the target is probed next.
    pub until: Instant,
    /// Open times in a row.
    pub backoff_exponent: u32,
    /// Why, unless a peer of another version has a cause that this one does not know.
    pub cause: Option<OpenCause>,
}

/// A gateway is in a streak of failures, and its breaker is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStreak {
    /// The gateway.
    pub peer: PeerId,
    /// How many failures.
    pub failures: u32,
    /// When it saw the latest.
    pub last: Instant,
}

/// A peer has just seen the target fail, and goes on asking it. Until it knows more, the others need not find out, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerSuspicion {
    /// The end, unless more is reported.
    pub until: Instant,
    /// The peer.
    pub peer: PeerId,
    /// When it saw the last failure.
    pub failed: Instant,
}

/// How long the provider asked a gateway to stay away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerCooldown {
    /// The end.
    pub until: Instant,
    /// When the provider said so.
    pub told: Instant,
    /// The gateway.
    pub peer: PeerId,
}

/// A decayed mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerSample {
    /// The mean.
    pub mean: f64,
    /// Decayed number of samples in it, as of the latest.
    pub count: f64,
    /// When the latest came.
    pub last: Instant,
}

/// A peer's requests have been waiting without a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerSilence {
    /// When the peer reported it.
    pub reported: Instant,
    /// Since when.
    pub since: Instant,
}

/// All that the peers say together of one target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerEvidence {
    /// The newest outage.
    pub outage: Option<PeerOutage>,
    /// The newest recovery.
    pub recovered_at: Option<Instant>,
    /// Every streak of failures.
    pub streaks: Vec<PeerStreak>,
    /// The longest cooldown that a provider asked for.
    pub cooldown: Option<PeerCooldown>,
    /// How long the provider's rate limit has no room, by the newest report.
    pub exhausted: Option<PeerCooldown>,
    /// The success rates.
    pub rates: Vec<PeerSample>,
    /// The newest report of a silence, of each `LatencyKind`.
    pub silences: [Option<PeerSilence>; 2],
}

/// The gateway whose report keeps a target out, and how old its observation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportedBy {
    /// The gateway that saw it.
    pub peer: PeerId,
    /// When.
    pub at: Instant,
}
