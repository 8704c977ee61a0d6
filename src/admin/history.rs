//! The last five minutes of every target's latency, for the charts of the page.
//!
//! Bounded: a fixed number of samples of targets that exist. Nothing routes by it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;

use super::view::TargetRow;
use crate::upstream::health::score::LatencyKind;

/// Between two samples.
pub const EVERY: Duration = Duration::from_secs(5);
/// Samples of one target: five minutes.
pub const KEPT: usize = 60;

/// The latency of a target at one moment, one per [`LatencyKind`]; `None` where nothing was known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LatencySample([Option<Percentiles>; 2]);

/// Percentiles of the latency, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Half of the answers took no longer.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
}

/// The samples of one target, the oldest first.
pub type LatencyHistory = VecDeque<LatencySample>;

impl LatencySample {
    /// One per [`LatencyKind`].
    pub fn new(of_kinds: [Option<Percentiles>; 2]) -> Self {
        Self(of_kinds)
    }

    /// As shown by the row of the target.
    pub fn of(row: &TargetRow) -> Self {
        let known = |kind| {
            let of_kind = row.kinds.of(kind);
            of_kind.p50.zip(of_kind.p95).map(|(p50, p95)| Percentiles { p50, p95 })
        };
        Self::new([LatencyKind::Stream, LatencyKind::Whole].map(known))
    }

    /// Of streams, or of whole answers.
    pub fn get(&self, kind: LatencyKind) -> Option<Percentiles> {
        self.0[kind as usize]
    }
}

/// The samples of every target, by its id.
#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<String, LatencyHistory>>);

impl History {
    /// Takes a sample of every row, and forgets targets that are not among them.
    pub fn sample(&self, rows: &[TargetRow]) {
        let mut all = self.0.lock();
        all.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let samples = all.entry(row.id.clone()).or_default();
            if samples.len() == KEPT {
                samples.pop_front();
            }
            samples.push_back(LatencySample::of(row));
        }
    }

    /// The samples of one target.
    pub fn of(&self, id: &str) -> LatencyHistory {
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
        let samples = history.of(&id);
        assert_eq!((samples.len(), samples[0]), (KEPT, LatencySample::of(&rows[0])));
        assert_eq!(samples[0].get(LatencyKind::Stream), Some(Percentiles { p50: 0.1, p95: 0.2 }));
        assert_eq!(samples[0].get(LatencyKind::Whole), None, "nothing is known of it");
        history.sample(&rows[1..]);
        assert!(history.of(&id).is_empty());
        assert_eq!(history.of(&rows[1].id).len(), KEPT);
    }
}
