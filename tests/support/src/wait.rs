//! Waits for a condition instead of sleeping for a fixed time.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// Interval at which [`eventually`] checks.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `look` returns `Some`, or panics after `limit` with `what`.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(STEP).await;
    }
}

/// Awaits `future`, or panics after `limit` with `what`.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}
