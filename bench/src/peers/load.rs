//! The load on one gateway: an open loop of 100 requests per second until it is stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use concierge_testkit::Client;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};

use crate::caller::call;

/// Between two requests.
const EVERY: Duration = Duration::from_millis(10);
/// After this a call counts as hung.
const LIMIT: Duration = Duration::from_secs(30);

/// One request.
pub struct Asked {
    /// When it went out.
    pub sent: Instant,
    /// How many targets the gateway asked.
    pub attempts: usize,
    /// Whether its caller got an answer.
    pub answered: bool,
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    task: JoinSet<Vec<Asked>>,
}

impl Load {
    /// Asks the gateway at `url` from now on.
    pub fn start(url: &str) -> Self {
        let (stop, client) = (Arc::<AtomicBool>::default(), Client::new(url));
        let mut task = JoinSet::new();
        task.spawn(ask(client, stop.clone()));
        Self { stop, task }
    }

    /// Waits for the last answer; all that was asked.
    pub async fn stop(mut self) -> Vec<Asked> {
        self.stop.store(true, Relaxed);
        self.task.join_next().await.and_then(Result::ok).unwrap_or_default()
    }
}

async fn ask(client: Client, stop: Arc<AtomicBool>) -> Vec<Asked> {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Name a dozen colours." }] });
    let (mut due, mut running) = (interval(EVERY), JoinSet::new());
    let mut asked = Vec::new();
    while !stop.load(Relaxed) {
        due.tick().await;
        let (client, body) = (client.clone(), body.clone());
        running.spawn(async move {
            let sent = Instant::now();
            let called = call(client, body, LIMIT).await;
            Asked { sent, attempts: called.attempts, answered: called.end.is_ok() }
        });
        while let Some(Ok(done)) = running.try_join_next() {
            asked.push(done);
        }
    }
    asked.extend(running.join_all().await);
    asked.sort_by_key(|one| one.sent);
    asked
}
