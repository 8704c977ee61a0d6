//! What needs no memory: random, in turn, and nobody left alone.

use tokio::time::Instant;

use super::{Guard, Order};
use crate::routing::policy::Ended;

/// Any.
pub struct Random;

impl Order for Random {
    fn pick(&mut self, eligible: &[usize], _now: Instant, rng: &mut fastrand::Rng) -> usize {
        eligible[rng.usize(..eligible.len())]
    }
}

/// In turn.
#[derive(Default)]
pub struct RoundRobin(usize);

impl Order for RoundRobin {
    fn pick(&mut self, eligible: &[usize], _now: Instant, _rng: &mut fastrand::Rng) -> usize {
        let next = eligible.iter().find(|target| **target >= self.0).unwrap_or(&eligible[0]);
        self.0 = next + 1;
        *next
    }
}

/// All may always be asked.
pub struct Nobody;

impl Guard for Nobody {
    fn is_out(&self, _target: usize, _now: Instant) -> bool {
        false
    }

    fn ended(&mut self, _ended: &Ended, _now: Instant) {}
}
