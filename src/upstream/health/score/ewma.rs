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
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn seconds(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    fn sample(mean: f64, count: f64, last: Instant) -> PeerSample {
        PeerSample { mean, count, last }
    }

    #[test]
    fn peers_say_much_to_who_knows_nothing_and_little_to_who_knows_much() {
        let now = Instant::now();
        let mut fresh = Ewma::new(MINUTE, 4.0);
        fresh.merge(&[sample(0.0, 1000.0, now)]);
        assert!(fresh.value(Some(1.0), now).unwrap() < 0.2, "twenty samples against a prior of four");
        let mut busy = Ewma::new(MINUTE, 4.0);
        (0..1000).for_each(|_| busy.record(1.0, Some(1.0), now));
        busy.merge(&[sample(0.0, 1000.0, now)]);
        assert!(busy.value(Some(1.0), now).unwrap() > 0.95);
        assert_eq!(busy.own().unwrap().mean, 1.0, "what peers measured is not passed on");
        let mut unknown = Ewma::new(MINUTE, 1.0);
        unknown.merge(&[sample(0.3, 5.0, now)]);
        assert_eq!((unknown.value(None, now), unknown.measured()), (Some(0.3), None));
    }

    #[test]
    fn what_peers_measured_is_forgotten_and_heals_like_our_own() {
        let now = Instant::now();
        let mut mean = Ewma::new(seconds(10.0), 1.0);
        mean.merge(&[sample(1.0, 4.0, now), sample(0.0, 4.0, now - seconds(10.0))]);
        assert!((mean.value(None, now).unwrap() - 2.0 / 3.0).abs() < 1e-9, "the older counts half");
        let later = mean.value(Some(0.0), now + MINUTE).unwrap();
        assert!(later < 0.02, "{later}");
        mean.merge(&[]);
        assert_eq!(mean.value(None, now), None);
    }

    #[test]
    fn a_thousand_samples_at_once_are_their_mean() {
        let now = Instant::now();
        let mut mean = Ewma::new(MINUTE, 4.0);
        for i in 0..1000 {
            mean.record(f64::from(u8::from(i % 4 != 0)), Some(1.0), now);
        }
        assert!((mean.value(Some(1.0), now).unwrap() - 0.751).abs() < 1e-3);
    }

    #[test]
    fn one_sample_never_decides() {
        let now = Instant::now();
        let mut rate = Ewma::new(MINUTE, 4.0);
        rate.record(0.0, Some(1.0), now);
        assert!((rate.value(Some(1.0), now).unwrap() - 0.8).abs() < 1e-9);
        let much_later = now + MINUTE * 1000;
        rate.record(0.0, Some(1.0), much_later);
        assert!((rate.value(Some(1.0), much_later).unwrap() - 0.8).abs() < 1e-9);
    }

    #[test]
    fn under_load_it_has_no_bias_at_any_rate() {
        for per_second in [0.25, 1.0, 10.0, 1000.0] {
            let mut now = Instant::now();
            let mut rate = Ewma::new(MINUTE, 4.0);
            let mut sum = (0.0, 0.0);
            let samples = (1800.0 * per_second) as u32;
            for i in 0..samples {
                rate.record(f64::from(u8::from(i % 4 != 0)), Some(1.0), now);
                now += seconds(1.0 / per_second);
                if i > samples / 2 {
                    sum = (sum.0 + rate.value(Some(1.0), now).unwrap(), sum.1 + 1.0);
                }
            }
            assert!((sum.0 / sum.1 - 0.75_f64).abs() < 0.01, "{per_second}/s: {}", sum.0 / sum.1);
        }
    }

    #[test]
    fn it_follows_a_change_with_its_half_life() {
        let mut now = Instant::now();
        let mut mean = Ewma::new(seconds(10.0), 1.0);
        for i in 0..20_000 {
            mean.record(if i < 18_000 { 0.1 } else { 1.0 }, None, now);
            now += seconds(0.005);
        }
        assert!((mean.value(None, now).unwrap() - 0.55).abs() < 0.01, "half way after 10 s");
    }

    #[test]
    fn idleness_heals_towards_the_prior_of_today() {
        let now = Instant::now();
        let mut mean = Ewma::new(seconds(10.0), 1.0);
        assert_eq!(mean.value(None, now), None);
        assert_eq!(mean.value(Some(0.3), now), Some(0.3));
        mean.record(1.0, None, now);
        assert_eq!(mean.value(None, now + MINUTE), Some(1.0));
        assert_eq!(mean.value(Some(0.2), now + IDLE), Some(1.0));
        let healed = mean.value(Some(0.2), now + IDLE + seconds(10.0)).unwrap();
        assert!((healed - 0.6).abs() < 1e-9);
        assert_eq!(mean.measured(), Some(1.0));
    }

    #[test]
    fn time_that_runs_backwards_is_no_time() {
        let now = Instant::now() + MINUTE;
        let mut mean = Ewma::new(Duration::ZERO, 1.0);
        mean.record(1.0, Some(0.0), now);
        mean.record(1.0, Some(0.0), now - MINUTE);
        assert!(mean.value(Some(0.0), now).unwrap().is_finite());
    }
}
