//! How many gateways there are.
//!
//! Limits are divided by this number while Redis is down, so it must not be too small: a lower count is accepted only
//! after it has stayed low for as long as a gateway may be silent. A Redis that was flushed or restarted knows no
//! gateways at first.

use std::time::Duration;

use tokio::time::Instant;

/// A gateway that has been silent for this long is gone.
pub(crate) const MEMBER_TTL: Duration = Duration::from_secs(10);

/// The highest recent count.
#[derive(Debug)]
pub(crate) struct Membership {
    count: usize,
    /// When the count was last this high.
    at: Instant,
}

impl Membership {
    /// One gateway: this one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { count: 1, at: now }
    }

    /// Records that Redis counts `count` gateways.
    pub(crate) fn counted(&mut self, count: usize, now: Instant) {
        let count = count.max(1);
        if count >= self.count || now.saturating_duration_since(self.at) > MEMBER_TTL {
            *self = Self { count, at: now };
        }
    }

    /// The number of gateways assumed to live, with this one.
    pub(crate) fn gateways(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_falls_is_believed_later() {
        let start = Instant::now();
        let mut census = Membership::new(start);
        census.counted(3, start);
        census.counted(1, start + MEMBER_TTL);
        assert_eq!(census.gateways(), 3, "Redis may have been restarted a moment ago");
        census.counted(2, start + MEMBER_TTL + Duration::from_secs(1));
        assert_eq!(census.gateways(), 2);
        census.counted(4, start + MEMBER_TTL + Duration::from_secs(2));
        assert_eq!(census.gateways(), 4);
        census.counted(0, start + 9 * MEMBER_TTL);
        assert_eq!(census.gateways(), 1, "we are there ourselves");
    }
}
