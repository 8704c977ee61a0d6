//! What an operator orders for a target: no new requests, new ones again, or a fresh start.
//!
//! A command is remembered with a number and a time: it counts for every gateway, and of two the later one counts.

use std::time::Duration;

use tokio::time::Instant;

use super::{TargetHealth, TargetState};
use crate::upstream::health::{headroom::Headroom, latency::LatencyHistogram, score::TargetStats};

/// An operator's command, given here or at another gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorCommand {
    pub at: Instant,
    /// Tells it from others of its kind: it is passed on, and comes back.
    pub id: u64,
    /// It was given at this gateway.
    pub local: bool,
}

impl OperatorCommand {
    fn given_here(now: Instant) -> Self {
        Self { at: now, id: fastrand::u64(..), local: true }
    }

    /// Whether it counts instead of the latest that was known.
    pub(crate) fn supersedes(self, known: Option<Self>) -> bool {
        known.is_none_or(|known| known.id != self.id && known.at < self.at)
    }
}

impl TargetState {
    /// No new requests, or new ones again.
    pub fn drain(&self, drained: bool, now: Instant) {
        let mut health = self.health.lock();
        health.drained = drained;
        health.drain_command = Some(OperatorCommand::given_here(now));
        health.notify_change(&self.id);
        let state = health.state(now);
        drop(health);
        let what = if drained { "drained" } else { "resumed" };
        self.publish_state(state.as_str(), format!("{what} by an operator"));
    }

    /// Whether an operator took it out.
    pub fn is_drained(&self) -> bool {
        self.health.lock().drained
    }

    /// Everything measured is forgotten, with every cooldown and every refusal of our key.
    pub fn reset(&self, half_life: Duration, now: Instant) {
        let mut health = self.health.lock();
        health.forget(TargetStats::new(half_life));
        health.reset_command = Some(OperatorCommand::given_here(now));
        health.notify_change(&self.id);
        let state = health.state(now);
        drop(health);
        self.publish_state(state.as_str(), "reset by an operator".to_owned());
    }
}

impl TargetHealth {
    /// Everything measured is forgotten, with every cooldown and every refusal of our key.
    pub(crate) fn forget(&mut self, stats: TargetStats) {
        self.breaker.reset();
        self.stats = stats;
        self.headroom = Headroom::default();
        self.cooldown = Default::default();
        self.latencies = Default::default();
        self.gaps = LatencyHistogram::default();
        self.misconfigured = None;
        self.last_failure = None;
    }
}
