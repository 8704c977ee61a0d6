//! Gives every memory its vector, in the background: those just written, and all of them after a change of the model.
//!
//! A write never waits for this: it is durable without a vector, and its words alone are ranked until it has one. What
//! still waits is read from the store, so a restart loses nothing. It must never log a word of a memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    memory::{
        service::{Engine, RecallError},
        store::{Covered, StoredEmbedding, Unembedded},
    },
    recall::remote_embedder::{EmbedError, EmbedPurpose, RemoteEmbedder},
    user::UserId,
};

/// Memories looked at in one go.
const LOOK: usize = 256;
/// Texts of one request, at most, and their bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 128 << 10;
/// For one request.
const LIMIT: Duration = Duration::from_secs(60);
/// After a write: what is written next to it goes with it.
const GATHER: Duration = Duration::from_millis(50);
/// After the first failure, doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Short, for a target in trouble is guarded by its breaker.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Without a write here: others may write to the store, or have died over what they wrote.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Between two lines in the log.
const TELL: Duration = Duration::from_secs(30);

/// What wakes it, and what operators see of it.
#[derive(Default)]
pub struct EmbeddingBacklog {
    written: Notify,
    trouble: Mutex<Option<String>>,
    /// The store knows our embedder: it is told once, and not again after a bug of ours.
    chosen: AtomicBool,
}

impl EmbeddingBacklog {
    /// There is something new.
    pub fn wake(&self) {
        self.written.notify_one();
    }

    /// Why it does not come on, if it does not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}

/// Embeds for ever.
pub async fn run(engine: Arc<Engine>, remote: Arc<RemoteEmbedder>) {
    let mut embedding =
        BacklogWorker { engine, remote, covered: None, instead: None, told: None, rest: MIN_BACKOFF };
    loop {
        match embedding.look().await {
            Ok(true) => embedding.rest = MIN_BACKOFF,
            Ok(false) => {
                embedding.log_recovery();
                if timeout(LOOK_AGAIN, embedding.engine.pending.written.notified()).await.is_ok() {
                    sleep(GATHER).await;
                }
            }
            Err(trouble) => embedding.backoff_after(trouble).await,
        }
    }
}

struct BacklogWorker {
    engine: Arc<Engine>,
    remote: Arc<RemoteEmbedder>,
    /// The last look: all that it has covered have a vector, or were refused one.
    covered: Option<Covered>,
    /// The embedder of another gateway that started later, while there is one.
    instead: Option<String>,
    /// When the log last had a line; `None` if nothing had to be told since the end was reached.
    told: Option<Instant>,
    rest: Duration,
}

impl BacklogWorker {
    /// Brings the next few memories to their vectors; false if there are none.
    async fn look(&mut self) -> Result<bool, RecallError> {
        self.choose().await?;
        let found = self.engine.store.pending(self.remote.id(), self.covered.clone(), LOOK).await?;
        self.yield_to_requests(found.instead);
        let Some(covered) = found.covered else { return Ok(false) };
        let mut waiting = batches(found.items);
        // The first look after a start, or a long one: more than a few writes.
        if waiting.len() > 1 || (self.covered.is_none() && !waiting.is_empty()) {
            self.log_trouble().await;
        }
        while let Some(batch) = waiting.pop() {
            match self.embed(&batch).await {
                Ok(()) => {}
                Err(RecallError::Vector(EmbedError::Refused)) if batch.len() > 1 => {
                    self.check_anything_is_taken().await?;
                    let half = batch.len() / 2;
                    waiting.extend([batch[half..].to_vec(), batch[..half].to_vec()]);
                }
                Err(RecallError::Vector(EmbedError::Refused)) => {
                    self.check_anything_is_taken().await?;
                    let bytes = batch.first().map_or(0, |item| item.text.len());
                    tracing::warn!(bytes, "a memory is refused by the embedder: its words alone are ranked");
                }
                Err(trouble) => return Err(trouble),
            }
        }
        self.covered = Some(covered);
        Ok(true)
    }

    async fn choose(&self) -> Result<(), RecallError> {
        let chosen = &self.engine.pending.chosen;
        if !chosen.load(Relaxed) {
            self.engine.store.embed_by(self.remote.id()).await?;
            chosen.store(true, Relaxed);
        }
        Ok(())
    }

    /// Two gateways with different embedders would undo each other's work for ever: the one that started first stops.
    fn yield_to_requests(&mut self, instead: Option<String>) {
        if instead == self.instead {
            return;
        }
        let ours = self.remote.id();
        match &instead {
            Some(theirs) => tracing::warn!(
                %ours,
                theirs,
                "another gateway on this database has started with another memory.embedding_model or memory.dimensions, and \
                 embeds all memories anew; this one embeds none until both are configured alike and it is restarted"
            ),
            None => {
                tracing::info!(embedder = %ours, "memories are embedded by this gateway's embedder again")
            }
        }
        self.instead = instead;
    }

    async fn embed(&self, batch: &[Unembedded]) -> Result<(), RecallError> {
        let texts: Vec<&str> = batch.iter().map(|item| item.text.as_str()).collect();
        let vectors = self.remote.embed(&texts, EmbedPurpose::Memory, LIMIT).await?;
        let mut of_user: BTreeMap<&UserId, Vec<(i64, StoredEmbedding)>> = BTreeMap::new();
        for (item, vector) in batch.iter().zip(&vectors) {
            // A vector of nothing but zeros has no direction: it is as if refused.
            let Some(vector) = self.remote.stored(vector) else { continue };
            of_user.entry(&item.user).or_default().push((item.seq, vector));
        }
        for (user, embeddings) in of_user {
            self.engine.embedded(user.clone(), embeddings).await?;
        }
        Ok(())
    }

    /// A target that refuses everything has something else against us than one memory.
    async fn check_anything_is_taken(&self) -> Result<(), RecallError> {
        match self.remote.embed(&["a test"], EmbedPurpose::Memory, LIMIT).await {
            Ok(_) => Ok(()),
            Err(EmbedError::Refused) => {
                let what = "it refuses whatever it is asked to embed".to_owned();
                Err(RecallError::Vector(EmbedError::Away(what)))
            }
            Err(other) => Err(RecallError::Vector(other)),
        }
    }

    async fn backoff_after(&mut self, trouble: RecallError) {
        let trouble = trouble.to_string();
        tracing::warn!(trouble, again_in = ?self.rest, "memories wait for their vectors");
        *self.engine.pending.trouble.lock() = Some(trouble);
        sleep(self.rest.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        self.rest = (self.rest * 2).min(MAX_BACKOFF);
    }

    async fn log_trouble(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        if let Ok(embedded) = self.engine.store.embedded(self.remote.id()).await {
            let (done, all) = (embedded.done, embedded.all);
            tracing::info!(done, all, embedder = %self.remote.id(), "memories are being embedded");
        }
    }

    fn log_recovery(&mut self) {
        self.rest = MIN_BACKOFF;
        let apart = |theirs: &String| format!("another gateway, which started later, embeds by {theirs}");
        *self.engine.pending.trouble.lock() = self.instead.as_ref().map(apart);
        if self.told.take().is_some() {
            tracing::info!(embedder = %self.remote.id(), "all memories are embedded");
        }
    }
}

/// In pieces for one request each, the first of them last.
fn batches(items: Vec<Unembedded>) -> Vec<Vec<Unembedded>> {
    let mut batches: Vec<Vec<Unembedded>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let length = item.text.len();
        match batches.last_mut() {
            Some(last) if last.len() < BATCH && bytes + length <= BATCH_BYTES => {
                bytes += length;
                last.push(item);
            }
            _ => {
                bytes = length;
                batches.push(vec![item]);
            }
        }
    }
    batches.reverse();
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(seq: i64, bytes: usize) -> Unembedded {
        let user = UserId::authenticated("ann").unwrap();
        Unembedded { user, seq, text: "x".repeat(bytes) }
    }

    #[test]
    fn a_request_is_bounded_in_texts_and_bytes_and_nothing_is_left_out() {
        let items: Vec<_> =
            (0..300).map(|seq| item(seq, if seq % 10 == 0 { 60 << 10 } else { 10 })).collect();
        let mut batches = batches(items.clone());
        for batch in &batches {
            let bytes: usize = batch.iter().map(|item| item.text.len()).sum();
            assert!(!batch.is_empty() && batch.len() <= BATCH && bytes <= BATCH_BYTES);
        }
        batches.reverse();
        assert!(batches.len() < 40);
        assert_eq!(batches.concat(), items);
        assert_eq!(super::batches(vec![item(1, BATCH_BYTES * 2)]).len(), 1);
        assert!(super::batches(Vec::new()).is_empty());
    }
}
