//! The current time, cached per poll.
//!
//! A reading of the clock costs as much as a small allocation (25 ns), and a request would take two dozen of them while its
//! connection is polled twice. So the clock is read when a poll begins, and again where it matters ([`refresh`]). In between
//! time stands still, as in the event loops of nginx (`ngx_current_msec`) and libuv (`uv_now`). A poll takes microseconds,
//! and what is measured is reported in milliseconds. Code that computes for long within one poll must not use it.
//! Outside [`cached_per_poll`] every reading is a real one.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The readings of this poll.
#[derive(Clone, Copy)]
struct CachedTime {
    now: Instant,
    /// Read on first use.
    wall: Option<SystemTime>,
}

thread_local! {
    static CACHED: Cell<Option<CachedTime>> = const { Cell::new(None) };
}

/// The time at which this poll began or [`refresh`] was last called.
pub(crate) fn now() -> Instant {
    CACHED.get().map_or_else(Instant::now, |reading| reading.now)
}

/// Reads the clock anew, also for later calls of [`now`] in this poll.
pub(crate) fn refresh() -> Instant {
    let now = Instant::now();
    if let Some(reading) = CACHED.get() {
        CACHED.set(Some(CachedTime { now, ..reading }));
    }
    now
}

/// Time from `earlier` to [`now`]; zero if `earlier` is in the future.
pub(crate) fn since(earlier: Instant) -> Duration {
    now().saturating_duration_since(earlier)
}

/// The time of day when it was first read in this poll.
pub(crate) fn wall() -> SystemTime {
    let Some(reading) = CACHED.get() else { return SystemTime::now() };
    reading.wall.unwrap_or_else(|| {
        let wall = SystemTime::now();
        CACHED.set(Some(CachedTime { wall: Some(wall), ..reading }));
        wall
    })
}

/// Runs `task` with one reading of the clock per poll.
pub(crate) fn cached_per_poll<F: Future>(task: F) -> impl Future<Output = F::Output> {
    let mut task = Box::pin(task);
    poll_fn(move |cx| {
        let _reading = CachedTime::begin();
        task.as_mut().poll(cx)
    })
}

impl CachedTime {
    fn begin() -> impl Drop {
        struct Poll;
        impl Drop for Poll {
            fn drop(&mut self) {
                CACHED.set(None);
            }
        }
        CACHED.set(Some(Self { now: Instant::now(), wall: None }));
        Poll
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;
    use tokio::{
        task::yield_now,
        time::{advance, sleep},
    };

    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_within_a_poll_and_goes_on_with_the_next() {
        let begun = Instant::now();
        cached_per_poll(async {
            advance(STEP).now_or_never();
            assert_eq!((now(), since(begun)), (begun, Duration::ZERO));
            yield_now().await;
            assert_eq!(now(), begun + STEP);
            advance(STEP).now_or_never();
            assert_eq!((refresh(), now()), (begun + 2 * STEP, begun + 2 * STEP));
        })
        .await;
    }

    #[tokio::test]
    async fn the_time_of_day_is_read_once_in_a_poll() {
        cached_per_poll(async {
            let first = wall();
            while SystemTime::now() == first {}
            assert_eq!(wall(), first);
            yield_now().await;
            assert!(wall() > first);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_panics_does_not_stop_the_clock() {
        let died = AssertUnwindSafe(cached_per_poll(async { panic!("a bug") })).catch_unwind().await;
        assert!(died.is_err());
        let before = now();
        sleep(STEP).await;
        assert_eq!(since(before), STEP);
    }

    #[tokio::test(start_paused = true)]
    async fn outside_of_a_poll_it_is_the_clock_itself() {
        cached_per_poll(async {}).await;
        let before = now();
        sleep(STEP).await;
        assert_eq!(since(before), STEP);
        assert_eq!(now(), Instant::now());
    }
}
