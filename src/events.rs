//! The live events for operators, and the most recent past ones.
//!
//! A bounded broadcast that never waits for a slow watcher, and a bounded history, so that a new watcher still sees what
//! happened last. Neither may delay a request.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

/// Events a slow watcher may lag behind before it loses some.
const CAPACITY: usize = 1024;
/// Failovers kept, and as many events of other kinds: a burst of one must not push out the other.
const KEPT: usize = 50;

/// Something an operator may want to see as it happens.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A target's score moved noticeably.
    Score {
        /// `provider/model`
        target: String,
        /// Its new score, in points.
        score: f64,
        /// Its new share, 0..1.
        share: f64,
    },
    /// A target changed its state.
    State {
        /// `provider/model`
        target: String,
        /// The new state, as in `/admin/providers`.
        state: &'static str,
        /// Why, in one sentence.
        reason: String,
    },
    /// A request moved on after a failure.
    Failover {
        /// The id of the request.
        request: String,
        /// The target that failed.
        from: String,
        /// The target tried next; `None` if there is none.
        to: Option<String>,
        /// What happened, in one sentence.
        reason: String,
        /// How long the failed attempt took, in milliseconds.
        elapsed_ms: u64,
    },
    /// A dependency of the gateway went down or came back.
    Part {
        /// `memory_store` or `redis`
        part: &'static str,
        /// Whether it is up now.
        up: bool,
    },
    /// The figures have changed, or requests are in flight; once a second at most.
    Tick {
        /// Requests of clients in flight.
        in_flight: usize,
        /// Of those, the requests that wait for a slot.
        waiting: usize,
        /// Attempts at all targets since start.
        attempts: u64,
    },
    /// The configuration was reloaded, or a reload failed.
    Reload {
        /// Whether the new one is in force.
        ok: bool,
        /// The result, in one sentence.
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
            Self::Part { .. } => "part",
            Self::Tick { .. } => "tick",
            Self::Reload { .. } => "reload",
        }
    }
}

/// An event and its time.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// When it happened, as RFC 3339.
    pub at: String,
    /// The event itself.
    #[serde(flatten)]
    pub event: Event,
}

/// The broadcast and the history. Clones share both.
#[derive(Debug, Clone)]
pub struct Events(Arc<EventsInner>);

#[derive(Debug)]
struct EventsInner {
    live: broadcast::Sender<Stamped>,
    past: Mutex<Past>,
    losses: Losses,
}

/// The history, the oldest first.
#[derive(Debug, Default)]
struct Past {
    failovers: VecDeque<Stamped>,
    changes: VecDeque<Stamped>,
}

/// Events that slow watchers have missed. Clones share it; holding one keeps no broadcast open.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<AtomicU64>);

impl Losses {
    /// Adds `events` that a watcher was too slow for.
    pub fn add(&self, events: u64) {
        self.0.fetch_add(events, Relaxed);
    }

    /// The number missed since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Events {
    /// A broadcast without watchers.
    pub fn new() -> Self {
        Self(Arc::new(EventsInner {
            live: broadcast::channel(CAPACITY).0,
            past: Mutex::default(),
            losses: Losses::default(),
        }))
    }

    /// Sends `event` to the watchers and does not keep it.
    pub fn publish(&self, event: impl FnOnce() -> Event) {
        if self.is_watched() {
            self.send(Stamped::now(event()));
        }
    }

    /// Sends `event` to the watchers, and keeps it for later ones.
    pub fn record(&self, event: Event) {
        let stamped = Stamped::now(event);
        self.0.past.lock().keep(stamped.clone());
        self.send(stamped);
    }

    /// What was recorded last, newest first; at most 50 failovers and 50 other events.
    pub fn past(&self) -> Vec<Stamped> {
        let past = self.0.past.lock();
        let mut all: Vec<_> = past.failovers.iter().chain(&past.changes).cloned().collect();
        drop(past);
        // RFC 3339 in UTC sorts as text.
        all.sort_by(|a, b| b.at.cmp(&a.at));
        all
    }

    /// Whether there are watchers now.
    pub fn is_watched(&self) -> bool {
        self.0.live.receiver_count() > 0
    }

    /// The count of events that slow watchers have missed.
    pub fn losses(&self) -> &Losses {
        &self.0.losses
    }

    /// Subscribes to events from now on.
    pub fn watch(&self) -> broadcast::Receiver<Stamped> {
        self.0.live.subscribe()
    }

    /// Sending only fails without watchers, which is no error.
    fn send(&self, stamped: Stamped) {
        drop(self.0.live.send(stamped));
    }
}

impl Stamped {
    fn now(event: Event) -> Self {
        Self { at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(), event }
    }
}

impl Past {
    fn keep(&mut self, stamped: Stamped) {
        let list = match stamped.event {
            Event::Failover { .. } => &mut self.failovers,
            Event::Score { .. }
            | Event::State { .. }
            | Event::Part { .. }
            | Event::Tick { .. }
            | Event::Reload { .. } => &mut self.changes,
        };
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(stamped);
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(number: usize) -> Event {
        Event::Reload { ok: true, message: number.to_string() }
    }

    fn failover() -> Event {
        Event::Failover {
            request: "r".into(),
            from: "a".into(),
            to: None,
            reason: "it failed".into(),
            elapsed_ms: 1,
        }
    }

    #[test]
    fn the_past_is_bounded_and_a_storm_of_failovers_does_not_push_out_the_rest() {
        let events = Events::new();
        events.record(reload(0));
        (0..3 * KEPT).for_each(|_| events.record(failover()));
        let past = events.past();
        assert_eq!(past.len(), KEPT + 1);
        assert!(past.iter().any(|stamped| stamped.event.name() == "reload"));
        (0..3 * KEPT).for_each(|number| events.record(reload(number)));
        assert_eq!(events.past().len(), 2 * KEPT);
    }

    #[tokio::test]
    async fn what_is_only_told_is_not_kept_and_what_is_recorded_is_told_as_well() {
        let events = Events::new();
        let mut watcher = events.watch();
        events.publish(|| reload(1));
        events.record(reload(2));
        for number in ["1", "2"] {
            let Event::Reload { message, .. } = watcher.recv().await.unwrap().event else { panic!() };
            assert_eq!(message, number);
        }
        assert_eq!(events.past().len(), 1);
    }
}
