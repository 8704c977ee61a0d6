//! A mean that forgets, for samples that come at any rate.
//!
//! While samples come it is a weighted mean of them, in which a sample counts half after one half-life. It starts
//! at a prior that counts as `prior_weight` samples, so the first samples move it, but no single one decides: the
//! posterior mean of a conjugate prior with exponential forgetting. Many samples at one instant are their plain
//! mean; a single one after a long silence weighs at most `1 / (1 + prior_weight)`.
//!
//! While none come it heals towards the prior with the same half-life. A pause of [`IDLE`] costs nothing: healing
//! under load would bias the mean. It also means that a shunned target is tried about once per `IDLE`.

use std::time::Duration;

use tokio::time::Instant;

/// A pause this long is not idleness.
pub(super) const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(super) struct Ewma {
    half_life: Duration,
    prior_weight: f64,
    /// Mean, number of samples in it (decayed), and when the last one came; `None` before the first.
    state: Option<(f64, f64, Instant)>,
}

impl Ewma {
    pub(super) fn new(half_life: Duration, prior_weight: f64) -> Self {
        Self { half_life, prior_weight, state: None }
    }

    /// Adds a sample. Without a `prior` the first sample is the mean.
    pub(super) fn record(&mut self, sample: f64, prior: Option<f64>, now: Instant) {
        let mean = self.value(prior, now).unwrap_or(sample);
        let (count, last) = self.state.map_or((0.0, now), |(_, count, last)| (count, last));
        let count = count * self.left_of(now.saturating_duration_since(last)) + 1.0;
        let mean = mean + (sample - mean) / (count + self.prior_weight);
        self.state = Some((mean, count, last.max(now)));
    }

    /// The mean as of `now`; `None` if there is neither a sample nor a prior.
    pub(super) fn value(&self, prior: Option<f64>, now: Instant) -> Option<f64> {
        let Some((mean, _, last)) = self.state else { return prior };
        let Some(prior) = prior else { return Some(mean) };
        let idle = now.saturating_duration_since(last).saturating_sub(IDLE);
        Some(prior + (mean - prior) * self.left_of(idle))
    }

    /// The mean of the samples alone, as of the last one.
    pub(super) fn measured(&self) -> Option<f64> {
        self.state.map(|(mean, ..)| mean)
    }

    /// The part of an old weight that is left after `time`.
    fn left_of(&self, time: Duration) -> f64 {
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
