//! What was said in a chat is remembered after its last byte, and forgotten when its time has come.
//!
//! It must never make a chat wait or fail: what cannot be queued, or looks like a secret, or is too long, is not
//! remembered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    secrets,
    service::{Engine, Memory, NewItem},
    store::{Batch, Forget, StoreError, UnixMillis},
};
use crate::{tasks::Tasks, user::UserId};

/// Turns that may wait for the store.
const WAITING: usize = 1024;
/// Longer turns are documents, not something that was said. In bytes.
const LONGEST: usize = 32 << 10;
/// How often is looked for memories that are too old.
const SWEEP: Duration = Duration::from_secs(3600);

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// By whom or to whom.
    pub user: UserId,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// The words.
    pub text: String,
}

impl Turn {
    /// Whether it may be kept.
    fn is_worth_it(&self) -> bool {
        !self.text.trim().is_empty() && self.text.len() <= LONGEST && !secrets::found(&self.text)
    }

    /// The same words of the same user are one memory for a day, however often a client sends its history again.
    fn batch(self) -> Batch {
        let hash = Sha256::digest(format!("{}\0{}", self.role, self.text));
        let idempotency_key = Some(format!("chat {hash:x}"));
        let item = NewItem { text: self.text, role: self.role.to_owned(), ..NewItem::default() };
        Batch { memories: vec![item.into()], idempotency_key }
    }
}

/// Remembers a turn when it is dropped: with the last byte of the answer, or when the client leaves.
pub struct Remember(Option<(Arc<Memory>, Turn)>);

impl Remember {
    /// Not yet.
    pub fn new(memory: Arc<Memory>, turn: Turn) -> Self {
        Self(Some((memory, turn)))
    }

    /// There was no answer, and the client will ask again.
    pub fn never_mind(mut self) {
        self.0 = None;
    }
}

impl Drop for Remember {
    fn drop(&mut self) {
        if let Some((memory, turn)) = self.0.take() {
            memory.remember_later(turn);
        }
    }
}

/// Turns on their way to the store.
pub struct Queue {
    sender: Mutex<Option<mpsc::Sender<Turn>>>,
    dropped: AtomicU64,
    written: CancellationToken,
}

impl Queue {
    /// Takes the turn, or drops it if too many wait.
    pub fn push(&self, turn: Turn) {
        let Some(sender) = self.sender.lock().clone() else { return };
        if sender.try_send(turn).is_err() {
            let dropped = self.dropped.fetch_add(1, Relaxed) + 1;
            tracing::warn!(dropped, "a turn is not remembered: too many wait for the memory store");
        }
    }

    /// Turns that wait to be written, and those that were dropped since the start.
    pub fn waiting_and_dropped(&self) -> (usize, u64) {
        let sender = self.sender.lock();
        let waiting = sender.as_ref().map_or(0, |sender| sender.max_capacity() - sender.capacity());
        (waiting, self.dropped.load(Relaxed))
    }

    /// Takes no more, and returns when what waits is written.
    pub async fn close(&self) {
        drop(self.sender.lock().take());
        self.written.cancelled().await;
    }
}

/// Starts what writes turns and what forgets old ones.
pub fn start(engine: Arc<Engine>, tasks: &Tasks) -> Queue {
    let (sender, turns) = mpsc::channel(WAITING);
    let written = CancellationToken::new();
    let done = written.clone().drop_guard();
    let (writing, turns) = (engine.clone(), Arc::new(AsyncMutex::new(turns)));
    tasks.keep("remember", move || {
        // Dropped with the last of them.
        let _done = &done;
        write(writing.clone(), turns.clone())
    });
    tasks.keep("sweep", move || sweep_for_ever(engine.clone()));
    Queue { sender: Mutex::new(Some(sender)), dropped: AtomicU64::new(0), written }
}

async fn write(engine: Arc<Engine>, turns: Arc<AsyncMutex<mpsc::Receiver<Turn>>>) {
    let mut turns = turns.lock().await;
    while let Some(turn) = turns.recv().await {
        if !turn.is_worth_it() {
            continue;
        }
        match engine.heard(engine.add(turn.user.clone(), turn.batch()).await) {
            // Said before, and forgotten since: it stays forgotten.
            Ok(_) | Err(StoreError::Duplicate) => {}
            Err(error) => tracing::warn!(%error, "a turn is not remembered"),
        }
    }
}

async fn sweep_for_ever(engine: Arc<Engine>) {
    let mut hours = interval(SWEEP);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hours.tick().await;
        let Some(kept) = engine.settings.load().retention else { continue };
        let Some(before) = SystemTime::now().checked_sub(kept) else { continue };
        if let Err(error) = engine.heard(sweep(&engine, before.into()).await) {
            tracing::warn!(%error, "memories that are too old are still there");
        }
    }
}

/// Forgets what was said before `before`.
pub(super) async fn sweep(engine: &Engine, before: UnixMillis) -> Result<(), StoreError> {
    for user in engine.store.users_with_older(before).await? {
        engine.forget(user, Forget::Matching { session: None, before: Some(before) }).await?;
    }
    engine.store.compact().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Turn {
        Turn { user: UserId::authenticated("ann").unwrap(), role: "user", text: text.to_owned() }
    }

    #[test]
    fn secrets_nothing_and_documents_are_not_kept() {
        assert!(turn("I live in Oslo").is_worth_it());
        assert!(turn(&"x".repeat(LONGEST)).is_worth_it());
        for text in ["", " \n", "my password is hunter2", &"x".repeat(LONGEST + 1)] {
            assert!(!turn(text).is_worth_it());
        }
    }

    #[test]
    fn the_same_words_are_one_write() {
        assert_eq!(turn("a").batch(), turn("a").batch());
        assert_ne!(turn("a").batch().idempotency_key, turn("b").batch().idempotency_key);
        let answer = Turn { role: "assistant", ..turn("a") };
        assert_ne!(turn("a").batch().idempotency_key, answer.batch().idempotency_key);
    }
}
