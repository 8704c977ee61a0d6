//! The SQLite store against real files: what it promises, and every trouble that a file can have.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

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

conformance_tests!(TestFile);

/// A folder with a store in it.
struct TestFile {
    folder: TempDir,
}

impl TestStore for TestFile {
    type Store = SqliteStore;

    const CASES: u32 = 24;

    fn empty() -> Option<Self> {
        Some(Self::new())
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }

    fn holds(&self, word: &str) -> bool {
        memchr::memmem::find(&self.bytes(), word.as_bytes()).is_some()
    }
}

impl TestFile {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("memories.db")
    }

    /// Everything that the store has written, in whatever file.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            bytes.extend(fs::read(entry.unwrap().path()).unwrap());
        }
        bytes
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
