//! A model as clients request it: its targets, and which of them comes first.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

use super::{Availability, Eligibility, RequestNeed, Target};
use crate::{
    config::{self, Strategy},
    telemetry::metrics::ModelMeters,
    upstream::health::score::{LatencyKind, pool_latency, selection},
};

/// A model and its targets.
pub struct Model {
    /// Its configuration.
    pub config: config::ModelConfig,
    /// Its targets, in the order of the configuration.
    pub targets: Vec<Arc<Target>>,
    /// It is an ad-hoc target, requested by its own name.
    pub direct: bool,
    /// The metrics of requests for it; shared with the same model of other configurations. `None` if nothing is
    /// counted.
    pub meters: Option<Arc<ModelMeters>>,
    pub(super) strategy: Strategy,
    pub(super) temperature: f64,
    pub(super) turn: AtomicUsize,
}

impl Model {
    /// How one of its targets is chosen.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// The median latency of its targets: the assumed latency of one without samples.
    pub fn prior(&self, kind: LatencyKind) -> Option<f64> {
        pool_latency(self.targets.iter().filter_map(|target| target.measured_latency(kind)))
    }

    /// The eligibility of each target.
    pub fn eligibilities(&self, need: &RequestNeed, now: Instant) -> Vec<Eligibility> {
        let prior = self.prior(need.kind);
        self.targets.iter().map(|target| target.eligibility(need, prior, now)).collect()
    }

    /// The indices in `some` of targets that are open; without the suspected ones, if there are others.
    pub fn preferred(mut some: Vec<usize>, eligibilities: &[Eligibility]) -> Vec<usize> {
        let ready = some.iter().any(|index| eligibilities[*index].access == Availability::Ready);
        let access = if ready { Availability::Ready } else { Availability::Doubted };
        some.retain(|index| eligibilities[*index].access == access);
        some
    }

    /// Chooses which of the targets at `eligible` is tried first.
    pub fn best(
        &self,
        eligible: &[usize],
        eligibilities: &[Eligibility],
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let first = match self.strategy {
            Strategy::Score => selection::by_score(keys(eligible, eligibilities), self.temperature, rng)?,
            Strategy::Priority => 0,
            Strategy::Weighted => selection::by_weight(self.weights(eligible), rng)?,
            Strategy::RoundRobin => {
                selection::round_robin(eligible.len(), self.turn.fetch_add(1, Ordering::Relaxed))?
            }
        };
        eligible.get(first).copied()
    }

    /// The one of the targets at `eligible` that [`Model::best`] takes most often; does not advance the round robin.
    pub fn likeliest(&self, eligible: &[usize], eligibilities: &[Eligibility]) -> Option<usize> {
        if self.strategy == Strategy::RoundRobin {
            let turn = self.turn.load(Ordering::Relaxed);
            return selection::round_robin(eligible.len(), turn).map(|first| eligible[first]);
        }
        let chances = self.chances(eligible, eligibilities);
        // The first of equals.
        let best = chances.iter().enumerate().rev().max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(index, _)| eligible[index])
    }

    /// The probability of each target to be tried first now.
    pub fn shares(&self, eligibilities: &[Eligibility]) -> Vec<f64> {
        let eligible = Self::preferred((0..eligibilities.len()).collect(), eligibilities);
        let mut shares = vec![0.0; eligibilities.len()];
        let chances = self.chances(&eligible, eligibilities);
        eligible.iter().zip(chances).for_each(|(index, chance)| shares[*index] = chance);
        shares
    }

    /// The probability of each target at `eligible` to be the first of them.
    pub fn chances(&self, eligible: &[usize], eligibilities: &[Eligibility]) -> Vec<f64> {
        let count = eligible.len();
        match self.strategy {
            Strategy::Score => selection::shares(keys(eligible, eligibilities), self.temperature),
            Strategy::Priority => (0..count).map(|place| if place == 0 { 1.0 } else { 0.0 }).collect(),
            Strategy::Weighted => selection::weight_shares(self.weights(eligible)),
            Strategy::RoundRobin => vec![1.0 / count.max(1) as f64; count],
        }
    }

    fn weights(&self, eligible: &[usize]) -> impl Iterator<Item = f64> {
        eligible.iter().map(|index| self.config.weights.get(*index).copied().unwrap_or(1.0))
    }
}

/// Score and ramp of each of the targets at `eligible`.
fn keys(eligible: &[usize], eligibilities: &[Eligibility]) -> impl Iterator<Item = (f64, f64)> {
    eligible.iter().map(|index| (eligibilities[*index].score.score, eligibilities[*index].ramp))
}
