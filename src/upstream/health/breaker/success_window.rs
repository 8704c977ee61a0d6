//! Exact counts of successes and failures over a sliding window.
//!
//! Ten buckets, as in linkerd2-proxy's `breaker/success_rate.rs`: old results leave a tenth of the window at a
//! time, and an idle window leaves nothing behind.

use std::time::Duration;

use tokio::time::Instant;

const BUCKETS: usize = 10;

#[derive(Debug, Clone)]
pub(super) struct SuccessWindow {
    buckets: [(u32, u32); BUCKETS],
    width: Duration,
    head: usize,
    /// When the bucket at `head` began; `None` before the first result.
    since: Option<Instant>,
}

impl SuccessWindow {
    pub(super) fn new(window: Duration) -> Self {
        let width = (window / BUCKETS as u32).max(Duration::from_millis(1));
        Self { buckets: [(0, 0); BUCKETS], width, head: 0, since: None }
    }

    pub(super) fn record(&mut self, success: bool, now: Instant) {
        self.advance(now);
        let (good, bad) = &mut self.buckets[self.head];
        let count = if success { good } else { bad };
        *count = count.saturating_add(1);
    }

    /// Successes and all results within the window.
    pub(super) fn count(&mut self, now: Instant) -> (u32, u32) {
        self.advance(now);
        self.buckets.iter().fold((0, 0), |(good, all): (u32, u32), (g, b)| {
            (good.saturating_add(*g), all.saturating_add(*g).saturating_add(*b))
        })
    }

    /// Moves the head to the bucket of `now`, emptying what it passes.
    fn advance(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let steps = now.saturating_duration_since(since).as_nanos() / self.width.as_nanos();
        if steps >= BUCKETS as u128 {
            self.buckets = [(0, 0); BUCKETS];
            self.since = Some(now);
            return;
        }
        for _ in 0..steps {
            self.head = (self.head + 1) % BUCKETS;
            self.buckets[self.head] = (0, 0);
        }
        self.since = Some(since + self.width * steps as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_leave_a_bucket_at_a_time_and_an_idle_window_clears_all() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut window = SuccessWindow::new(Duration::from_secs(30));
        for s in 0..10 {
            window.record(s % 2 == 0, at(3 * s));
        }
        assert_eq!(window.count(at(29)), (5, 10));
        assert_eq!(window.count(at(30)), (4, 9));
        assert_eq!(window.count(at(36)), (3, 7));
        assert_eq!(window.count(at(56)), (0, 1));
        assert_eq!(window.count(at(59)), (0, 0));
        window.record(true, at(1000));
        assert_eq!(window.count(at(1000)), (1, 1));
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_is_harmless() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut window = SuccessWindow::new(Duration::ZERO);
        window.record(true, start);
        window.record(false, start - Duration::from_secs(5));
        assert_eq!(window.count(start), (1, 2));
    }
}
