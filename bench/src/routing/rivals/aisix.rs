//! AISIX: `least_latency`, a greedy choice by an EWMA per sample, and a cooldown of 30 s after every failure.

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::{Guard, Order, failed, retry_after};
use crate::routing::policy::Ended;

const ALPHA: f64 = 0.3;
const COOLDOWN: Duration = Duration::from_secs(30);
const LONGEST_COOLDOWN: Duration = Duration::from_secs(600);

/// The least average; who has none comes first.
pub struct LeastEwma(Vec<Option<f64>>);

impl LeastEwma {
    pub fn new(targets: usize) -> Self {
        Self(vec![None; targets])
    }
}

impl Order for LeastEwma {
    fn pick(&mut self, eligible: &[usize], _now: Instant, _rng: &mut fastrand::Rng) -> usize {
        let average = |target: usize| self.0[target].unwrap_or(0.0);
        let least = eligible.iter().copied().min_by(|a, b| average(*a).total_cmp(&average(*b)));
        least.unwrap_or(eligible[0])
    }

    fn ended(&mut self, ended: &Ended, _now: Instant) {
        if ended.outcome == Outcome::Success {
            let sample = ended.elapsed.as_secs_f64();
            let average = self.0[ended.target].map_or(sample, |old| old + ALPHA * (sample - old));
            self.0[ended.target] = Some(average);
        }
    }
}

/// Who cools down.
pub struct Cooldown(Vec<Option<Instant>>);

impl Cooldown {
    pub fn new(targets: usize) -> Self {
        Self(vec![None; targets])
    }
}

impl Guard for Cooldown {
    fn is_out(&self, target: usize, now: Instant) -> bool {
        self.0[target].is_some_and(|until| now < until)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        if failed(ended.outcome) {
            let rest = retry_after(ended.outcome).unwrap_or(COOLDOWN).min(LONGEST_COOLDOWN);
            self.0[ended.target] = Some(now + rest);
        }
    }
}
