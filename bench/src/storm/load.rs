//! The load: an open loop, as users are. A request goes out when it is due, however the earlier ones fare.
//!
//! Lateness of this program counts into the latency, so that it cannot flatter. It must never retry.

use std::{sync::Arc, time::Duration};

use concierge_testkit::Client;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    figures::{Ended, Sample},
    mock::TEXT,
};
use crate::caller::{Called, call};

/// Requests per second.
pub const RATE: u32 = 200;
/// Callers who take turns; far more than one caller's slots would carry.
const USERS: u32 = 100;
/// After this a call counts as hung. Beyond every default deadline but the total one.
const LIMIT: Duration = Duration::from_secs(45);

/// Sends [`RATE`] requests per second for `length`, every second one streamed, and waits for the last answer.
pub async fn run(url: &str, origin: Instant, length: Duration) -> Vec<Sample> {
    run_at(RATE, url, origin, length).await
}

/// The same with another number of requests per second.
pub async fn run_at(rate: u32, url: &str, origin: Instant, length: Duration) -> Vec<Sample> {
    let clients: Arc<[Client]> =
        (0..USERS).map(|user| Client::new(url).header("x-user-id", &format!("user-{user}"))).collect();
    let mut running = JoinSet::new();
    let mut samples = Vec::new();
    for number in 0..length.as_secs() as u32 * rate {
        let due = Duration::from_secs(1) * number / rate;
        sleep_until(origin + due).await;
        let client = clients[(number % USERS) as usize].clone();
        let stream = (number / USERS + number).is_multiple_of(2);
        running.spawn(async move {
            let late = origin.elapsed().saturating_sub(due);
            sample(due, late, call(client, ask(stream), LIMIT).await)
        });
        while let Some(Ok(done)) = running.try_join_next() {
            samples.push(done);
        }
    }
    samples.extend(running.join_all().await);
    samples.sort_by_key(|sample| sample.due);
    samples
}

/// What every caller asks.
pub fn ask(stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "Name a dozen colours."}]);
    json!({"model": "m", "stream": stream, "messages": messages})
}

fn sample(due: Duration, late: Duration, called: Called) -> Sample {
    let ended = match called.end {
        Ok(()) if called.text == TEXT => Ended::Whole,
        Ok(()) => Ended::CutShownAsWhole,
        Err(kind) => Ended::Error(kind),
    };
    let took = called.first_token.unwrap_or(called.elapsed);
    Sample { due, first_token: late + took, ended, attempts: called.attempts }
}
