//! An exponentially decaying mean, for samples at any rate.
//!
//! While samples arrive it is their weighted mean, in which the weight of a sample halves in one half-life. It starts
//! at a prior that counts as `prior_weight` samples, so the first samples move it, but no single one decides: the
//! posterior mean of a conjugate prior with exponential forgetting. Many samples at one instant are their plain
//! mean; a single one after a long silence weighs at most `1 / (1 + prior_weight)`.
//!
//! While none arrive it decays towards the prior with the same half-life. A pause of [`IDLE`] has no effect: decay
//! under load would bias the mean. It also means that a target with a bad score is tried about once per `IDLE`.
//!
//! Peers' samples count beside it, with the same decay, as the group's mean does in a hierarchical model (Gelman and Hill
//! 2007, "partial pooling"): much for a gateway without samples and little for one with many, because another gateway's
//! path to the provider differs. So they weigh half, and at most [`MAX_PEER_WEIGHT`] samples. They are never passed on.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::health::peer_evidence::PeerSample;

/// A pause this short is not idleness.
pub(super) const IDLE: Duration = Duration::from_secs(5);

/// A peer's sample weighs this much of one of our own.
const PEER_WEIGHT: f64 = 0.5;
/// All samples of all peers weigh at most as much as this many of our own.
const MAX_PEER_WEIGHT: f64 = 20.0;

#[derive(Debug, Clone)]
pub(super) struct Ewma {
    half_life: Duration,
    prior_weight: f64,
    /// The mean measured here; `None` before the first sample.
    own: Option<Mean>,
    /// What peers measured.
    peers: Option<Mean>,
}

/// A mean, the number of samples in it (decayed), and when the last one came.
type Mean = (f64, f64, Instant);

impl Ewma {
    pub(super) fn new(half_life: Duration, prior_weight: f64) -> Self {
        Self { half_life, prior_weight, own: None, peers: None }
    }

    /// Adds a sample. Without a `prior` the first sample is the mean.
    pub(super) fn record(&mut self, sample: f64, prior: Option<f64>, now: Instant) {
        let mean = self.healed(self.own, prior, now).or(prior).unwrap_or(sample);
        let (count, last) = self.own.map_or((0.0, now), |(_, count, last)| (count, last));
        let count = count * self.remaining_weight(now.saturating_duration_since(last)) + 1.0;
        let mean = mean + (sample - mean) / (count + self.prior_weight);
        self.own = Some((mean, count, last.max(now)));
    }

    /// Takes what peers measured, in place of what they measured before.
    pub(super) fn merge(&mut self, samples: &[PeerSample]) {
        self.peers = samples.iter().map(|sample| sample.last).max().map(|newest| {
            let weights = samples.iter().map(|sample| {
                let left = self.remaining_weight(newest.saturating_duration_since(sample.last));
                (sample.mean, sample.count * left)
            });
            let (sum, count) = weights.fold((0.0, 0.0), |(sum, all), (mean, n)| (sum + mean * n, all + n));
            (sum / f64::max(count, f64::MIN_POSITIVE), count, newest)
        });
    }

    /// The mean as of `now`; `None` if there is neither a sample nor a prior.
    pub(super) fn value(&self, prior: Option<f64>, now: Instant) -> Option<f64> {
        let own = self.healed(self.own, prior, now).or(prior);
        let Some((_, count, last)) = self.peers else { return own };
        let theirs = self.healed(self.peers, prior, now)?;
        let Some(own) = own else { return Some(theirs) };
        let peer_weight = (PEER_WEIGHT * count * self.remaining_weight(now.saturating_duration_since(last)))
            .min(MAX_PEER_WEIGHT);
        let known =
            self.own.map_or(0.0, |(_, n, at)| n * self.remaining_weight(now.saturating_duration_since(at)));
        Some(own + (theirs - own) * peer_weight / (peer_weight + known + self.prior_weight))
    }

    /// The mean of the samples alone, as of the last one: our own, or else those of peers.
    pub(super) fn measured(&self) -> Option<f64> {
        self.own.map(|(mean, ..)| mean)
    }

    /// What was measured here, for the peers.
    pub(super) fn own(&self) -> Option<PeerSample> {
        self.own.map(|(mean, count, last)| PeerSample { mean, count, last })
    }

    /// `mean`, moved towards the prior if it has been idle.
    fn healed(&self, mean: Option<Mean>, prior: Option<f64>, now: Instant) -> Option<f64> {
        let (mean, _, last) = mean?;
        let Some(prior) = prior else { return Some(mean) };
        let idle = now.saturating_duration_since(last).saturating_sub(IDLE);
        Some(prior + (mean - prior) * self.remaining_weight(idle))
    }

    /// The part of a weight that remains after `time`.
    fn remaining_weight(&self, time: Duration) -> f64 {
        let half_life = self.half_life.as_secs_f64().max(1e-3);
        (-time.as_secs_f64() / half_life).exp2()
    }
}

#[cfg(test)]
mod tests;
