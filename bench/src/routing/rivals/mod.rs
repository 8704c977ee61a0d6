//! The policies that others use, each a few lines: an [`Order`] among those who may be asked, and a [`Guard`] that says
//! who may not.
//!
//! All are given what their products mostly lack: a first-token deadline of [`FIRST_TOKEN`] (their own defaults reach
//! from 15 s to 6000 s), a retry at once, always at a target that this call has not asked yet, and someone to ask even
//! when all are out. They must not share code with what they are compared with.

mod agentgateway;
mod aisix;
mod envoy;
mod linkerd;
mod litellm;
mod plain;
#[cfg(test)]
mod tests;

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::policy::{Call, Choice, Ended, Policy};

/// How long every rival waits for a first token.
const FIRST_TOKEN: Duration = Duration::from_secs(10);

/// Who comes first.
trait Order {
    /// One of `eligible`, which is not empty.
    fn pick(&mut self, eligible: &[usize], now: Instant, rng: &mut fastrand::Rng) -> usize;

    /// `target` is asked.
    fn began(&mut self, _target: usize, _now: Instant) {}

    /// An attempt has its first content, or failed.
    fn ended(&mut self, _ended: &Ended, _now: Instant) {}

    /// A stream of `target` is over.
    fn streamed(&mut self, _target: usize) {}
}

/// Who is left alone.
trait Guard {
    /// Whether `target` is.
    fn is_out(&self, target: usize, now: Instant) -> bool;

    /// An attempt has its first content, or failed.
    fn ended(&mut self, ended: &Ended, now: Instant);
}

/// A policy that others use.
struct Rival {
    targets: usize,
    order: Box<dyn Order>,
    guard: Box<dyn Guard>,
    rng: fastrand::Rng,
}

/// Makes a policy for so many targets, from a seed for its dice.
pub type Make = fn(usize, u64) -> Box<dyn Policy>;

/// All of them, by name.
pub const ALL: [(&str, Make); 8] = [
    ("random", |n, seed| rival(n, seed, plain::Random, plain::Nobody)),
    ("round robin", |n, seed| rival(n, seed, plain::RoundRobin::default(), plain::Nobody)),
    ("LiteLLM shuffle", |n, seed| rival(n, seed, plain::Random, litellm::Cooldown::new(n))),
    ("LiteLLM latency", |n, seed| rival(n, seed, litellm::TenSamples::new(n), litellm::Cooldown::new(n))),
    ("AISIX", |n, seed| rival(n, seed, aisix::LeastEwma::new(n), aisix::Cooldown::new(n))),
    ("agentgateway", |n, seed| rival(n, seed, agentgateway::Health::new(n), agentgateway::Eviction::new(n))),
    ("Envoy", |n, seed| rival(n, seed, plain::RoundRobin::default(), envoy::Ejection::new(n))),
    ("linkerd", |n, seed| rival(n, seed, linkerd::PeakEwma::new(n), linkerd::Accrual::new(n))),
];

fn rival(
    targets: usize,
    seed: u64,
    order: impl Order + 'static,
    guard: impl Guard + 'static,
) -> Box<dyn Policy> {
    let rng = fastrand::Rng::with_seed(seed);
    Box::new(Rival { targets, order: Box::new(order), guard: Box::new(guard), rng })
}

impl Policy for Rival {
    fn next(&mut self, call: &Call, now: Instant) -> Choice {
        let all = || 0..self.targets;
        let fresh = |target: &usize| !call.tried.contains(target);
        let well = |target: &usize| !self.guard.is_out(*target, now);
        let wishes = [
            all().filter(fresh).filter(well).collect::<Vec<_>>(),
            all().filter(fresh).collect(),
            all().filter(well).collect(),
            all().collect(),
        ];
        let Some(eligible) = wishes.iter().find(|wish| !wish.is_empty()) else { return Choice::GiveUp };
        let target = self.order.pick(eligible, now, &mut self.rng);
        self.order.began(target, now);
        Choice::Ask(target, FIRST_TOKEN)
    }

    fn ended(&mut self, _call: &Call, ended: &Ended, now: Instant) {
        self.order.ended(ended, now);
        self.guard.ended(ended, now);
    }

    fn streamed(&mut self, _call: u64, target: usize, _whole: bool) {
        self.order.streamed(target);
    }
}

/// Whether an attempt failed by the target's doing; for all rivals a 429 is one.
fn failed(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Hard(_) | Outcome::Throttled { .. })
}

/// What a 429 asks for.
fn retry_after(outcome: Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Throttled { rest } => rest,
        _ => None,
    }
}
