//! What operators see: read-only views of the gateway, as JSON, as a page, and as it changes.
//!
//! [`view`] is the data of the targets, [`reason`] the sentence in it, [`summary`] the same in fewer words, [`explain`] who
//! would be asked, [`event_stream`] the changes, [`dependencies`] those of memory and Redis, [`history`] the last minutes, [`metrics`] the page for Prometheus, and [`page`] all
//! of it for people. Nothing here changes a target or knows a route: the operator's hand is `server::operator`.

pub mod content_negotiation;
pub mod dependencies;
pub mod event_stream;
pub mod explain;
pub mod history;
pub mod metrics;
pub mod page;
mod reason;
pub mod summary;
#[cfg(test)]
mod test_support;
pub mod view;

use std::time::SystemTime;

use tokio::time::Instant;

/// What `/admin/openapi.json` answers: the admin and memory routes, for programs. `tests/openapi` holds it to the truth.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How a reload of the configuration went.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Reloaded {
    /// RFC 3339.
    pub at: String,
    /// Whether the new configuration is in force.
    pub ok: bool,
    /// What was wrong, or what is now in force.
    pub messages: Vec<String>,
}

/// One moment on both clocks: targets remember the steady one, people read the other.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The steady clock.
    pub now: Instant,
    /// The wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// The present moment on both clocks.
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
