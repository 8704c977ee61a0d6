//! The SQLite store against real files: what it promises, and every trouble that a file can have.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{super::*, SqliteStore};
use crate::user::UserId;

mod contexts;
mod erasing;
mod files;
mod isolation;
mod keys;
mod killed;
mod model;
mod reading;
mod trouble;
mod vectors;
mod writing;

/// A time in 2026.
const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

/// A folder with a store in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("memories.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }

    /// Everything that the store has written, in whatever file.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            bytes.extend(fs::read(entry.unwrap().path()).unwrap());
        }
        bytes
    }

    fn holds(&self, word: &str) -> bool {
        memchr::memmem::find(&self.bytes(), word.as_bytes()).is_some()
    }

    /// A connection of another program.
    fn stranger(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

/// Runs beside the test.
#[allow(clippy::disallowed_methods)]
fn task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

fn text(text: &str) -> NewMemory {
    NewMemory { role: "user".into(), text: text.into(), tokens: 3, ..NewMemory::default() }
}

fn batch(texts: &[&str]) -> Batch {
    Batch { memories: texts.iter().map(|t| text(t)).collect(), idempotency_key: None }
}

fn embedding(first: i8) -> Embedding {
    Embedding { embedder: "builtin/1".into(), scale: 0.0078, vector: vec![first, -128, 127, 0] }
}

async fn all(store: &impl Store, user: &UserId) -> Vec<Memory> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let into = rows.clone();
    store.load(user, Box::new(move |chunk| into.lock().extend(chunk))).await.unwrap();
    let mut rows = rows.lock();
    std::mem::take(&mut rows)
}

fn texts(memories: &[Memory]) -> Vec<&str> {
    memories.iter().map(|memory| memory.text.as_str()).collect()
}

fn opened_error(path: &Path) -> StoreError {
    match SqliteStore::open(path) {
        Err(StoreError::Open { path: named, error }) => {
            assert_eq!(named, path);
            *error
        }
        Err(error) => panic!("the path is missing: {error}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}
