//! What was said in a chat, on its way to the store.
//!
//! It must never make a chat wait or fail: what cannot be queued, or looks like a secret, or is too long, is not
//! remembered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    engine::Engine,
    store::{Batch, StoreError},
    text::secrets,
    types::NewItem,
};
use crate::{tasks::Tasks, user::UserId};

/// Exchanges that may wait for the store.
const WAITING: usize = 1024;
/// Longer turns are documents, not something that was said. In bytes.
const LONGEST: usize = 32 << 10;
/// Between two tries while the store is away.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The role that said a turn.
pub(crate) const USER: &str = "user";
const ASSISTANT: &str = "assistant";

/// What was said in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The user of the chat.
    pub user: UserId,
    /// The user's words.
    pub said: String,
    /// The model's, if they are kept.
    pub answered: Option<String>,
}

impl Exchange {
    /// What of it may be kept, by role, in the order in which it was said. An answer to what may not be kept would repeat
    /// it.
    fn turns(self) -> impl Iterator<Item = (&'static str, String)> {
        let worth = is_worth_it(&self.said);
        let answered = self.answered.filter(|answered| worth && is_worth_it(answered));
        let said = worth.then_some((USER, self.said));
        said.into_iter().chain(answered.map(|answered| (ASSISTANT, answered)))
    }
}

fn is_worth_it(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LONGEST && !secrets::found(text)
}

/// The same words of the same role are one memory for a day, however often a client sends its history again.
fn batch(role: &str, text: String) -> Batch {
    let hash = Sha256::digest(format!("{role}\0{text}"));
    let idempotency_key = Some(format!("chat {hash:x}"));
    let item = NewItem { text, role: role.to_owned(), ..NewItem::default() };
    Batch { memories: vec![item.into()], idempotency_key }
}

/// What is on its way to the store.
pub(crate) struct CaptureQueue {
    sender: Mutex<Option<mpsc::Sender<Exchange>>>,
    dropped: AtomicU64,
    written: CancellationToken,
}

impl CaptureQueue {
    /// Takes the exchange, or drops it if too many wait.
    pub(crate) fn push(&self, exchange: Exchange) {
        let Some(sender) = self.sender.lock().clone() else { return };
        if sender.try_send(exchange).is_err() {
            let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
            tracing::warn!(dropped, "capture queue is full; an exchange is dropped");
        }
    }

    /// Turns that wait to be written, and those that were dropped since the start.
    pub(crate) fn waiting_and_dropped(&self) -> (usize, u64) {
        let sender = self.sender.lock();
        let waiting = sender.as_ref().map_or(0, |sender| sender.max_capacity() - sender.capacity());
        (waiting, self.dropped.load(Relaxed))
    }

    /// Takes no more, and returns when what waits is written.
    pub(crate) async fn close(&self) {
        drop(self.sender.lock().take());
        self.written.cancelled().await;
    }
}

/// Starts what writes turns.
pub(crate) fn start(engine: Arc<Engine>, tasks: &Tasks) -> CaptureQueue {
    let (sender, exchanges) = mpsc::channel(WAITING);
    let written = CancellationToken::new();
    let done = written.clone().drop_guard();
    let exchanges = Arc::new(AsyncMutex::new(exchanges));
    tasks.spawn_restarting("remember", move || {
        // Dropped with the last of them.
        let _done = &done;
        write(engine.clone(), exchanges.clone())
    });
    CaptureQueue { sender: Mutex::new(Some(sender)), dropped: AtomicU64::new(0), written }
}

async fn write(engine: Arc<Engine>, exchanges: Arc<AsyncMutex<mpsc::Receiver<Exchange>>>) {
    let mut exchanges = exchanges.lock().await;
    while let Some(exchange) = exchanges.recv().await {
        let user = exchange.user.clone();
        for (role, text) in exchange.turns() {
            if !engine.has_recent_turn(&user, role, &text) {
                append(&engine, &user, batch(role, text)).await;
            }
        }
    }
}

/// Tries until the store is back: what waits meanwhile is bounded by the queue, and the turn's own idempotency key
/// keeps it from being remembered twice.
async fn append(engine: &Engine, user: &UserId, turn: Batch) {
    let mut waits = false;
    loop {
        match engine.count_outage(engine.add(user.clone(), turn.clone()).await) {
            Ok(kept) => return kept.iter().for_each(|turn| engine.note_recent_turn(user, turn)),
            // Said before, and forgotten since: it stays forgotten.
            Err(StoreError::Duplicate) => return,
            Err(error) if error.is_passing() => {
                if !waits {
                    tracing::warn!(%error, "memory store unavailable; retrying capture");
                }
                waits = true;
                sleep(RETRY_INTERVAL).await;
            }
            Err(error) => return tracing::warn!(%error, "capture of a turn failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(said: &str, answered: Option<&str>) -> Vec<Batch> {
        let user = UserId::authenticated("ann").unwrap();
        Exchange { user, said: said.to_owned(), answered: answered.map(str::to_owned) }
            .turns()
            .map(|(role, text)| batch(role, text))
            .collect()
    }

    #[test]
    fn secrets_nothing_and_documents_are_not_kept() {
        assert_eq!(kept("I live in Oslo", None).len(), 1);
        assert_eq!(kept(&"x".repeat(LONGEST), Some(&"y".repeat(LONGEST))).len(), 2);
        for text in ["", " \n", "my password is hunter2", &"x".repeat(LONGEST + 1)] {
            assert_eq!(kept(text, Some("I see")).len(), 0, "nor an answer to it: {text:.20}");
            assert_eq!(kept("Hello", Some(text)).len(), 1);
        }
    }

    #[test]
    fn the_same_words_of_the_same_role_are_one_write() {
        assert_eq!(kept("a", None), kept("a", None));
        assert_ne!(kept("a", None)[0].idempotency_key, kept("b", None)[0].idempotency_key);
        let both = kept("a", Some("a"));
        assert_ne!(both[0].idempotency_key, both[1].idempotency_key);
        let roles: Vec<_> = both.iter().map(|batch| batch.memories[0].role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant"]);
    }
}
