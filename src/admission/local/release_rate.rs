//! How fast slots become free, for an honest `Retry-After`.
//!
//! It is measured only while somebody waits: without a queue the time between two releases says how often requests come, not
//! how fast they could go.

use std::time::Duration;

use tokio::time::Instant;

/// Weight of the newest interval; the last ten count for nine tenths.
const WEIGHT: f64 = 0.2;
/// Coming back earlier is a busy loop.
const SHORTEST: Duration = Duration::from_secs(1);
/// Nobody can tell further ahead.
const LONGEST: Duration = Duration::from_secs(60);

/// The decayed mean time between two slots that become free.
#[derive(Debug, Default)]
pub(crate) struct ReleaseRate {
    /// Seconds.
    mean: Option<f64>,
    /// When a slot last became free, or the first began to wait; `None` while nobody waits.
    since: Option<Instant>,
}

impl ReleaseRate {
    /// Somebody waits from now on, if nobody did.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// A slot became free.
    pub(crate) fn record_release(&mut self, now: Instant) {
        let Some(since) = self.since.replace(now) else {
            self.since = None;
            return;
        };
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        self.mean = Some(self.mean.map_or(seconds, |mean| mean + WEIGHT * (seconds - mean)));
    }

    /// Nobody waits any more.
    pub(crate) fn stop(&mut self) {
        self.since = None;
    }

    /// How long until `count` more slots are free, 1–60 s. A silence longer than the mean counts instead of it.
    pub(crate) fn estimated_wait(&self, count: usize, now: Instant) -> Duration {
        let silence = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        let seconds = self.mean.unwrap_or(0.0).max(silence) * count as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_mean_follows_what_is_measured() {
        let start = Instant::now();
        let mut rate = ReleaseRate::default();
        rate.begin(start);
        for second in 1..=50 {
            rate.record_release(start + 2 * second * SECOND);
        }
        assert_eq!(rate.estimated_wait(5, start + 100 * SECOND), 10 * SECOND);
        for second in 1..=50 {
            rate.record_release(start + (100 + second) * SECOND);
        }
        let seconds = rate.estimated_wait(10, start + 150 * SECOND).as_secs_f64();
        assert!((10.0..10.1).contains(&seconds), "{seconds}");
    }

    #[test]
    fn idle_time_is_not_measured() {
        let start = Instant::now();
        let mut rate = ReleaseRate::default();
        rate.begin(start);
        rate.record_release(start + 3 * SECOND);
        rate.stop();
        rate.record_release(start + 1000 * SECOND);
        rate.begin(start + 2000 * SECOND);
        assert_eq!(rate.estimated_wait(1, start + 2000 * SECOND), 3 * SECOND);
    }

    #[test]
    fn silence_counts_before_anything_was_measured() {
        let start = Instant::now();
        let mut rate = ReleaseRate::default();
        assert_eq!(rate.estimated_wait(9, start), SHORTEST);
        rate.begin(start);
        assert_eq!(rate.estimated_wait(2, start + 4 * SECOND), 8 * SECOND);
        assert_eq!(rate.estimated_wait(2, start + 400 * SECOND), LONGEST);
        assert_eq!(rate.estimated_wait(usize::MAX, start + 400 * SECOND), LONGEST);
    }
}
