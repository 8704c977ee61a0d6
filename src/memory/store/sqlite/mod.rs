//! The store in one SQLite file: one writer, a few readers, a write-ahead log that is synced at every commit.
//!
//! One gateway per file: other processes may read it (and lock it, which is survived), but what they change is not
//! seen in this gateway's caches. A damaged, newer or foreign file is refused and never replaced.

use std::path::Path;

use futures_util::future::BoxFuture;

use self::{
    check::Check,
    readers::Readers,
    writer::{After, Committed, Writer},
};
use super::{
    Activity, Appended, Batch, Condition, ContextChange, Covered, Cursor, Embedded, Forget, Forgotten,
    MemoryRecord, NewMemory, PendingRecords, RecordPage, Sink, Store, StoreError, StoreFuture,
    StoredEmbedding, UnixMillis, UserContext, UserCounts, Written,
};
use crate::user::UserId;

mod check;
mod contexts;
mod fragmentation;
mod keys;
mod memories;
mod open;
mod readers;
mod rows;
#[cfg(test)]
mod tests;
mod threads;
mod users;
mod vectors;
mod writer;

/// Reads that run at the same time.
const READERS: usize = 4;
/// Larger files are looked over while the store is at work already, in bytes: reading a gigabyte takes seconds.
const CHECKED_AT_ONCE: u64 = 64 << 20;

/// A [`Store`] in one SQLite file.
///
/// Dropping it waits for what was accepted; [`Store::close`] does so without blocking a thread of the runtime.
pub(crate) struct SqliteStore {
    check: Check,
    // In this order: the writer's connection is the last to close, and takes the log with it.
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the file, or makes it with an empty store; blocks while the file is checked. Of a large file only the
    /// head is checked by then: if the rest is damaged, every call fails with `Corrupt` as soon as that is known.
    ///
    /// Errors: [`StoreError::Open`] with the path and one of `Corrupt`, `Newer`, `Foreign`, `ReadOnly`, `Locked`,
    /// `Full`, `Failed`. A file that is refused is left as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::start(path, CHECKED_AT_ONCE)
            .map_err(|error| StoreError::Open { path: path.to_owned(), error: Box::new(error) })
    }

    fn start(path: &Path, checked_at_once: u64) -> Result<Self, StoreError> {
        // Absolute: a name that begins with "file:" would be read as a URI.
        let path = std::path::absolute(path).map_err(|error| StoreError::Failed(error.to_string()))?;
        let (writer, checked) = open::writer(&path, checked_at_once)?;
        let check = if checked { Check::done() } else { Check::start(open::reader(&path)?)? };
        let readers = (0..READERS).map(|_| open::reader(&path)).collect::<Result<_, _>>()?;
        Ok(Self { check, readers: Readers::start(readers)?, writer: Writer::start(writer)? })
    }

    /// Transactions committed since it was opened: with group commit fewer than writes.
    #[cfg_attr(not(test), expect(dead_code, reason = "shows the tests that commits are grouped"))]
    pub(crate) fn commits(&self) -> u64 {
        self.writer.commits()
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            self.check.passed()?;
            self.readers.read(work).await
        })
    }

    fn write<T: Send + 'static>(
        &self,
        weight: usize,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move { Ok(self.change(weight, After::Nothing, work).await?.value) })
    }

    async fn change<T: Send + 'static>(
        &self,
        weight: usize,
        after: After,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Committed<T>, StoreError> {
        self.check.passed()?;
        self.writer.write(weight, after, work).await
    }
}

impl Store for SqliteStore {
    fn append(&self, user: &UserId, batch: Batch, now: UnixMillis) -> StoreFuture<'_, Appended> {
        let user = user.clone();
        let weight = batch.memories.iter().map(NewMemory::weight).sum();
        self.write(weight, move |tx| memories::append(tx, &user, batch, now))
    }

    fn get(&self, user: &UserId, id: &str) -> StoreFuture<'_, Option<MemoryRecord>> {
        let (user, id) = (user.clone(), id.to_owned());
        self.read(move |tx| memories::get(tx, &user, &id))
    }

    fn list(&self, user: &UserId, cursor: Option<Cursor>, limit: usize) -> StoreFuture<'_, RecordPage> {
        let user = user.clone();
        self.read(move |tx| memories::list(tx, &user, cursor, limit))
    }

    fn load(&self, user: &UserId, sink: Sink) -> StoreFuture<'_, u64> {
        let user = user.clone();
        self.read(move |tx| memories::load(tx, &user, sink))
    }

    fn forget(&self, user: &UserId, which: Forget, now: UnixMillis) -> StoreFuture<'_, Forgotten> {
        let user = user.clone();
        Box::pin(async move {
            let work = move |tx: &rusqlite::Connection| memories::forget(tx, &user, &which, now);
            let done = self.change(0, After::Erase, work).await?;
            let (seqs, epoch) = done.value;
            Ok(Forgotten { seqs, epoch, erased: done.followed.is_ok() })
        })
    }

    fn set_embeddings(&self, user: &UserId, embeddings: Vec<(i64, StoredEmbedding)>) -> StoreFuture<'_, u64> {
        let user = user.clone();
        let weight = embeddings.iter().map(|(_, embedding)| embedding.vector.len()).sum();
        self.write(weight, move |tx| memories::set_embeddings(tx, &user, &embeddings))
    }

    fn total(&self) -> StoreFuture<'_, u64> {
        self.read(memories::total)
    }

    fn pending(
        &self,
        embedder: &str,
        after: Option<Covered>,
        limit: usize,
    ) -> StoreFuture<'_, PendingRecords> {
        let embedder = embedder.to_owned();
        self.read(move |tx| vectors::pending(tx, &embedder, after.as_ref(), limit))
    }

    fn embedded(&self, embedder: &str) -> StoreFuture<'_, Embedded> {
        let embedder = embedder.to_owned();
        self.read(move |tx| vectors::embedded(tx, &embedder))
    }

    fn counts(&self, user: &UserId) -> StoreFuture<'_, UserCounts> {
        let user = user.clone();
        self.read(move |tx| memories::counts(tx, &user))
    }

    #[cfg(test)]
    fn epoch(&self, user: &UserId) -> StoreFuture<'_, u64> {
        let user = user.clone();
        self.read(move |tx| users::epoch(tx, &user))
    }

    fn context(&self, user: &UserId) -> StoreFuture<'_, UserContext> {
        let user = user.clone();
        self.read(move |tx| contexts::get(tx, &user))
    }

    fn write_context(
        &self,
        user: &UserId,
        change: ContextChange,
        condition: Condition,
        now: UnixMillis,
    ) -> StoreFuture<'_, Written> {
        let user = user.clone();
        let weight = change.weight();
        Box::pin(async move {
            let work = move |tx: &rusqlite::Connection| contexts::write(tx, &user, &change, &condition, now);
            let done = self.change(weight, After::Erase, work).await?;
            let (context, epoch) = done.value;
            Ok(Written { context, epoch, erased: done.followed.is_ok() })
        })
    }

    fn activity(&self, user: &UserId) -> StoreFuture<'_, Vec<Activity>> {
        let user = user.clone();
        self.read(move |tx| users::activity(tx, &user))
    }

    fn users_with_older(&self, before: UnixMillis) -> StoreFuture<'_, Vec<UserId>> {
        self.read(move |tx| memories::users_with_older(tx, before))
    }

    fn users(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<UserId>> {
        self.read(move |tx| users::page(tx, after.as_ref(), limit))
    }

    fn restore(&self, user: &UserId, memories: Vec<MemoryRecord>) -> StoreFuture<'_, usize> {
        let user = user.clone();
        let weight = memories.iter().map(|memory| memory.text.len()).sum();
        self.write(weight, move |tx| memories::restore(tx, &user, memories))
    }

    fn compact(&self) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let worthwhile = self.read(fragmentation::is_mostly_dead).await?;
            if worthwhile {
                self.change(0, After::Compact, |_| Ok(())).await?.followed?;
            }
            Ok(worthwhile)
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.read(|tx| rows::last_seq(tx).map(drop)).await?;
            self.write(0, |_| Ok(())).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.check.close().await;
            self.readers.close().await;
            self.writer.close().await;
        })
    }
}
