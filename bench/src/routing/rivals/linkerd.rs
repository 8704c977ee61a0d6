//! linkerd2-proxy, and Finagle before it: the better of two by peak-sensitive EWMA times pending requests, with the load
//! biaser's penalties for failures, and failure accrual with growing rests.

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::{Guard, Order, failed, retry_after};
use crate::routing::policy::Ended;

/// Time constant of the decay, seconds.
const DECAY: f64 = 10.0;
/// What an unknown target is taken for, seconds.
const SEED: f64 = 1.0;
/// What a failure is taken for at least, seconds.
const PENALTY: f64 = 5.0;
const LONGEST_PENALTY: f64 = 300.0;
/// Failures in a row, and the rests that follow.
const IN_A_ROW: u32 = 7;
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// `rtt × (pending + 1)`, the better of two.
pub struct PeakEwma(Vec<Load>);

#[derive(Clone)]
struct Load {
    rtt: f64,
    at: Option<Instant>,
    pending: u32,
}

impl PeakEwma {
    pub fn new(targets: usize) -> Self {
        Self(vec![Load { rtt: SEED, at: None, pending: 0 }; targets])
    }
}

impl Load {
    fn left(&self, now: Instant) -> f64 {
        self.at.map_or(1.0, |at| (-(now - at).as_secs_f64() / DECAY).exp())
    }

    /// A peak is taken at once; what is better, little by little.
    fn record(&mut self, sample: f64, now: Instant) {
        let left = if self.at.is_none() { 0.0 } else { self.left(now) };
        self.rtt = if sample > self.rtt { sample } else { self.rtt * left + sample * (1.0 - left) };
        self.at = Some(now);
    }

    /// While nothing is heard the average decays.
    fn load(&self, now: Instant) -> f64 {
        self.rtt * self.left(now) * f64::from(self.pending + 1)
    }
}

impl Order for PeakEwma {
    fn pick(&mut self, eligible: &[usize], now: Instant, rng: &mut fastrand::Rng) -> usize {
        let first = rng.usize(..eligible.len());
        if eligible.len() == 1 {
            return eligible[0];
        }
        let second = (first + 1 + rng.usize(..eligible.len() - 1)) % eligible.len();
        let (a, b) = (eligible[first], eligible[second]);
        if self.0[a].load(now) <= self.0[b].load(now) { a } else { b }
    }

    fn began(&mut self, target: usize, _now: Instant) {
        self.0[target].pending += 1;
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let load = &mut self.0[ended.target];
        load.pending -= 1;
        let elapsed = ended.elapsed.as_secs_f64();
        let said = retry_after(ended.outcome).map_or(0.0, |said| said.as_secs_f64().min(LONGEST_PENALTY));
        let penalty = if failed(ended.outcome) { said.max(PENALTY) } else { 0.0 };
        load.record(elapsed.max(penalty), now);
    }
}

/// Rests after failures in a row; then one failure more is enough for the next, longer rest.
pub struct Accrual(Vec<Endpoint>);

#[derive(Clone, Default)]
struct Endpoint {
    until: Option<Instant>,
    rests: u32,
    in_a_row: u32,
}

impl Accrual {
    pub fn new(targets: usize) -> Self {
        Self(vec![Endpoint::default(); targets])
    }
}

impl Guard for Accrual {
    fn is_out(&self, target: usize, now: Instant) -> bool {
        self.0[target].until.is_some_and(|until| now < until)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let was_out = self.is_out(ended.target, now);
        let endpoint = &mut self.0[ended.target];
        if ended.outcome == Outcome::Success {
            *endpoint = Endpoint::default();
        } else if failed(ended.outcome) && !was_out {
            endpoint.in_a_row += 1;
            if endpoint.in_a_row >= IN_A_ROW {
                endpoint.until =
                    Some(now + REST.saturating_mul(1 << endpoint.rests.min(10)).min(LONGEST_REST));
                endpoint.rests += 1;
            }
        }
    }
}
