//! A small histogram of durations, and the deadlines learned from it.
//!
//! Buckets grow by 10 % from 1 ms to 10 min, so a quantile is wrong by 5 % at most. Old samples expire by two
//! rotating windows, as in tower's hedge. A window is closed by age *and* number of samples, so that a busy
//! target forgets within two minutes and a quiet one still has enough samples for a percentile.
//! It must never make a deadline from a handful of samples.

use std::time::Duration;

use tokio::time::Instant;

/// With fewer samples nothing is learned.
const MIN_SAMPLES: u64 = 20;
/// A window is open at least this long and for at least this many samples.
const WINDOW: Duration = Duration::from_secs(60);
const WINDOW_SAMPLES: u64 = 100;

const SMALLEST: f64 = 1e-3;
const GROWTH: f64 = 1.1;
/// 1 ms × 1.1¹⁴⁰ = 622 s.
const BUCKETS: usize = 141;

/// Durations of the recent past.
#[derive(Debug, Clone)]
pub(crate) struct LatencyHistogram {
    current: BucketCounts,
    previous: BucketCounts,
    since: Option<Instant>,
}

#[derive(Debug, Clone)]
struct BucketCounts {
    buckets: Box<[u32; BUCKETS]>,
    total: u64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self { current: BucketCounts::new(), previous: BucketCounts::new(), since: None }
    }
}

impl LatencyHistogram {
    /// Adds a sample; below 1 ms counts as 1 ms, above 10 min as 10 min.
    pub(crate) fn record(&mut self, sample: Duration, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let old = now.saturating_duration_since(since) >= WINDOW;
        if old && self.current.total >= WINDOW_SAMPLES {
            self.previous = std::mem::replace(&mut self.current, BucketCounts::new());
            self.since = Some(now);
        }
        self.current.add(bucket_of(sample));
    }

    /// The quantile `q` (0..1) of the samples, within 5 %; `None` without samples.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        let both = self.current.buckets.iter().zip(self.previous.buckets.iter());
        let index = both.enumerate().find_map(|(i, (a, b))| {
            seen += u64::from(*a) + u64::from(*b);
            (seen >= rank).then_some(i)
        })?;
        Some(Duration::from_secs_f64(SMALLEST * GROWTH.powf(index as f64 - 0.5).max(1.0)))
    }

    /// The number of samples.
    pub(crate) fn count(&self) -> u64 {
        self.current.total + self.previous.total
    }

    /// The 99th percentile, once there are enough samples.
    fn learned_p99(&self) -> Option<Duration> {
        if self.count() < MIN_SAMPLES { None } else { self.quantile(0.99) }
    }
}

impl BucketCounts {
    fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), total: 0 }
    }

    fn add(&mut self, bucket: usize) {
        let count = &mut self.buckets[bucket];
        let before = *count;
        *count = count.saturating_add(1);
        self.total += u64::from(*count - before);
    }
}

fn bucket_of(sample: Duration) -> usize {
    let ratio = sample.as_secs_f64() / SMALLEST;
    if ratio <= 1.0 { 0 } else { (ratio.ln() / GROWTH.ln()).ceil().min((BUCKETS - 1) as f64) as usize }
}

/// Prefill takes time per token of the prompt. An estimate on the slow side of what hosted models do (some
/// 10,000 tokens/s); the distribution itself includes the usual prompts of this target.
const PER_PROMPT_TOKEN: Duration = Duration::from_micros(100);

/// Timeout of a stream's first content: 1.5 × p99 of this target's first tokens plus a part per
/// prompt token, within 2 s and 10 s; 10 s until there are 20 samples.
pub(crate) fn first_token_deadline(first_tokens: &LatencyHistogram, prompt_tokens: u64) -> Duration {
    let (least, most) = (Duration::from_secs(2), Duration::from_secs(10));
    let Some(p99) = first_tokens.learned_p99() else { return most };
    let prefill = PER_PROMPT_TOKEN.saturating_mul(u32::try_from(prompt_tokens).unwrap_or(u32::MAX));
    p99.mul_f64(1.5).saturating_add(prefill).clamp(least, most)
}

/// Longest silence of a stream between contents: 10 × p99 of its gaps, within 3 s and 10 s; 10 s until
/// there are 20 samples.
pub(crate) fn stall_deadline(gaps: &LatencyHistogram) -> Duration {
    let (least, most) = (Duration::from_secs(3), Duration::from_secs(10));
    gaps.learned_p99().map_or(most, |p99| p99.mul_f64(10.0).clamp(least, most))
}

/// Timeout of an answer in one piece: 3 × p99 of this target's whole answers, within 10 s and `total`.
///
/// Until there are 20 samples 60 s: longer than nearly every answer, yet a target that hangs does not hold
/// a caller for the whole ten minutes while another could answer.
pub(crate) fn answer_deadline(answers: &LatencyHistogram, total: Duration) -> Duration {
    let (least, untaught) = (Duration::from_secs(10), Duration::from_secs(60));
    answers.learned_p99().map_or(untaught, |p99| p99.mul_f64(3.0).max(least)).min(total)
}

#[cfg(test)]
mod tests;
