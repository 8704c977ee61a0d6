//! A target at one moment, for operators.
//!
//! Everything is read under one lock, so the numbers of one view are consistent. Routing never uses a view but
//! [`Target::eligibility`], which sees the same conditions.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{IneligibleReason, Target, TargetHealth};
use crate::upstream::health::{
    breaker::{BreakerState, OpenCause},
    headroom,
    peer_evidence::ReportedBy,
    score::{Counters, LatencyKind, Score},
};

/// `state` in `/admin/providers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedState {
    /// It receives requests.
    Closed,
    /// One request at a time probes it.
    HalfOpen,
    /// It is in cooldown, or its rate limit would refuse the next request.
    RateLimited,
    /// Its circuit is open.
    Open,
    /// The provider rejected our key, or does not have the model.
    Misconfigured,
    /// An operator drained it.
    Drained,
}

/// The state of a target at one moment.
#[derive(Debug, Clone)]
pub struct TargetView {
    /// Its state in one word.
    pub state: ReportedState,
    /// What makes it ineligible; `None` if nothing does.
    pub why: Option<IneligibleReason>,
    /// When it is tried next, if that is known.
    pub retry_at: Option<Instant>,
    /// Why its breaker is not closed.
    pub cause: Option<OpenCause>,
    /// The peer whose report keeps it out, if this gateway has not seen the cause itself.
    pub told_by: Option<ReportedBy>,
    /// The peer that has just seen it fail and is probing it; other targets go first.
    pub doubted_by: Option<ReportedBy>,
    /// The provider's message when it rejected our key or model, while that still counts.
    pub misconfiguration: Option<String>,
    /// Its weight while it recovers, 0..1.
    pub ramp: f64,
    /// The kind of the latest attempt.
    pub kind: LatencyKind,
    /// The score of each [`LatencyKind`].
    pub scores: [Score; 2],
    /// Counts since start.
    pub counters: Counters,
    /// Attempts in flight.
    pub in_flight: u32,
    /// The 50th, 95th and 99th percentile of the latency of each [`LatencyKind`].
    pub quantiles: [[Option<Duration>; 3]; 2],
    /// Output tokens per second of one answer.
    pub tokens_per_second: Option<f64>,
    /// The rate-limit windows that the provider has reported.
    pub headroom: Vec<headroom::HeadroomView>,
    /// The latest failure in one sentence, without secrets.
    pub last_failure: Option<String>,
}

impl ReportedState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::HalfOpen, Self::RateLimited, Self::Open, Self::Misconfigured, Self::Drained];

    /// The name in JSON and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::RateLimited => "rate_limited",
            Self::Open => "open",
            Self::Misconfigured => "misconfigured",
            Self::Drained => "drained",
        }
    }
}

impl TargetView {
    /// The score to show: of the kind of the latest attempt.
    pub fn score(&self) -> Score {
        self.scores[self.kind as usize]
    }
}

impl Target {
    /// The view of the target; `priors` are the median latencies of its pool, one per [`LatencyKind`].
    pub fn view(&self, priors: [Option<f64>; 2], now: Instant) -> TargetView {
        let health = self.state.health.lock();
        let obstacle = health.ineligible_reason(0, now);
        let busy = (!self.provider.has_room()).then_some(IneligibleReason::Busy);
        let kind = health.stats.last_kind();
        TargetView {
            state: health.state(now),
            why: obstacle.map(|(why, _)| why).or(busy),
            retry_at: obstacle.and_then(|(_, until)| until),
            cause: health.breaker.cause(),
            told_by: health.reported_by(now),
            doubted_by: health
                .breaker
                .suspected(now)
                .map(|suspicion| ReportedBy { peer: suspicion.peer, at: suspicion.failed }),
            misconfiguration: health
                .misconfigured
                .as_ref()
                .filter(|(until, _)| now < *until)
                .map(|(_, said)| said.clone()),
            ramp: health.breaker.ramp(now),
            kind,
            scores: [LatencyKind::Stream, LatencyKind::Whole]
                .map(|kind| health.stats.score(kind, priors[kind as usize], now)),
            counters: health.stats.counters().clone(),
            in_flight: health.in_flight,
            quantiles: [LatencyKind::Stream, LatencyKind::Whole].map(|kind| {
                let latencies = &health.latencies[kind as usize];
                [0.5, 0.95, 0.99].map(|q| latencies.quantile(q))
            }),
            tokens_per_second: health.stats.tokens_per_second(),
            headroom: health.headroom.view(now).cloned().collect(),
            last_failure: health.last_failure.clone(),
        }
    }
}

impl TargetHealth {
    /// The state that operators see. A provider at its concurrency limit is busy, not out.
    pub(crate) fn state(&self, now: Instant) -> ReportedState {
        match self.ineligible_reason(0, now) {
            Some((IneligibleReason::Drained, _)) => ReportedState::Drained,
            Some((IneligibleReason::Misconfigured, _)) => ReportedState::Misconfigured,
            Some((IneligibleReason::CoolingDown | IneligibleReason::NoHeadroom, _)) => {
                ReportedState::RateLimited
            }
            Some((
                IneligibleReason::Open | IneligibleReason::AwaitingProbeLease | IneligibleReason::Busy,
                _,
            ))
            | None => match self.breaker.state(now) {
                BreakerState::Closed => ReportedState::Closed,
                BreakerState::Open => ReportedState::Open,
                BreakerState::HalfOpen => ReportedState::HalfOpen,
            },
        }
    }
}
