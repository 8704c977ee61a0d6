//! How many attempts may be repeats: two gates that keep an outage from becoming a retry storm.
//!
//! The token bucket bounds the rate of repeats, also of fast failures. The gate of unproven attempts bounds how many
//! repeats may wait for their first token at once. A repeat counts there only until that token: LLM answers are
//! long, and a budget that counts a repeat until its end turns a survivable outage into errors.
//!
//! Sources: the bucket is that of the AWS SDKs (standard retry mode) and gRPC A6, with costs of our own; the gate is
//! Envoy's retry budget, counted to the first token.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Capacity of the bucket, in tokens: a repeat costs one or five.
const CAPACITY: f64 = 500.0;
/// Refill of the bucket, in tokens per second.
const PER_SECOND: f64 = 3.0;
/// Repeats that may wait for their first token, however little other traffic there is.
const FLOOR: usize = 10;

/// The kind of a repeat, which decides its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first failover of a call, to a target that is healthy: what failover is for.
    First,
    /// Any further repeat, or the same target again.
    Further,
}

impl Repeat {
    /// The kind of a call's `attempts`-th attempt; `same`: it goes to the target that failed last.
    pub fn new(attempts: u32, same: bool) -> Self {
        if attempts == 2 && !same { Self::First } else { Self::Further }
    }

    fn cost(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Further => 5.0,
        }
    }
}

/// The retry budget of the whole gateway.
#[derive(Debug)]
pub struct Budget {
    bucket: Mutex<BudgetBucket>,
    unproven: AtomicUsize,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct BudgetBucket {
    tokens: f64,
    filled: Instant,
}

impl Budget {
    /// A full budget.
    pub fn new(now: Instant) -> Arc<Self> {
        let bucket = Mutex::new(BudgetBucket { tokens: CAPACITY, filled: now });
        Arc::new(Self { bucket, unproven: AtomicUsize::new(0), in_flight: AtomicUsize::new(0) })
    }

    /// Counts a call as in flight until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlightRequest {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightRequest(self.clone())
    }

    /// A first token arrived from the target: refills `share` of a token of the bucket.
    pub fn succeeded(&self, share: f64) {
        let mut bucket = self.bucket.lock();
        bucket.tokens = (bucket.tokens + share).min(CAPACITY);
    }

    /// Takes the cost of a repeat; `None` if it may not be made. Drop the guard at the first token.
    pub fn repeat(self: &Arc<Self>, repeat: Repeat, share: f64, now: Instant) -> Option<UnprovenAttempt> {
        let waiting = self.unproven.fetch_add(1, Ordering::Relaxed);
        let guard = UnprovenAttempt(self.clone());
        let allowed = FLOOR.max((share * self.in_flight.load(Ordering::Relaxed) as f64) as usize);
        // The first failover of a call at most doubles the traffic, so the bucket alone bounds it.
        let passes = repeat == Repeat::First || waiting < allowed;
        (passes && self.bucket.lock().take(repeat.cost(), now)).then_some(guard)
    }

    /// The tokens left in the bucket.
    pub fn left(&self, now: Instant) -> f64 {
        let mut bucket = self.bucket.lock();
        bucket.refill(now);
        bucket.tokens
    }
}

impl BudgetBucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * PER_SECOND).min(CAPACITY);
        self.filled = self.filled.max(now);
    }

    fn take(&mut self, cost: f64, now: Instant) -> bool {
        self.refill(now);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}

/// Counts a call as in flight until dropped.
#[derive(Debug)]
pub struct InFlightRequest(Arc<Budget>);

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A repeat whose first token has not arrived yet.
#[derive(Debug)]
pub struct UnprovenAttempt(Arc<Budget>);

impl Drop for UnprovenAttempt {
    fn drop(&mut self) {
        self.0.unproven.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_bucket_bounds_the_rate_of_repeats() {
        let now = Instant::now();
        let budget = Budget::new(now);
        let granted = (0..10_000).filter(|_| budget.repeat(Repeat::First, 0.2, now).is_some()).count();
        assert_eq!(granted, 500);
        let later = now + Duration::from_secs(10);
        let granted = (0..10_000).filter(|_| budget.repeat(Repeat::First, 0.2, later).is_some()).count();
        assert_eq!(granted, 30);
        budget.succeeded(0.2);
        assert!(budget.left(later) < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn further_repeats_wait_for_nothing_but_are_few_at_once() {
        let now = Instant::now();
        let budget = Budget::new(now);
        let held: Vec<_> = (0..20).filter_map(|_| budget.repeat(Repeat::Further, 0.2, now)).collect();
        assert_eq!(held.len(), FLOOR);
        drop(held);
        let calls: Vec<_> = (0..100).map(|_| budget.enter()).collect();
        let held: Vec<_> = (0..50).filter_map(|_| budget.repeat(Repeat::Further, 0.2, now)).collect();
        assert_eq!(held.len(), 20);
        assert_eq!(calls.len(), 100);
    }
}
