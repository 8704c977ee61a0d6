//! Writers that keep a pace together until the gateway dies, and the repetition of what they could not finish.
//!
//! It must never hold back: a slow gateway gets the same number of writes, only closer together.

use std::{io, time::Duration};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::ledger::{Counter, Write, Written};
use crate::wire::{Line, send};

/// All writers together do 500 writes a second.
const WRITERS: u64 = 20;
const PACE: Duration = Duration::from_millis(40);
const USERS: u64 = 5;
/// Every so many writes one is a change of the context, another a batch.
const CONTEXT: u64 = 5;
const BATCH: u64 = 7;
/// Longest padding of a text, in bytes: some share a page, some need several.
const PADDING: usize = 6000;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mortal {
    /// The gateway: nobody is there to refuse a write.
    Gateway,
    /// The store: its writes are refused with 503, and a writer ends with the first.
    Store,
}

/// Starts all of them; `round` makes their texts different from all others', `generation` their users.
pub fn start(addr: &str, round: u64, generation: u64, mortal: Mortal) -> JoinSet<Written> {
    let writer = |n: u64| {
        let user = format!("user-{}-{generation}", n % USERS);
        let rng = Rng::with_seed(round * WRITERS + n);
        write(addr.to_owned(), Writer { name: format!("{round}-{n}"), user, rng, mortal })
    };
    (0..WRITERS).map(writer).collect()
}

/// Sends again what nobody has acknowledged.
///
/// # Errors
/// If one of them is refused.
pub async fn repeat(addr: &str, writes: Vec<Write>) -> io::Result<()> {
    let mut line = Line::open(addr).await?;
    for write in writes {
        let answer = line.ask(&request(&write)).await?;
        if answer.status != 201 {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(io::Error::other(format!("the repeated write {}: {body}", write.key)));
        }
    }
    Ok(())
}

struct Writer {
    name: String,
    user: String,
    rng: Rng,
    mortal: Mortal,
}

/// Writes until the connection breaks.
async fn write(addr: String, mut writer: Writer) -> Written {
    let counter = format!("counter-{}", writer.name);
    let (user, mut count, mut writes) = (writer.user.clone(), Counter::default(), Vec::new());
    let mut line = Line::open(&addr).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for n in 0u64.. {
        pace.tick().await;
        let Ok(line) = &mut line else { break };
        if n.is_multiple_of(CONTEXT) {
            count.sent += 1;
            let change = json!({ &counter: count.sent }).to_string();
            let headers = [("x-user-id", user.as_str())];
            if !is_done(line, writer.mortal, &send("PATCH", "/v1/context", &headers, change.as_bytes())).await
            {
                break;
            }
            count.acknowledged = count.sent;
        } else {
            let mut write = writer.next(n);
            write.acknowledged = is_done(line, writer.mortal, &request(&write)).await;
            let alive = write.acknowledged;
            writes.push(write);
            if !alive {
                break;
            }
        }
    }
    Written { user, counter, count, writes }
}

/// Whether it was acknowledged. What is refused otherwise is none of a crash.
async fn is_done(line: &mut Line, mortal: Mortal, request: &[u8]) -> bool {
    let Ok(answer) = line.ask(request).await else { return false };
    if mortal == Mortal::Store && answer.status == 503 {
        return false;
    }
    let body = String::from_utf8_lossy(&answer.body);
    assert!(matches!(answer.status, 200 | 201), "a write was refused: {} {body}", answer.status);
    true
}

impl Writer {
    fn next(&mut self, n: u64) -> Write {
        let key = format!("write-{}-{n}", self.name);
        let size = if n.is_multiple_of(BATCH) { 3 } else { 1 };
        let texts = (0..size).map(|place| {
            let padding = self.rng.usize(0..PADDING) >> self.rng.u8(0..8);
            format!("{key}-{place}:{}", "x".repeat(padding))
        });
        Write { user: self.user.clone(), texts: texts.collect(), key, acknowledged: false }
    }
}

fn request(write: &Write) -> Vec<u8> {
    let items: Vec<Value> = write.texts.iter().map(|text| json!({ "text": text })).collect();
    let headers = [("x-user-id", write.user.as_str()), ("idempotency-key", write.key.as_str())];
    send("POST", "/v1/memories", &headers, json!({ "memories": items }).to_string().as_bytes())
}
