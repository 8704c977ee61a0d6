//! The parts of a report, and what they are on this gateway's clock.
//!
//! `written` is when the message was written, as far as this gateway can tell: when it came.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{cause::CauseMsg, lenient::Lenient};
use crate::upstream::health::peer_evidence::{PeerCooldown, PeerId, PeerOutage, PeerSample, PeerStreak};

/// No report may take a target out for longer.
pub(super) const MAX_REMAINING: Duration = Duration::from_secs(300);
/// What happened longer ago says nothing about now.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Samples beyond which more say nothing new.
const MAX_SAMPLES: f64 = 1e6;

/// How long ago something was, in milliseconds, when its message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Age(pub(super) u64);

impl Age {
    /// The age of `at`.
    pub(crate) fn since(at: Instant, now: Instant) -> Self {
        Self(millis(now.saturating_duration_since(at)))
    }

    /// When it was; `None` if that is too long ago to matter.
    pub(crate) fn at(self, written: Instant) -> Option<Instant> {
        let age = Duration::from_millis(self.0);
        if age > MAX_AGE { None } else { written.checked_sub(age) }
    }

    /// When it was, however long ago: an operator's command has no end.
    pub(crate) fn at_any_time(self, written: Instant) -> Option<Instant> {
        written.checked_sub(Duration::from_millis(self.0))
    }
}

/// How long something lasts from its message on, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Remaining(pub(super) u64);

impl Remaining {
    /// What is left until `until`.
    pub(crate) fn until(until: Instant, now: Instant) -> Self {
        Self(millis(until.saturating_duration_since(now)))
    }

    pub(crate) fn end(self, written: Instant) -> Instant {
        written + Duration::from_millis(self.0).min(MAX_REMAINING)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A decayed mean of what lies within 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleMsg {
    /// The mean.
    #[serde(rename = "m")]
    pub mean: f64,
    /// Decayed number of samples in it, as of the latest.
    #[serde(rename = "n")]
    pub count: f64,
    /// The age of the latest.
    #[serde(rename = "a")]
    pub age: Age,
}

impl SampleMsg {
    /// `sample` as it travels.
    pub(crate) fn new(sample: PeerSample, now: Instant) -> Self {
        Self { mean: sample.mean, count: sample.count, age: Age::since(sample.last, now) }
    }

    /// The sample; `None` without sense.
    pub(crate) fn read(self, written: Instant) -> Option<PeerSample> {
        let sane = (0.0..=1.0).contains(&self.mean) && self.count > 0.0 && self.count <= MAX_SAMPLES;
        let last = self.age.at(written).filter(|_| sane)?;
        Some(PeerSample { mean: self.mean, count: self.count, last })
    }
}

/// Failures in a row while the breaker is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreakMsg {
    /// How many.
    #[serde(rename = "n")]
    pub failures: u32,
    /// The age of the latest.
    #[serde(rename = "a")]
    pub age: Age,
}

impl StreakMsg {
    /// `streak` as it travels.
    pub(crate) fn new(streak: PeerStreak, now: Instant) -> Self {
        Self { failures: streak.failures, age: Age::since(streak.last, now) }
    }

    /// The streak of `peer`; `None` if it is too long ago.
    pub(crate) fn read(self, peer: PeerId, written: Instant) -> Option<PeerStreak> {
        Some(PeerStreak { peer, failures: self.failures, last: self.age.at(written)? })
    }
}

/// A breaker that its gateway opened by what it saw itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutageMsg {
    /// The age of the failure that opened it, or of the probe that failed last.
    #[serde(rename = "a")]
    pub age: Age,
    /// Until the next probe.
    #[serde(rename = "l")]
    pub left: Remaining,
    /// Open times in a row.
    #[serde(rename = "r", default)]
    pub backoff_exponent: Lenient<u32>,
    /// Why.
    #[serde(rename = "c", default)]
    pub cause: Lenient<CauseMsg>,
}

impl OutageMsg {
    /// `outage` as it travels.
    pub(crate) fn new(outage: PeerOutage, now: Instant) -> Self {
        Self {
            age: Age::since(outage.opened, now),
            left: Remaining::until(outage.until, now),
            backoff_exponent: Lenient(Some(outage.backoff_exponent)),
            cause: Lenient(outage.cause.map(CauseMsg)),
        }
    }

    /// The outage that `peer` saw; `None` if it is too long ago.
    pub(crate) fn read(self, peer: PeerId, written: Instant) -> Option<PeerOutage> {
        Some(PeerOutage {
            peer,
            opened: self.age.at(written)?,
            until: self.left.end(written),
            backoff_exponent: self.backoff_exponent.0.unwrap_or(0),
            cause: self.cause.0.map(|cause| cause.0),
        })
    }
}

/// How long the provider wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CooldownMsg {
    /// The age of its answer.
    #[serde(rename = "a")]
    pub age: Age,
    /// Until it is over.
    #[serde(rename = "l")]
    pub left: Remaining,
}

impl CooldownMsg {
    /// `cooldown` as it travels.
    pub(crate) fn new(cooldown: PeerCooldown, now: Instant) -> Self {
        Self { age: Age::since(cooldown.told, now), left: Remaining::until(cooldown.until, now) }
    }

    /// What `peer` was told; `None` if it is too long ago.
    pub(crate) fn read(self, peer: PeerId, written: Instant) -> Option<PeerCooldown> {
        Some(PeerCooldown { until: self.left.end(written), told: self.age.at(written)?, peer })
    }
}

/// The latest command of an operator to take the target out, or in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainMsg {
    /// Tells it from other such commands: it is passed on, and comes back.
    #[serde(rename = "n")]
    pub id: u64,
    /// Out.
    #[serde(rename = "d")]
    pub drained: bool,
    /// The age of the command.
    #[serde(rename = "a")]
    pub age: Age,
}

/// The latest command of an operator to forget what is known of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResetMsg {
    /// Tells it from other such commands.
    #[serde(rename = "n")]
    pub id: u64,
    /// The age of the command.
    #[serde(rename = "a")]
    pub age: Age,
}
