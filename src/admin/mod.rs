//! What operators see: read-only views of the targets, as JSON, as a page, and as they change.
//!
//! [`view`] is the data, [`reason`] the sentence in it, [`summary`] and [`page`] the same in fewer words and as HTML, [`watch`] the changes, [`metrics`] the page for Prometheus. Nothing
//! here changes a target or knows a route: the operator's hand is `server::operator`.

pub mod accept;
pub mod metrics;
pub mod page;
mod reason;
pub mod summary;
#[cfg(test)]
mod support;
pub mod view;
pub mod watch;

use std::time::SystemTime;

use tokio::time::Instant;

/// One moment on both clocks: targets remember the steady one, people read the other.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The steady clock.
    pub now: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn current() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    /// When `at` is, or was, on the wall clock, as RFC 3339.
    pub fn date(&self, at: Instant) -> String {
        let ahead = at.saturating_duration_since(self.now);
        let behind = self.now.saturating_duration_since(at);
        rfc3339(self.wall + ahead - behind)
    }
}

fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
