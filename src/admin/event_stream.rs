//! The live view for operators: `/admin/events`, and the task that detects changes.
//!
//! A slow watcher loses events and gets the number lost; it can never delay a request.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Moment,
    history::{self, History},
    view::{self, TargetRow},
};
use crate::{
    events::{Event, Events, Losses, Stamped},
    upstream::Snapshot,
};

/// Interval between looks at the scores while there are watchers.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS_PER_SAMPLE: u64 = (history::EVERY.as_millis() / LOOK.as_millis()) as u64;
/// A smaller change of a score, in points, is not worth an event.
const SCORE_STEP: f64 = 1.0;
/// A smaller change of a share is not worth an event.
const SHARE_STEP: f64 = 0.05;
/// Longest silence of the stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the task observes.
pub(crate) struct OperatorSample {
    /// The configuration in force and its targets.
    pub snapshot: Arc<Snapshot>,
    /// Requests of clients in flight.
    pub in_flight: usize,
    /// Of those, the requests that wait for a slot.
    pub waiting: usize,
}

/// Samples every target for `history` and publishes what has changed since the last events, for ever. The first
/// watcher gets everything as a change.
pub(crate) async fn run(events: Events, history: Arc<History>, look: impl Fn() -> OperatorSample) {
    let mut told = LastSent::default();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for looks in 0_u64.. {
        tick.tick().await;
        let sampled = looks.is_multiple_of(LOOKS_PER_SAMPLE);
        if !events.is_watched() {
            told = LastSent::default();
        }
        if !sampled && !events.is_watched() {
            continue;
        }
        let scene = look();
        let rows = view::rows(&scene.snapshot, Moment::current());
        if sampled {
            history.sample(&rows);
        }
        if events.is_watched() {
            told.publish_figures(&events, &scene, &rows, looks);
            told.publish_moves(&events, rows);
        }
    }
}

/// What was last published.
#[derive(Default)]
struct LastSent {
    /// Score and share by target id.
    scores: HashMap<String, (f64, f64)>,
    figures: Option<(usize, usize, u64)>,
}

impl LastSent {
    fn publish_moves(&mut self, events: &Events, rows: Vec<TargetRow>) {
        self.scores.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let moved = self.scores.get(&row.id).is_none_or(|(score, share)| {
                (row.score - score).abs() >= SCORE_STEP || (row.share - share).abs() >= SHARE_STEP
            });
            if moved {
                self.scores.insert(row.id.clone(), (row.score, row.share));
                events.publish(|| Event::Score { target: row.id, score: row.score, share: row.share });
            }
        }
    }

    /// Publishes every second look, if the figures changed or requests are in flight, which progress without changing a
    /// figure. An idle gateway publishes nothing.
    fn publish_figures(&mut self, events: &Events, scene: &OperatorSample, rows: &[TargetRow], looks: u64) {
        let attempts = rows.iter().map(|row| row.total_calls).sum();
        let (in_flight, waiting) = (scene.in_flight, scene.waiting);
        let figures = Some((in_flight, waiting, attempts));
        if looks.is_multiple_of(2) && (in_flight > 0 || figures != self.figures) {
            self.figures = figures;
            events.publish(|| Event::Tick { in_flight, waiting, attempts });
        }
    }
}

/// Every event from now on as server-sent events, until `shutdown`.
pub(crate) fn stream(
    events: &Events,
    shutdown: CancellationToken,
) -> impl Stream<Item = Bytes> + Send + 'static {
    // The comment makes the head go out at once.
    let first = Bytes::from_static(b": watching\n\n");
    let begin = (events.watch(), events.losses().clone(), shutdown, Some(first));
    stream::unfold(begin, |(mut events, losses, shutdown, first)| async move {
        let frame = match first {
            Some(first) => first,
            None => tokio::select! {
                () = shutdown.cancelled() => return None,
                frame = next_frame(&mut events, &losses) => frame?,
            },
        };
        Some((frame, (events, losses, shutdown, None)))
    })
}

async fn next_frame(events: &mut Receiver<Stamped>, losses: &Losses) -> Option<Bytes> {
    let received = tokio::select! {
        received = events.recv() => received,
        () = sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": keep-alive\n\n")),
    };
    match received {
        Ok(stamped) => Some(frame(stamped.event.name(), &json!(stamped))),
        Err(RecvError::Lagged(missed)) => {
            losses.add(missed);
            Some(frame("lagged", &json!({ "event": "lagged", "missed": missed })))
        }
        Err(RecvError::Closed) => None,
    }
}

/// JSON is one line: it escapes a line break inside a string as `\n`.
fn frame(name: &str, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests;
