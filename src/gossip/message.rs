//! What one gateway tells the others of one target, as it travels.
//!
//! A report says what its gateway knows *by itself*, and all of it: one that is lost costs nothing once the next has
//! come, one that comes twice changes nothing, and nobody hears his own words back. Times travel as ages, because clocks
//! of machines differ. What is read here was written elsewhere: numbers without sense are dropped, never repaired.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::upstream::health::breaker::OpenCause;

/// Nothing that was told may take a target out for longer.
const MAX_REMAINING: Duration = Duration::from_secs(300);
/// What happened longer ago says nothing about now.
const LIFE: Duration = Duration::from_secs(600);
/// Samples beyond which more say nothing new.
const MAX_SAMPLES: f64 = 1e6;

/// A gateway, by a number that it drew at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How long ago something was, in milliseconds, when its message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Age(u64);

impl Age {
    /// The age of `at`.
    pub fn of(at: Instant, now: Instant) -> Self {
        Self(millis(now.saturating_duration_since(at)))
    }

    /// When it was, told in a message of `written`; `None` if that is too long ago to matter.
    pub fn at(self, written: Instant) -> Option<Instant> {
        let age = Duration::from_millis(self.0);
        if age > LIFE { None } else { written.checked_sub(age) }
    }

    /// The same for what has no end, such as an operator's order.
    pub fn saturating_ms(self, written: Instant) -> Option<Instant> {
        written.checked_sub(Duration::from_millis(self.0))
    }
}

/// How long something lasts from its message on, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Remaining(u64);

impl Remaining {
    /// What is left until `until`.
    pub fn until(until: Instant, now: Instant) -> Self {
        Self(millis(until.saturating_duration_since(now)))
    }

    /// When it ends, told in a message of `written`.
    pub fn end(self, written: Instant) -> Instant {
        written + Duration::from_millis(self.0).min(MAX_REMAINING)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A decayed mean: of how many samples, and since when there was no new one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleMsg {
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

/// A [`SampleMsg`] that was heard, in our own time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Received {
    /// The mean.
    pub mean: f64,
    /// Decayed number of samples in it, as of the latest.
    pub count: f64,
    /// When the latest came.
    pub last: Instant,
}

impl SampleMsg {
    /// In our own time; `None` without sense, where a mean must lie within 0 and `most`.
    pub fn heard(self, most: f64, written: Instant) -> Option<Received> {
        let sane = (0.0..=most).contains(&self.mean) && self.count > 0.0 && self.count <= MAX_SAMPLES;
        let last = self.age.at(written).filter(|_| sane)?;
        Some(Received { mean: self.mean, count: self.count, last })
    }
}

/// Failures in a row while the breaker is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStreak {
    /// How many.
    #[serde(rename = "n")]
    pub failures: u32,
    /// The age of the latest.
    #[serde(rename = "a")]
    pub age: Age,
}

/// A breaker that its gateway opened by what it saw itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutageMsg {
    /// The age of the failure that opened it, or of the probe that failed last.
    #[serde(rename = "a")]
    pub age: Age,
    /// Until the next probe.
    #[serde(rename = "l")]
    pub left: Remaining,
    /// Rests in a row.
    #[serde(rename = "r")]
    pub rests: u32,
    /// Why.
    #[serde(rename = "c")]
    pub cause: OpenCause,
}

/// How long the provider wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CooldownMsg {
    /// The age of its answer.
    #[serde(rename = "a")]
    pub age: Age,
    /// Until it is over.
    #[serde(rename = "l")]
    pub left: Remaining,
}

/// The latest order of an operator to take the target out, or in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Tells it from other such orders: it is told on, and comes back.
    #[serde(rename = "n")]
    pub id: u64,
    /// Out.
    #[serde(rename = "d")]
    pub drained: bool,
    /// The age of the order.
    #[serde(rename = "a")]
    pub age: Age,
}

/// The latest order of an operator to forget what is known of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Tells it from other such orders.
    #[serde(rename = "n")]
    pub id: u64,
    /// The age of the order.
    #[serde(rename = "a")]
    pub age: Age,
}

/// What is measured of requests of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<SampleMsg>,
    /// How long requests have been waiting without a sign of life.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Age>,
}

/// All that a gateway knows by itself of one target. The names are short because they travel often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetReport {
    /// `provider/model`
    #[serde(rename = "i")]
    pub target: String,
    /// Tells one state of the breaker from the next.
    #[serde(rename = "e", default)]
    pub state: u64,
    /// Failures in a row, if there are any and the breaker is closed.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub row: Option<FailureStreak>,
    /// Its breaker is not closed.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<OutageMsg>,
    /// Since its own probe closed the breaker.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Age>,
    /// The provider asked it to wait.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<CooldownMsg>,
    /// The provider's rate limit has no room.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub full: Option<CooldownMsg>,
    /// An operator's order.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// An operator had everything forgotten.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// Success rate.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<SampleMsg>,
    /// Of streams, and of whole answers.
    #[serde(rename = "k", default)]
    pub kinds: [Figures; 2],
}

/// What a gateway publishes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who.
    #[serde(rename = "g")]
    pub gateway: PeerId,
    /// Grows with each of its messages; of two, the higher one is the newer.
    #[serde(rename = "n")]
    pub number: u64,
    /// It has just come, and asks what the others know.
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// What it knows, of those targets that have news.
    #[serde(rename = "t", default)]
    pub reports: Vec<TargetReport>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::exchange::outcome::{HardKind, Outcome};

    #[test]
    fn a_message_survives_its_way_and_is_small() {
        let cause = OpenCause::InARow(5, Outcome::Hard(HardKind::Status(503)));
        let sample = Some(SampleMsg { mean: 0.5, count: 8.0, age: Age(3) });
        let report = TargetReport {
            target: "groq/llama".into(),
            state: 3,
            row: None,
            outage: Some(OutageMsg { age: Age(12), left: Remaining(2000), rests: 1, cause }),
            back: None,
            rest: None,
            full: None,
            drain: Some(Drain { id: 4, drained: true, age: Age(5) }),
            reset: None,
            rate: sample,
            kinds: [Figures { latency: sample, silence: None }, Figures::default()],
        };
        let message = Envelope { gateway: PeerId(7), number: 9, asks: false, reports: vec![report] };
        let text = serde_json::to_string(&message).unwrap();
        assert!(text.len() < 300, "{} bytes: {text}", text.len());
        assert_eq!(serde_json::from_str::<Envelope>(&text).unwrap(), message);
    }

    #[test]
    fn what_is_too_old_or_without_sense_is_dropped_and_no_rest_is_endless() {
        let now = Instant::now();
        assert_eq!(Age(u64::MAX).at(now), None);
        assert_eq!(Age(601_000).at(now), None);
        assert_eq!(Remaining(u64::MAX).end(now), now + MAX_REMAINING);
        for (mean, count) in
            [(f64::NAN, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.5, 0.0), (0.5, f64::NAN), (0.5, 1e9)]
        {
            assert_eq!(SampleMsg { mean, count, age: Age(0) }.heard(1.0, now), None, "{mean} {count}");
        }
        assert!(SampleMsg { mean: 0.5, count: 3.0, age: Age(0) }.heard(1.0, now).is_some());
    }
}
