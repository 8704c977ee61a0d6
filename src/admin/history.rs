//! The last five minutes of every target's latency, for the charts of the page.
//!
//! Bounded: a fixed number of samples for each existing target. Routing does not use it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;

use super::view::TargetRow;
use crate::upstream::health::score::LatencyKind;

/// Interval between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// Samples kept per target: five minutes.
pub(crate) const KEPT: usize = 60;

/// The latency of a target at one moment, one per [`LatencyKind`]; `None` where nothing was known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct LatencySample([Option<Percentiles>; 2]);

/// Percentiles of a latency, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percentiles {
    /// Median, in seconds.
    pub p50: f64,
    /// 95th percentile, in seconds.
    pub p95: f64,
}

/// Samples of one target, oldest first.
pub(crate) type LatencyHistory = VecDeque<LatencySample>;

impl LatencySample {
    /// Percentiles by [`LatencyKind`].
    pub(crate) fn new(of_kinds: [Option<Percentiles>; 2]) -> Self {
        Self(of_kinds)
    }

    /// The sample shown by the row of the target.
    pub(crate) fn from_row(row: &TargetRow) -> Self {
        let known = |kind| {
            let of_kind = row.kinds.get(kind);
            of_kind.p50.zip(of_kind.p95).map(|(p50, p95)| Percentiles { p50, p95 })
        };
        Self::new([LatencyKind::Stream, LatencyKind::Whole].map(known))
    }

    /// The percentiles of streams, or of whole answers.
    pub(crate) fn get(&self, kind: LatencyKind) -> Option<Percentiles> {
        self.0[kind as usize]
    }
}

/// The samples of every target, by its id.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<HashMap<String, LatencyHistory>>);

impl History {
    /// Samples every row, and removes targets that are not among them.
    pub(crate) fn sample(&self, rows: &[TargetRow]) {
        let mut all = self.0.lock();
        all.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let samples = all.entry(row.id.clone()).or_default();
            if samples.len() == KEPT {
                samples.pop_front();
            }
            samples.push_back(LatencySample::from_row(row));
        }
    }

    /// The samples of one target.
    pub(crate) fn samples(&self, id: &str) -> LatencyHistory {
        self.0.lock().get(id).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Moment, test_support::snapshot, view::rows};
    use crate::events::Events;

    #[tokio::test(start_paused = true)]
    async fn it_keeps_five_minutes_of_targets_that_exist() {
        let snapshot = snapshot(&Events::new());
        let history = History::default();
        let mut rows = rows(&snapshot, Moment::current());
        history.sample(&rows);
        let id = rows[0].id.clone();
        (rows[0].kinds.stream.p50, rows[0].kinds.stream.p95) = (Some(0.1), Some(0.2));
        (0..KEPT).for_each(|_| history.sample(&rows));
        let samples = history.samples(&id);
        assert_eq!((samples.len(), samples[0]), (KEPT, LatencySample::from_row(&rows[0])));
        assert_eq!(samples[0].get(LatencyKind::Stream), Some(Percentiles { p50: 0.1, p95: 0.2 }));
        assert_eq!(samples[0].get(LatencyKind::Whole), None, "nothing is known of it");
        history.sample(&rows[1..]);
        assert!(history.samples(&id).is_empty());
        assert_eq!(history.samples(&rows[1].id).len(), KEPT);
    }
}
