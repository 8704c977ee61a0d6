//! How recall has gone since the start, for operators. Counts only: no user, no word of a memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::{errors::RecallMiss, types::RecallOutcome};

/// Counts recalls as they end.
#[derive(Debug, Default)]
pub(crate) struct RecallStats {
    found: AtomicU64,
    empty: AtomicU64,
    timeout: AtomicU64,
    store: AtomicU64,
}

/// How recall has gone since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct RecallCounts {
    /// Chats that got a block of notes.
    pub found: u64,
    /// Chats for which nothing fitted.
    pub empty: u64,
    /// Chats that went on without memory because the recall took longer than `recall_budget`.
    pub timeout: u64,
    /// Chats that went on without memory because the store was away.
    pub store: u64,
    /// Rankings that came from the cache.
    pub cache_hits: u64,
    /// Rankings that were made anew.
    pub cache_misses: u64,
    /// Turns that wait to be written.
    pub waiting: usize,
    /// Turns that are not remembered, because too many waited.
    pub dropped: u64,
}

impl RecallStats {
    /// Takes note of how a recall ended.
    pub(crate) fn count(&self, ended: Result<&RecallOutcome, RecallMiss>) {
        let counter = match ended {
            Ok(recalled) if recalled.block.is_some() => &self.found,
            Ok(_) => &self.empty,
            Err(RecallMiss::Timeout) => &self.timeout,
            Err(RecallMiss::Store) => &self.store,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The counts, with those of the cache (hits, misses) and of the queue (waiting, dropped).
    pub(crate) fn with(
        &self,
        (cache_hits, cache_misses): (u64, u64),
        (waiting, dropped): (usize, u64),
    ) -> RecallCounts {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        RecallCounts {
            found: read(&self.found),
            empty: read(&self.empty),
            timeout: read(&self.timeout),
            store: read(&self.store),
            cache_hits,
            cache_misses,
            waiting,
            dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_counted_once() {
        let tally = RecallStats::default();
        let recalled = |block: Option<&str>| {
            Ok(RecallOutcome {
                block: block.map(str::to_owned),
                items: 1,
                tokens: 1,
                cached: false,
                unembedded: None,
            })
        };
        let ends = [recalled(Some("a")), recalled(None), Err(RecallMiss::Timeout), Err(RecallMiss::Store)];
        for (times, end) in ends.iter().enumerate() {
            (0..=times).for_each(|_| tally.count(end.as_ref().map_err(|missed: &RecallMiss| *missed)));
        }
        let stats = tally.with((5, 6), (7, 8));
        assert_eq!((stats.found, stats.empty, stats.timeout, stats.store), (1, 2, 3, 4));
        assert_eq!((stats.cache_hits, stats.cache_misses, stats.waiting, stats.dropped), (5, 6, 7, 8));
    }
}
