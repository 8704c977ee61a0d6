//! What operators may watch live: a bounded broadcast that never waits for a slow watcher.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

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
pub struct Events {
    sender: broadcast::Sender<Stamped>,
    losses: Losses,
}

/// Events that slow watchers have missed. Clones share it; holding one keeps no broadcast open.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<AtomicU64>);

impl Losses {
    /// A watcher was too slow for so many.
    pub fn add(&self, events: u64) {
        self.0.fetch_add(events, Relaxed);
    }

    /// All of them since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Events {
    /// A broadcast nobody watches yet.
    pub fn new() -> Self {
        Self { sender: broadcast::channel(CAPACITY).0, losses: Losses::default() }
    }

    /// Tells `event` to whoever watches.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_watched() {
            let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            // It fails when the last watcher has just left: then nobody wanted to know.
            drop(self.sender.send(Stamped { at, event: event() }));
        }
    }

    /// Whether anybody watches now.
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// What slow watchers have missed.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Stamped> {
        self.sender.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
