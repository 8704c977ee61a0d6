//! What operators watch as it happens: `/admin/events`, and the task that notices moving scores.
//!
//! A watcher that is slow loses events and is told so; it can never hold up a request.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Moment, view};
use crate::{
    events::{Event, Events, Losses, Stamped},
    upstream::Snapshot,
};

/// How often the scores are looked at while somebody watches.
const LOOK: Duration = Duration::from_millis(500);
/// A score that moved by fewer points is not worth an event.
const SCORE_STEP: f64 = 1.0;
/// A share that moved by less is not worth an event.
const SHARE_STEP: f64 = 0.05;
/// Longest silence of the stream, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells watchers of every target whose score or share has moved since it was last told; for ever. `current` gives
/// the configuration in force. The first watcher is told of every target, as of one that came from nowhere.
pub async fn watch_scores(events: Events, current: impl Fn() -> Arc<Snapshot>) {
    let mut told = HashMap::new();
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if events.is_watched() {
            tell_moves(&events, &current(), &mut told);
        } else {
            told.clear();
        }
    }
}

/// `told`: score and share by target id.
fn tell_moves(events: &Events, snapshot: &Snapshot, told: &mut HashMap<String, (f64, f64)>) {
    let rows = view::rows(snapshot, Moment::current());
    told.retain(|id, _| rows.iter().any(|row| row.id == *id));
    for row in rows {
        let moved = told.get(&row.id).is_none_or(|(score, share)| {
            (row.score - score).abs() >= SCORE_STEP || (row.share - share).abs() >= SHARE_STEP
        });
        if moved {
            told.insert(row.id.clone(), (row.score, row.share));
            events.tell(|| Event::Score { target: row.id, score: row.score, share: row.share });
        }
    }
}

/// Every event from now on as server-sent events, until `shutdown`.
pub fn stream(events: &Events, shutdown: CancellationToken) -> impl Stream<Item = Bytes> + Send + 'static {
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

/// JSON is one line: it writes a line break inside a string as `\n`.
fn frame(name: &str, data: &serde_json::Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
