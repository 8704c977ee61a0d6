//! Waiting for something to become true, instead of sleeping and hoping.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep, timeout};

/// How often [`eventually`] looks.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `look` answers `Some`, or panics after `limit` with `what`.
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
