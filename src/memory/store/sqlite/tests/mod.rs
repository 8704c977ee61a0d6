//! The SQLite store against real files: what it promises, and every trouble that a file can have.

#![allow(clippy::duplicate_mod, reason = "the suite is compiled once for each store")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::SqliteStore;
use crate::{
    memory::store::{conformance::*, *},
    user::UserId,
};

mod erasing;
mod files;
mod killed;
mod trouble;
mod writing;

// What holds for every store; each brings its own `Place` and `Opened`.
#[path = "../../conformance/contexts.rs"]
mod contexts;
#[path = "../../conformance/isolation.rs"]
mod isolation;
#[path = "../../conformance/keys.rs"]
mod keys;
#[path = "../../conformance/model.rs"]
mod model;
#[path = "../../conformance/reading.rs"]
mod reading;
#[path = "../../conformance/vectors.rs"]
mod vectors;

/// How often the model of a store is tried.
const CASES: u32 = 24;

/// The store under test.
type Opened = SqliteStore;

/// A folder with a store in it.
struct Place {
    folder: TempDir,
}

impl Place {
    #[allow(clippy::unnecessary_wraps, reason = "other stores need a server, which may not be there")]
    fn new() -> Option<Self> {
        Some(Self { folder: TempDir::new().unwrap() })
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
