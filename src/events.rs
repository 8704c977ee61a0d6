//! What operators may watch live: a bounded broadcast that never waits for a slow watcher.

use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::broadcast;

/// Events a slow watcher may lag behind before it loses some.
const CAPACITY: usize = 1024;

/// Something an operator may want to see as it happens.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A target's score moved noticeably.
    Score {
        /// `provider/model`
        target: String,
        /// Points.
        score: f64,
        /// 0..1
        share: f64,
    },
    /// A target changed its state.
    State {
        /// `provider/model`
        target: String,
        /// The new state, as in `/admin/providers`.
        state: &'static str,
        /// One sentence.
        reason: String,
    },
    /// A request moved on after a failure.
    Failover {
        /// The request.
        request: String,
        /// Who failed it.
        from: String,
        /// Who is asked next; `None` if there is nobody.
        to: Option<String>,
        /// What happened, in one sentence.
        reason: String,
        /// How long the failed attempt took, in milliseconds.
        elapsed_ms: u64,
    },
    /// The configuration was replaced, or was not.
    Reload {
        /// Whether the new one is in force.
        ok: bool,
        /// One sentence.
        message: String,
    },
}

impl Event {
    /// Its name in the stream, the same as its `event` field.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Score { .. } => "score",
            Self::State { .. } => "state",
            Self::Failover { .. } => "failover",
            Self::Reload { .. } => "reload",
        }
    }
}

/// An event and its time.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The broadcast. Clones share it.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Stamped>);

impl Events {
    /// A broadcast nobody watches yet.
    pub fn new() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }

    /// Tells `event` to whoever watches.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_watched() {
            let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            // It fails when the last watcher has just left: then nobody wanted to know.
            drop(self.0.send(Stamped { at, event: event() }));
        }
    }

    /// Whether anybody watches now.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Stamped> {
        self.0.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
