//! Read-only views of the gateway for operators, as JSON, as a page, and as a stream of changes.
//!
//! [`view`] has the data of the targets, `reason` the sentence in it, [`summary`] a short form, [`explain`] the
//! order of attempts, [`event_stream`] the changes, [`dependencies`] those of memory and Redis, [`history`] the last
//! minutes, [`metrics`] the page for Prometheus, and [`page`] all of it as HTML. Nothing here changes a target or knows a
//! route: see `server::handlers::admin`.

pub(crate) mod content_negotiation;
pub(crate) mod dependencies;
pub(crate) mod event_stream;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod page;
mod reason;
pub(crate) mod summary;
#[cfg(test)]
mod test_support;
pub(crate) mod view;

use std::time::SystemTime;

use tokio::time::Instant;

/// The body of `/admin/openapi.json`: the admin and memory routes, for programs. `tests/openapi` checks it against them.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// The result of a reload of the configuration.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Reloaded {
    /// When it was done, as RFC 3339.
    pub at: String,
    /// Whether the new configuration is in force.
    pub ok: bool,
    /// The problems found, or the changes now in force.
    pub messages: Vec<String>,
}

/// One moment on both clocks: targets store the monotonic one, people read the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, for dates.
    pub wall: SystemTime,
}

impl Moment {
    /// The present moment.
    pub(crate) fn current() -> Self {
        Self { now: Instant::now(), wall: SystemTime::now() }
    }

    /// `at` on the wall clock, as RFC 3339.
    pub(crate) fn date(&self, at: Instant) -> String {
        let ahead = at.saturating_duration_since(self.now);
        let behind = self.now.saturating_duration_since(at);
        rfc3339(self.wall + ahead - behind)
    }
}

fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
