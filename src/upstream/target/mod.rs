//! One model at one provider, and everything measured of it.
//!
//! The state lives behind one short lock per target and survives a reload. Nothing here waits or does I/O.

pub(crate) mod ad_hoc;
mod change_notifier;
pub(crate) mod model;
mod operator_command;
mod peers;
pub(crate) mod snapshot;
pub(crate) mod view;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::change_notifier::ChangeNotifier;
pub(crate) use self::change_notifier::PendingUpdates;
pub(crate) use self::operator_command::OperatorCommand;
use super::{
    health::{
        breaker::{Breaker, BreakerState},
        cooldown::Cooldown,
        headroom::Headroom,
        latency::LatencyHistogram,
        score::{LatencyKind, Score, TargetStats},
    },
    provider::Provider,
};
use crate::{
    config::{self, TargetName, Timeout},
    events::{Event, Events},
    telemetry::metrics::TargetMeters,
};

/// What a call needs of a target.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestNeed {
    /// Whether the answer is streamed or whole.
    pub kind: LatencyKind,
    /// Estimated tokens of the prompt.
    pub tokens: u64,
}

/// Whether a target may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// By any request.
    Ready,
    /// By any request, but after others: a peer has just seen it fail and is probing it.
    Doubted,
    /// Only by one request, the half-open probe.
    Probe,
    /// By no request.
    Out,
}

impl Availability {
    /// Whether any request may go there.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Ready | Self::Doubted)
    }
}

/// Why a target is ineligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IneligibleReason {
    /// Its breaker is open, or a half-open probe is in flight.
    Open,
    /// A half-open probe is due, and waits for the probe lease of the cluster.
    AwaitingProbeLease,
    /// It asked us to wait.
    CoolingDown,
    /// Its rate limit would refuse the next request.
    NoHeadroom,
    /// The provider rejected our key, or does not have the model.
    Misconfigured,
    /// An operator drained it.
    Drained,
    /// Its provider is at its limit of concurrent requests.
    Busy,
}

/// Whether and why a target may be tried, at one moment and for one need.
#[derive(Debug, Clone, Copy)]
pub struct Eligibility {
    /// Whether it may be tried.
    pub access: Availability,
    /// Why it is ineligible.
    pub why: Option<IneligibleReason>,
    /// When it may be tried again, if that is known.
    pub until: Option<Instant>,
    /// Its score and the parts of it.
    pub score: Score,
    /// Its weight while it recovers, 0..1.
    pub ramp: f64,
}

/// One model at one provider.
pub struct Target {
    /// `provider/model`
    pub id: Arc<str>,
    /// The two parts of the id.
    pub name: TargetName,
    /// Its provider, shared by all targets there.
    pub provider: Arc<Provider>,
    /// Its state; shared with the same target of other configurations.
    pub state: Arc<TargetState>,
    /// Its metrics; shared likewise. `None` if nothing is counted.
    pub meters: Option<Arc<TargetMeters>>,
}

/// The state of a target.
pub struct TargetState {
    pub(crate) id: Arc<str>,
    pub(super) attempts: AtomicU64,
    events: Events,
    pub(crate) health: Mutex<TargetHealth>,
}

/// The part of the state behind the lock.
pub(crate) struct TargetHealth {
    pub breaker: Breaker,
    pub stats: TargetStats,
    pub headroom: Headroom,
    pub cooldown: Cooldown,
    /// Times to the first content, and to a whole answer.
    pub latencies: [LatencyHistogram; 2],
    /// The longest gap between content events, of each stream.
    pub gaps: LatencyHistogram,
    pub misconfigured: Option<(Instant, String)>,
    pub drained: bool,
    /// Attempts in flight.
    pub in_flight: u32,
    pub last_failure: Option<String>,
    pub rng: fastrand::Rng,
    /// An operator's latest commands, given here or at another gateway.
    pub drain_command: Option<OperatorCommand>,
    pub reset_command: Option<OperatorCommand>,
    /// Where changes are noted for other gateways; `None` while there are none.
    pub notifier: Option<ChangeNotifier>,
}

impl TargetState {
    /// The state of a new target; `drained` if its provider is.
    pub fn new(id: Arc<str>, drained: bool, config: &config::Config, events: Events) -> Arc<Self> {
        let health = TargetHealth {
            breaker: Breaker::new(config.breaker.clone()),
            stats: TargetStats::new(config.routing.half_life),
            headroom: Headroom::default(),
            cooldown: Cooldown::default(),
            latencies: Default::default(),
            gaps: LatencyHistogram::default(),
            misconfigured: None,
            drained,
            in_flight: 0,
            last_failure: None,
            rng: fastrand::Rng::new(),
            drain_command: None,
            reset_command: None,
            notifier: None,
        };
        Arc::new(Self { id, attempts: AtomicU64::new(0), events, health: Mutex::new(health) })
    }

    /// New keys or a new address: what was refused before may be granted now.
    pub fn clear_misconfiguration(&self) {
        self.health.lock().misconfigured = None;
    }

    /// Records the result of a health check.
    pub fn checked(&self, passed: bool, now: Instant) {
        if passed {
            self.health.lock().breaker.let_probe_now(now);
        }
    }

    /// Whether a health check is due: it had no request since `since`, or its breaker is not closed.
    pub fn wants_check(&self, since: SystemTime, now: Instant) -> bool {
        let health = self.health.lock();
        let idle = health.stats.counters().last_used.is_none_or(|used| used < since);
        idle || health.breaker.state(now) != BreakerState::Closed
    }

    /// Timeout of the first content of a stream.
    pub fn first_token_deadline(&self, configured: Timeout, tokens: u64) -> Duration {
        match configured {
            Timeout::After(limit) => limit,
            Timeout::Auto => {
                let health = self.health.lock();
                super::health::latency::first_token_deadline(
                    &health.latencies[LatencyKind::Stream as usize],
                    tokens,
                )
            }
        }
    }

    /// Timeout of the head of a whole answer; at most `total`.
    pub fn answer_deadline(&self, configured: Timeout, total: Duration) -> Duration {
        match configured {
            Timeout::After(limit) => limit,
            Timeout::Auto => {
                let health = self.health.lock();
                super::health::latency::answer_deadline(&health.latencies[LatencyKind::Whole as usize], total)
            }
        }
    }

    /// Longest silence of a stream.
    pub fn stall_deadline(&self, configured: Timeout) -> Duration {
        match configured {
            Timeout::After(limit) => limit,
            Timeout::Auto => super::health::latency::stall_deadline(&self.health.lock().gaps),
        }
    }

    /// The 95th percentile of the first token, for hedging; `None` with too few samples.
    pub fn usual_first_token(&self) -> Option<Duration> {
        let health = self.health.lock();
        let first = &health.latencies[LatencyKind::Stream as usize];
        (first.count() >= 20).then(|| first.quantile(0.95))?
    }

    pub(crate) fn publish_state(&self, state: &'static str, reason: String) {
        self.events.record(Event::State { target: self.id.to_string(), state, reason });
    }
}

impl Target {
    /// The measured latency in seconds, for the median of its pool.
    pub fn measured_latency(&self, kind: LatencyKind) -> Option<f64> {
        self.state.health.lock().stats.measured_latency(kind)
    }

    /// Its eligibility; `prior` is the median latency of its pool.
    pub fn eligibility(&self, need: &RequestNeed, prior: Option<f64>, now: Instant) -> Eligibility {
        let health = self.state.health.lock();
        let score = health.stats.score(need.kind, prior, now);
        let ramp = health.breaker.ramp(now);
        let out = |why, until| Eligibility { access: Availability::Out, why: Some(why), until, score, ramp };
        if let Some((why, until)) = health.ineligible_reason(need.tokens, now) {
            return out(why, until);
        }
        if !self.provider.has_room() {
            return out(IneligibleReason::Busy, None);
        }
        let access = match health.breaker.state(now) {
            BreakerState::Closed if health.breaker.suspected(now).is_some() => Availability::Doubted,
            BreakerState::Closed => Availability::Ready,
            BreakerState::Open | BreakerState::HalfOpen => Availability::Probe,
        };
        Eligibility { access, why: None, until: None, score, ramp }
    }
}

impl TargetHealth {
    /// What keeps a request with about so many prompt tokens away, and until when, if that is known.
    pub(crate) fn ineligible_reason(
        &self,
        tokens: u64,
        now: Instant,
    ) -> Option<(IneligibleReason, Option<Instant>)> {
        if self.drained {
            return Some((IneligibleReason::Drained, None));
        }
        if let Some((until, _)) = self.misconfigured.as_ref().filter(|(until, _)| now < *until) {
            return Some((IneligibleReason::Misconfigured, Some(*until)));
        }
        if let Some(until) = self.cooldown.retry_at(now) {
            return Some((IneligibleReason::CoolingDown, Some(until)));
        }
        if self.breaker.would_admit(now).is_none() {
            let why = if self.breaker.awaits_probe_lease(now) {
                IneligibleReason::AwaitingProbeLease
            } else {
                IneligibleReason::Open
            };
            return Some((why, self.breaker.back_at(now)));
        }
        let room_at = self.headroom.room_at(now, tokens)?;
        Some((IneligibleReason::NoHeadroom, Some(room_at)))
    }
}
