//! What operators may watch live, and the news they have missed.
//!
//! A bounded broadcast that never waits for a slow watcher, and a bounded past: whoever looks only now still sees what
//! happened last. Neither may hold up a request.

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
/// Failovers that are kept, and as many changes of another kind: a storm of the one must not push out the other.
const KEPT: usize = 50;

/// Something an operator may want to see as it happens.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A target's score moved noticeably.
    Score {
        /// `provider/model`
        target: String,
        /// Points: 100 is perfect.
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
        /// Why, in one sentence.
        reason: String,
    },
    /// A request moved on after a failure.
    Failover {
        /// The id of the request.
        request: String,
        /// The target that failed.
        from: String,
        /// Who is asked next; `None` if there is nobody.
        to: Option<String>,
        /// What happened, in one sentence.
        reason: String,
        /// How long the failed attempt took, in milliseconds.
        elapsed_ms: u64,
    },
    /// Something that the gateway leans on went away or came back.
    Part {
        /// `memory_store` or `redis`
        part: &'static str,
        /// Whether it is there now.
        up: bool,
    },
    /// The small numbers have changed, or requests are in flight; once a second at most.
    Tick {
        /// Requests of clients in flight.
        in_flight: usize,
        /// Of them, those that wait for a slot.
        waiting: usize,
        /// Attempts at all targets since start.
        attempts: u64,
    },
    /// The configuration was replaced, or was not.
    Reload {
        /// Whether the new one is in force.
        ok: bool,
        /// What changed, or why it was refused.
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
    /// RFC 3339.
    pub at: String,
    /// The event itself.
    #[serde(flatten)]
    pub event: Event,
}

/// The broadcast and the past. Clones share both.
#[derive(Debug, Clone)]
pub struct Events(Arc<EventsInner>);

#[derive(Debug)]
struct EventsInner {
    live: broadcast::Sender<Stamped>,
    past: Mutex<Past>,
    losses: Losses,
}

/// The oldest first.
#[derive(Debug, Default)]
struct Past {
    failovers: VecDeque<Stamped>,
    changes: VecDeque<Stamped>,
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
        Self(Arc::new(EventsInner {
            live: broadcast::channel(CAPACITY).0,
            past: Mutex::default(),
            losses: Losses::default(),
        }))
    }

    /// Tells `event` to whoever watches; it is forgotten at once.
    pub fn publish(&self, event: impl FnOnce() -> Event) {
        if self.is_watched() {
            self.send(Stamped::now(event()));
        }
    }

    /// Tells `event` to whoever watches, and keeps it for those who look later.
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

    /// Whether anybody watches now.
    pub fn is_watched(&self) -> bool {
        self.0.live.receiver_count() > 0
    }

    /// What slow watchers have missed.
    pub fn losses(&self) -> &Losses {
        &self.0.losses
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<Stamped> {
        self.0.live.subscribe()
    }

    /// It fails when nobody watches: then nobody wanted to know.
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
            _ => &mut self.changes,
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
