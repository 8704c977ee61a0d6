//! agentgateway: the better of two by health over latency, both averages per sample, and eviction after failures in a row.
//!
//! Its latency is that of the whole request; here it is given the first token, which is kinder.

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::{Guard, Order, failed, retry_after};
use crate::routing::policy::Ended;

const ALPHA: f64 = 0.3;
const PER_PENDING: f64 = 0.1;
/// Failures in a row; eviction is off unless configured, and this is the usual number.
const IN_A_ROW: u32 = 5;
const EVICTION: Duration = Duration::from_secs(3);

/// `health / (1 + latency × (1 + 0.1 × pending))`, the better of two.
pub struct Health(Vec<Average>);

#[derive(Clone)]
struct Average {
    health: f64,
    latency: f64,
    pending: u32,
}

impl Health {
    pub fn new(targets: usize) -> Self {
        Self(vec![Average { health: 1.0, latency: 0.0, pending: 0 }; targets])
    }

    fn score(&self, target: usize) -> f64 {
        let Average { health, latency, pending } = self.0[target];
        health / (1.0 + latency * (1.0 + PER_PENDING * f64::from(pending)))
    }
}

impl Order for Health {
    fn pick(&mut self, eligible: &[usize], _now: Instant, rng: &mut fastrand::Rng) -> usize {
        let [a, b] = [(); 2].map(|()| eligible[rng.usize(..eligible.len())]);
        if self.score(a) >= self.score(b) { a } else { b }
    }

    fn began(&mut self, target: usize, _now: Instant) {
        self.0[target].pending += 1;
    }

    fn ended(&mut self, ended: &Ended, _now: Instant) {
        let average = &mut self.0[ended.target];
        let success = ended.outcome == Outcome::Success;
        if !success {
            average.pending -= 1;
        }
        if success || failed(ended.outcome) {
            average.health += ALPHA * (f64::from(u8::from(success)) - average.health);
            average.latency += ALPHA * (ended.elapsed.as_secs_f64() - average.latency);
        }
    }

    fn streamed(&mut self, target: usize) {
        self.0[target].pending -= 1;
    }
}

/// Evicted for the `retry-after`, or 3 s longer each time.
pub struct Eviction(Vec<Evicted>);

#[derive(Clone, Default)]
struct Evicted {
    until: Option<Instant>,
    times: u32,
    in_a_row: u32,
}

impl Eviction {
    pub fn new(targets: usize) -> Self {
        Self(vec![Evicted::default(); targets])
    }
}

impl Guard for Eviction {
    fn is_out(&self, target: usize, now: Instant) -> bool {
        self.0[target].until.is_some_and(|until| now < until)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let evicted = &mut self.0[ended.target];
        if ended.outcome == Outcome::Success {
            (evicted.times, evicted.in_a_row) = (0, 0);
        } else if failed(ended.outcome) {
            evicted.in_a_row += 1;
            let said = retry_after(ended.outcome);
            if said.is_some() || evicted.in_a_row >= IN_A_ROW {
                evicted.times += 1;
                evicted.until = Some(now + said.unwrap_or(EVICTION * evicted.times));
            }
        }
    }
}
