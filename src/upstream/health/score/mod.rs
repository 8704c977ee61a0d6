//! What is learned of a target from its attempts: the live score, and the counts behind `/admin/providers`.
//!
//! The published score is the one used for routing. It must never learn from what is not
//! the target's doing: clients that leave, clients' faults, our own refusals.

mod ewma;
pub(crate) mod selection;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use self::ewma::Ewma;
use super::peer_evidence::{PeerEvidence, PeerSample, PeerSilence};
use crate::upstream::exchange::outcome::{FailureKind, Outcome, ScoreSignal};

/// A single outcome weighs at most a fifth of the success rate.
const RATE_PRIOR: f64 = 4.0;
/// A single latency weighs at most half of the average.
const LATENCY_PRIOR: f64 = 1.0;
/// Latency decays this many times faster than outcomes: it must move within seconds. With a factor of 6, a target
/// that became ten times slower still had 5 % of the requests between the 10th and the 20th second (`bench/run storm`).
const LATENCY_FASTER: u32 = 12;

/// A peer reports its silence twice a second, and the report counts for this long.
const PEER_QUEUE_TTL: Duration = Duration::from_secs(1);

/// The kind of a latency. Those of streams and of whole answers are not comparable, so they are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatencyKind {
    /// A streamed answer: latency is the time to its first content.
    #[default]
    Stream,
    /// An answer in one piece: latency is the whole time.
    Whole,
}

/// Counts since start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Attempts that succeeded.
    pub success_count: u64,
    /// Attempts that failed by the target's fault: the sum of `failures`.
    pub failure_count: u64,
    /// Attempts that ended, including those that were neither a success nor the target's failure.
    pub total_calls: u64,
    /// The total latency of the successes.
    pub total_latency: Duration,
    /// When an attempt last began.
    pub last_used: Option<SystemTime>,
    failures: [u64; FailureKind::ALL.len()],
}

impl Counters {
    /// Failures of each kind.
    pub fn failures(&self) -> impl Iterator<Item = (FailureKind, u64)> + '_ {
        FailureKind::ALL.into_iter().zip(self.failures)
    }
}

/// The score and its parts at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// `100 × success_rate − 10 × max(avg_latency, silence)`.
    pub score: f64,
    /// 0..1, decayed over time.
    pub success_rate: f64,
    /// Seconds, decayed, times `crowding`; 0 while nothing is known of any target of the pool.
    pub avg_latency: f64,
    /// Requests that wait for their first content, relative to the usual number; at least 1.
    pub crowding: f64,
    /// Seconds without any content although a request waits, here or at a peer; 0 when none waits.
    pub silence: f64,
}

/// The statistics of one target.
#[derive(Debug, Clone)]
pub struct TargetStats {
    rate: Ewma,
    kinds: [LatencyTrack; 2],
    tokens_per_second: Ewma,
    counters: Counters,
    last_kind: LatencyKind,
    half_life: Duration,
    measurements: u64,
}

#[derive(Debug, Clone)]
struct LatencyTrack {
    latency: Ewma,
    /// The number of waiting attempts when one began, itself included.
    crowd: Ewma,
    /// Start of every attempt without content yet, by attempt id.
    waiting: BTreeMap<u64, Instant>,
    last_content: Option<Instant>,
    peer_silence: Option<PeerSilence>,
}

impl TargetStats {
    /// A target without samples: it starts at a success rate of 1 and the latency of its pool.
    pub fn new(half_life: Duration) -> Self {
        let latency = || Ewma::new(half_life / LATENCY_FASTER, LATENCY_PRIOR);
        let track = || LatencyTrack {
            latency: latency(),
            crowd: latency(),
            waiting: BTreeMap::new(),
            last_content: None,
            peer_silence: None,
        };
        Self {
            rate: Ewma::new(half_life, RATE_PRIOR),
            kinds: [track(), track()],
            tokens_per_second: latency(),
            counters: Counters::default(),
            last_kind: LatencyKind::default(),
            half_life,
            measurements: 0,
        }
    }

    /// Statistics without samples, as if new.
    pub fn emptied(&self) -> Self {
        Self { measurements: self.measurements + 1, ..Self::new(self.half_life) }
    }

    /// An attempt begins. `id` comes from one rising counter, so that the first in the map is the oldest.
    pub fn started(&mut self, kind: LatencyKind, id: u64, now: Instant, wall: SystemTime) {
        let track = self.track(kind);
        track.waiting.insert(id, now);
        track.crowd.record(track.waiting.len() as f64, None, now);
        self.counters.last_used = Some(wall);
        self.last_kind = kind;
    }

    /// An attempt has an outcome. A stream's `Success` comes with its first content; if it breaks later,
    /// `Broken` follows under the same id. `prior`: see [`pool_latency`]. Returns the latency of a success.
    pub fn ended(
        &mut self,
        kind: LatencyKind,
        id: u64,
        outcome: Outcome,
        prior: Option<f64>,
        now: Instant,
    ) -> Option<Duration> {
        let started = self.track(kind).waiting.remove(&id);
        self.count(outcome);
        self.measurements += 1;
        match outcome.counts_for_score() {
            ScoreSignal::Neutral => None,
            ScoreSignal::Failure => {
                self.rate.record(0.0, Some(1.0), now);
                None
            }
            ScoreSignal::Success => {
                self.rate.record(1.0, Some(1.0), now);
                let latency = now.saturating_duration_since(started?);
                let track = self.track(kind);
                track.latency.record(latency.as_secs_f64(), prior, now);
                track.last_content = Some(now);
                self.counters.total_latency += latency;
                Some(latency)
            }
        }
    }

    /// A stream or answer was complete: `tokens` in `time` after the first content.
    pub fn produced(&mut self, tokens: u64, time: Duration, now: Instant) {
        if tokens > 0 && !time.is_zero() {
            self.tokens_per_second.record(tokens as f64 / time.as_secs_f64(), None, now);
        }
    }

    /// The score for requests of `kind`. `prior` is the [`pool_latency`] of that kind.
    pub fn score(&self, kind: LatencyKind, prior: Option<f64>, now: Instant) -> Score {
        let track = &self.kinds[kind as usize];
        let success_rate = self.rate.value(Some(1.0), now).unwrap_or(1.0);
        let crowding = track.crowding();
        let avg_latency = track.latency.value(prior, now).unwrap_or(0.0) * crowding;
        let silence = track.silence(now).as_secs_f64();
        let score = 100.0 * success_rate - 10.0 * avg_latency.max(silence);
        Score { score, success_rate, avg_latency, crowding, silence }
    }

    /// The average of the measured latencies, without decay to the prior; for [`pool_latency`].
    pub fn measured_latency(&self, kind: LatencyKind) -> Option<f64> {
        self.kinds[kind as usize].latency.measured()
    }

    /// Output tokens per second of one answer; `None` before the first.
    pub fn tokens_per_second(&self) -> Option<f64> {
        self.tokens_per_second.measured()
    }

    /// A number that grows with every outcome.
    pub fn measurements(&self) -> u64 {
        self.measurements
    }

    /// The success rate measured here, for the peers.
    pub fn own_rate(&self) -> Option<PeerSample> {
        self.rate.own()
    }

    /// Since when requests of this gateway have been waiting without a sign of life; `None` if none waits.
    pub fn own_silence(&self, kind: LatencyKind, now: Instant) -> Option<Instant> {
        self.kinds[kind as usize].silent_since().filter(|since| *since < now)
    }

    /// Takes all that the peers say together, in place of what they said before.
    pub fn merge(&mut self, evidence: &PeerEvidence) {
        self.rate.merge(&evidence.rates);
        for (track, silence) in self.kinds.iter_mut().zip(evidence.silences) {
            track.peer_silence = silence;
        }
    }

    /// Attempts without content so far.
    pub fn waiting(&self) -> usize {
        self.kinds.iter().map(|track| track.waiting.len()).sum()
    }

    /// Counts since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The kind of the latest attempt: the admin page shows its score.
    pub fn last_kind(&self) -> LatencyKind {
        self.last_kind
    }

    fn track(&mut self, kind: LatencyKind) -> &mut LatencyTrack {
        &mut self.kinds[kind as usize]
    }

    /// Every attempt is counted once: one that breaks was counted as a success at its first content.
    fn count(&mut self, outcome: Outcome) {
        let counters = &mut self.counters;
        if let Outcome::Broken(_) = outcome {
            counters.success_count = counters.success_count.saturating_sub(1);
        } else {
            counters.total_calls += 1;
        }
        if let Some(kind) = outcome.failure_kind() {
            counters.failure_count += 1;
            counters.failures[kind as usize] += 1;
        }
        if outcome == Outcome::Success {
            counters.success_count += 1;
        }
    }
}

impl LatencyTrack {
    /// Measured from the last content and not as the age of the oldest request alone, or a busy
    /// target with a long tail would always look slow.
    fn silent_since(&self) -> Option<Instant> {
        let oldest = *self.waiting.values().next()?;
        Some(self.last_content.map_or(oldest, |last| last.max(oldest)))
    }

    /// Includes a peer's silence up to its report and no further: the answer may have come since. Content here ends it.
    fn silence(&self, now: Instant) -> Duration {
        let own = self.silent_since().map(|since| now.saturating_duration_since(since));
        let peer = self.peer_silence.filter(|silence| {
            now.saturating_duration_since(silence.reported) < PEER_QUEUE_TTL
                && self.last_content.is_none_or(|last| last < silence.since)
        });
        let peer = peer.map(|silence| silence.reported.saturating_duration_since(silence.since));
        own.max(peer).unwrap_or_default()
    }

    /// An average only learns of a crowd once it has been served; until then every request would join it, and a target
    /// that slows down under load would be overloaded, then the next. So the expected wait of the next request is
    /// multiplied by waiting / usual; one more than usual does not count. Relative to the target's own usual, because a fast
    /// target gets the most requests and so has the most waiting (unlike linkerd's and Finagle's latency × in flight).
    fn crowding(&self) -> f64 {
        let usual = self.crowd.measured().unwrap_or(0.0);
        ((self.waiting.len() as f64 + 1.0) / (usual + 1.0)).max(1.0)
    }
}

/// The latency assumed for a target without samples, and the prior of an idle one: the median latency of its
/// pool, in seconds, from [`TargetStats::measured_latency`] of all its targets, itself among them. Of two middle values
/// the lower one: for two targets that is the better one, so that the other is tried again. `None`: nothing is known.
pub fn pool_latency(measured: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = measured.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2).copied()
}
