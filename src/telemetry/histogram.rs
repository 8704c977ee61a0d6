//! A histogram that is cheap to write: one array of atomic counts, no lock, no allocation.
//!
//! It must never be read on the hot path: a snapshot copies every bucket. Concurrent snapshots of one histogram may differ
//! by the observations in between; each is a valid histogram in itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds of a whole operation: the buckets of OpenTelemetry's `gen_ai.server.request.duration` and
/// `gen_ai.client.operation.duration`.
pub(crate) const DURATION: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Seconds to the first token: those of `gen_ai.server.time_to_first_token` and, for chunks, of the client's side.
pub(crate) const FIRST_TOKEN: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Tokens: those of `gen_ai.client.token.usage`.
pub(crate) const TOKENS: &[f64] = &[
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];
/// Seconds of short phases: the gateway's own overhead, the queue, a recall.
pub(crate) const SHORT: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counts of values by upper bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is for values above all of them.
    counts: Box<[AtomicU64]>,
    /// The sum of all values, as the bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound and count of each bucket, not cumulative; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// An empty histogram over `bounds`, which must rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0f64.to_bits()) }
    }

    /// Counts `value`; a bound includes values equal to it.
    pub fn observe(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // It fails only if `add` returns `None`, which it does not.
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Copies every bucket into a snapshot.
    pub fn read(&self) -> HistogramSnapshot {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        HistogramSnapshot {
            buckets: bounds.zip(self.counts.iter().map(|count| count.load(Relaxed))).collect(),
            sum: f64::from_bits(self.sum.load(Relaxed)),
        }
    }
}

impl HistogramSnapshot {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.0, 1.0, 1.5, 2.0, 2.1, 1e9] {
            histogram.observe(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [(1.0, 2), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((reading.count(), histogram.count()), (6, 6));
        assert!((reading.sum - (6.6 + 1e9)).abs() < 1e-3);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let histogram = Histogram::new(SHORT);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| histogram.observe(0.5)));
            }
        });
        assert_eq!(histogram.read().count(), 40_000);
        assert!((histogram.read().sum - 20_000.0).abs() < 1e-6);
    }

    #[test]
    fn every_bound_is_above_the_one_before() {
        for bounds in [DURATION, FIRST_TOKEN, TOKENS, SHORT] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
