//! Governor's clock is tokio's, so that it stands still in tests.

use std::time::Duration;

use governor::clock::Clock;
use tokio::time::Instant;

use crate::clock;

/// Time since a limiter was made.
#[derive(Debug, Clone)]
pub(crate) struct SinceStart(Instant);

impl Default for SinceStart {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        clock::since(self.0)
    }
}

/// Up, so that nobody comes back a moment too early; at least one.
pub(crate) fn in_whole_millis(wait: Duration) -> Duration {
    let millis = wait.as_nanos().div_ceil(1_000_000).max(1);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
