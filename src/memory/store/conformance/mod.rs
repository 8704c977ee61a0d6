//! What every store must do, told once: the files beside this one are tests that each store includes among its own,
//! with a `Place` that makes an empty store and opens it, and `Opened`, what it opens.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;

use super::{Batch, MemoryRecord, NewMemory, Store, StoredEmbedding, UnixMillis};
use crate::user::UserId;

/// A time in 2026.
pub const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

/// Runs beside the test.
#[allow(clippy::disallowed_methods)]
pub fn task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

pub fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

pub fn text(text: &str) -> NewMemory {
    NewMemory { role: "user".into(), text: text.into(), tokens: 3, ..NewMemory::default() }
}

pub fn batch(texts: &[&str]) -> Batch {
    Batch { memories: texts.iter().map(|t| text(t)).collect(), idempotency_key: None }
}

pub fn embedding(first: i8) -> StoredEmbedding {
    StoredEmbedding { embedder: "builtin/1".into(), scale: 0.0078, vector: vec![first, -128, 127, 0] }
}

pub async fn all(store: &impl Store, user: &UserId) -> Vec<MemoryRecord> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let into = rows.clone();
    store.load(user, Box::new(move |chunk| into.lock().extend(chunk))).await.unwrap();
    let mut rows = rows.lock();
    std::mem::take(&mut rows)
}

pub fn texts(memories: &[MemoryRecord]) -> Vec<&str> {
    memories.iter().map(|memory| memory.text.as_str()).collect()
}
