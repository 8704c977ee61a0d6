//! Gives every memory its vector, in the background: those just written, and all of them after a change of the model.
//!
//! A write never waits for this: it is durable without a vector, and its words alone are ranked until it has one. What
//! still waits is read from the store, so a restart loses nothing. It must never log a word of a memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use super::{
    embedder::{EmbedPurpose, TextEmbedder},
    vectors,
};
use crate::{
    memory::{
        engine::Engine,
        errors::{EmbedError, RecallError},
        store::{Covered, StoredEmbedding, Unembedded},
    },
    user::UserId,
};

/// Memories read from the store at once.
const PAGE: usize = 256;
/// Texts of one request, at most, and their bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 128 << 10;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// After a write: what is written next to it goes with it.
const GATHER: Duration = Duration::from_millis(50);
/// After the first failure, doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Short, for a target in trouble is guarded by its breaker.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Without a write here: others may write to the store, or have died over what they wrote.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Between two lines in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Embeds for ever.
pub(crate) async fn run(engine: Arc<Engine>, embedder: Arc<dyn TextEmbedder>) {
    let mut worker = BacklogWorker {
        engine,
        embedder,
        covered: None,
        superseded_by: None,
        logged: None,
        backoff: MIN_BACKOFF,
    };
    loop {
        match worker.embed_page().await {
            Ok(true) => worker.backoff = MIN_BACKOFF,
            Ok(false) => {
                worker.note_end_reached();
                if timeout(POLL_INTERVAL, worker.engine.backlog.written.notified()).await.is_ok() {
                    sleep(GATHER).await;
                }
            }
            Err(error) => worker.back_off_after(error).await,
        }
    }
}

struct BacklogWorker {
    engine: Arc<Engine>,
    embedder: Arc<dyn TextEmbedder>,
    /// The last page: all that it has covered have a vector, or were refused one.
    covered: Option<Covered>,
    /// The embedder of another gateway that started later, while there is one.
    superseded_by: Option<String>,
    /// When progress was last logged; `None` if nothing was since the end was reached.
    logged: Option<Instant>,
    backoff: Duration,
}

impl BacklogWorker {
    /// Brings the next few memories to their vectors; false if there are none.
    async fn embed_page(&mut self) -> Result<bool, RecallError> {
        self.register().await?;
        let found = self.engine.store.pending(self.embedder.id(), self.covered.clone(), PAGE).await?;
        self.note_other_embedder(found.instead);
        let Some(covered) = found.covered else { return Ok(false) };
        let mut waiting = batches(found.items);
        // The first page after a start, or a long one: more than a few writes.
        if waiting.len() > 1 || (self.covered.is_none() && !waiting.is_empty()) {
            self.log_progress().await;
        }
        while let Some(batch) = waiting.pop() {
            match self.embed(&batch).await {
                Ok(()) => {}
                Err(RecallError::Vector(EmbedError::Refused)) if batch.len() > 1 => {
                    self.check_not_all_are_refused().await?;
                    let half = batch.len() / 2;
                    waiting.extend([batch[half..].to_vec(), batch[..half].to_vec()]);
                }
                Err(RecallError::Vector(EmbedError::Refused)) => {
                    self.check_not_all_are_refused().await?;
                    let bytes = batch.first().map_or(0, |item| item.text.len());
                    tracing::warn!(bytes, "embedder rejected a memory; its words alone are ranked");
                }
                Err(trouble) => return Err(trouble),
            }
        }
        self.covered = Some(covered);
        Ok(true)
    }

    async fn register(&self) -> Result<(), RecallError> {
        let registered = &self.engine.backlog.registered;
        if !registered.load(Relaxed) {
            self.engine.store.embed_by(self.embedder.id()).await?;
            registered.store(true, Relaxed);
        }
        Ok(())
    }

    /// Two gateways with different embedders would undo each other's work for ever: the one that started first stops.
    fn note_other_embedder(&mut self, other: Option<String>) {
        if other == self.superseded_by {
            return;
        }
        let ours = self.embedder.id();
        match &other {
            Some(theirs) => tracing::warn!(
                %ours,
                theirs,
                "another gateway on this database has started with another memory.embedding_model or memory.dimensions, and \
                 embeds all memories anew; this one embeds none until both are configured alike and it is restarted"
            ),
            None => {
                tracing::info!(embedder = %ours, "embedding resumes with this gateway's embedder")
            }
        }
        self.superseded_by = other;
    }

    async fn embed(&self, batch: &[Unembedded]) -> Result<(), RecallError> {
        let texts: Vec<&str> = batch.iter().map(|item| item.text.as_str()).collect();
        let vectors = self.embedder.embed(&texts, EmbedPurpose::Memory, REQUEST_TIMEOUT).await?;
        let mut of_user: BTreeMap<&UserId, Vec<(i64, StoredEmbedding)>> = BTreeMap::new();
        for (item, vector) in batch.iter().zip(&vectors) {
            // A vector of nothing but zeros has no direction: it is as if refused.
            let Some((vector, scale)) = vectors::quantised(vector) else { continue };
            let embedding = StoredEmbedding { embedder: self.embedder.id().to_string(), scale, vector };
            of_user.entry(&item.user).or_default().push((item.seq, embedding));
        }
        for (user, embeddings) in of_user {
            self.engine.set_embeddings(user.clone(), embeddings).await?;
        }
        Ok(())
    }

    /// A target that refuses everything has something else against us than one memory.
    async fn check_not_all_are_refused(&self) -> Result<(), RecallError> {
        match self.embedder.embed(&["a test"], EmbedPurpose::Memory, REQUEST_TIMEOUT).await {
            Ok(_) => Ok(()),
            Err(EmbedError::Refused) => {
                let what = "it refuses whatever it is asked to embed".to_owned();
                Err(RecallError::Vector(EmbedError::Away(what)))
            }
            Err(other) => Err(RecallError::Vector(other)),
        }
    }

    async fn back_off_after(&mut self, error: RecallError) {
        let error = error.to_string();
        tracing::warn!(error, again_in = ?self.backoff, "embedding of memories failed");
        *self.engine.backlog.trouble.lock() = Some(error);
        sleep(self.backoff.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    async fn log_progress(&mut self) {
        if self.logged.is_some_and(|logged| logged.elapsed() < LOG_INTERVAL) {
            return;
        }
        self.logged = Some(Instant::now());
        if let Ok(embedded) = self.engine.store.embedded(self.embedder.id()).await {
            let (done, all) = (embedded.done, embedded.all);
            tracing::info!(done, all, embedder = %self.embedder.id(), "embedding memories");
        }
    }

    fn note_end_reached(&mut self) {
        self.backoff = MIN_BACKOFF;
        let apart = |theirs: &String| format!("another gateway, which started later, embeds by {theirs}");
        *self.engine.backlog.trouble.lock() = self.superseded_by.as_ref().map(apart);
        if self.logged.take().is_some() {
            tracing::info!(embedder = %self.embedder.id(), "all memories are embedded");
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
