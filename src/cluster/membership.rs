//! How many gateways there are.
//!
//! It is what limits are divided by while Redis is away, so it must not be too small: a count that falls is believed only
//! when it has stayed low for as long as a gateway may be silent. A Redis that was flushed or restarted knows nobody at
//! first.

use std::time::Duration;

use tokio::time::Instant;

/// A gateway that has been silent for so long is gone.
pub const MEMBER_TTL: Duration = Duration::from_secs(10);

/// The highest count of the last moments.
#[derive(Debug)]
pub struct Membership {
    count: usize,
    /// When it was last seen to be so many.
    at: Instant,
}

impl Membership {
    /// Before the first count: this gateway alone.
    pub fn new(now: Instant) -> Self {
        Self { count: 1, at: now }
    }

    /// Redis knows of `count` gateways.
    pub fn counted(&mut self, count: usize, now: Instant) {
        let count = count.max(1);
        if count >= self.count || now.saturating_duration_since(self.at) > MEMBER_TTL {
            *self = Self { count, at: now };
        }
    }

    /// How many are believed to live, with this one.
    pub fn gateways(&self) -> usize {
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
