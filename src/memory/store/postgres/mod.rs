//! The store in PostgreSQL: one truth for several gateways.
//!
//! Gateways know of each other's writes by the user's epoch, which [`Store::news`] reads before every recall: one
//! round trip, the price of never serving what is stale. The server may be away at any time, also at the start: each
//! call then fails on its own and soon, and the first call after its return finds it. Nothing here keeps state that
//! a restart of the server would invalidate.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::{address::PostgresUrl, pool::PostgresPool};
use super::{
    Activity, Appended, Batch, Candidates, Changes, Condition, ContextChange, Covered, Cursor, Description,
    Embedded, Forget, Forgotten, IndexVersion, MemoryRecord, NewMemory, PendingRecords, RecordPage, Sink,
    Store, StoreError, StoreFuture, StoredEmbedding, UnixMillis, UserContext, UserCounts, Written,
};
use crate::{tasks::Tasks, user::UserId};

mod address;
mod contexts;
mod errors;
mod keys;
mod memories;
mod nul_escape;
mod pool;
mod preselect;
mod preselect_indexer;
mod rows;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod users;
mod vectors;
mod writes;

pub(crate) use preselect_indexer::Describe;

/// A read that takes longer is given up.
const READ: Duration = Duration::from_secs(10);
/// A write that takes longer is given up; whether it was done is then not known.
const WRITE: Duration = Duration::from_secs(10);
/// All rows of one user.
const LOAD: Duration = Duration::from_secs(60);
/// Whether the server is there must be known sooner.
const CHECK: Duration = Duration::from_secs(1);

/// Writes that may wait.
const QUEUE: usize = 1024;
/// What the waiting writes may weigh, in KiB: 64 MiB of texts.
const MAX_KIB: usize = 64 * 1024;

/// A [`Store`] in PostgreSQL.
pub(crate) struct PostgresStore {
    pool: Arc<PostgresPool>,
    filler: preselect_indexer::PreselectIndexer,
    writes: Arc<Semaphore>,
    weight: Arc<Semaphore>,
    /// This gateway among those that embed.
    gateway: i64,
}

impl PostgresStore {
    /// A store at `url`, whose server need not be there yet. `describe` makes what memories are found by.
    ///
    /// Errors: [`StoreError::Denied`] if `url` cannot be read.
    pub(crate) fn new(url: &str, tasks: &Tasks, describe: Describe) -> Result<Self, StoreError> {
        let pool = PostgresPool::new(PostgresUrl::parse(url)?, tasks.clone());
        Ok(Self {
            filler: preselect_indexer::PreselectIndexer::new(pool.clone(), tasks.clone(), describe),
            pool,
            writes: Arc::new(Semaphore::new(QUEUE)),
            weight: Arc::new(Semaphore::new(MAX_KIB)),
            gateway: fastrand::i64(..),
        })
    }

    async fn read<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let late = StoreError::Away("it did not answer in time".to_owned());
        self.pool.again(READ, late, call).await
    }

    async fn write<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        weight: usize,
        call: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let _room = self.admit(weight)?;
        self.pool.again(WRITE, StoreError::Unsure, call).await
    }

    /// Room for a write of so many bytes to wait.
    fn admit(&self, weight: usize) -> Result<[OwnedSemaphorePermit; 2], StoreError> {
        let kib = u32::try_from((weight / 1024).clamp(1, MAX_KIB)).unwrap_or(1);
        let place = self.writes.clone().try_acquire_owned();
        let weight = self.weight.clone().try_acquire_many_owned(kib);
        let busy = |_| StoreError::Busy;
        Ok([place.map_err(busy)?, weight.map_err(busy)?])
    }
}

impl Store for PostgresStore {
    fn append(&self, user: &UserId, batch: Batch, now: UnixMillis) -> StoreFuture<'_, Appended> {
        let user = user.clone();
        Box::pin(async move {
            let weight = batch.memories.iter().map(NewMemory::weight).sum();
            let call = || async { writes::append(self.pool.session().await?, &user, &batch, now).await };
            self.write(weight, call).await
        })
    }

    fn get(&self, user: &UserId, id: &str) -> StoreFuture<'_, Option<MemoryRecord>> {
        let (user, id) = (user.clone(), id.to_owned());
        Box::pin(async move {
            self.read(|| async { memories::get(self.pool.session().await?, &user, &id).await }).await
        })
    }

    fn list(&self, user: &UserId, cursor: Option<Cursor>, limit: usize) -> StoreFuture<'_, RecordPage> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { memories::list(self.pool.session().await?, &user, cursor, limit).await })
                .await
        })
    }

    fn load(&self, user: &UserId, sink: Sink) -> StoreFuture<'_, u64> {
        let user = user.clone();
        Box::pin(async move {
            let begin = || async { memories::begin_load(self.pool.session().await?, &user).await };
            let (session, epoch) = self.read(begin).await?;
            let late = |_| StoreError::Away("it did not hand over all memories in time".to_owned());
            timeout(LOAD, memories::load(session, &user, sink)).await.map_err(late)??;
            Ok(epoch)
        })
    }

    fn forget(&self, user: &UserId, which: Forget, now: UnixMillis) -> StoreFuture<'_, Forgotten> {
        let user = user.clone();
        Box::pin(async move {
            let call = || async { writes::forget(self.pool.session().await?, &user, &which, now).await };
            self.write(0, call).await
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn preselection(&self) -> Option<&'static str> {
        let server = self.pool.server()?;
        Some(if server.has_vectors { "words and meaning" } else { "words" })
    }

    fn news(&self, user: &UserId, known: Option<IndexVersion>) -> StoreFuture<'_, Changes> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { users::news(self.pool.session().await?, &user, known).await }).await
        })
    }

    fn candidates(&self, user: &UserId, query: Description) -> StoreFuture<'_, Candidates> {
        let user = user.clone();
        Box::pin(async move {
            let call = || async {
                let session = self.pool.session().await?;
                let has_vectors = self.pool.server().is_some_and(|server| server.has_vectors);
                preselect::candidates(session, &user, &query, has_vectors).await
            };
            let found = self.read(call).await?;
            self.filler.fill(&user);
            Ok(found)
        })
    }

    fn set_embeddings(&self, user: &UserId, embeddings: Vec<(i64, StoredEmbedding)>) -> StoreFuture<'_, u64> {
        let user = user.clone();
        Box::pin(async move {
            let weight = embeddings.iter().map(|(_, embedding)| embedding.vector.len()).sum();
            let call =
                || async { writes::set_embeddings(self.pool.session().await?, &user, &embeddings).await };
            self.write(weight, call).await
        })
    }

    fn total(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move { self.read(|| async { users::total(self.pool.session().await?).await }).await })
    }

    fn embed_by(&self, embedder: &str) -> StoreFuture<'_, ()> {
        let embedder = embedder.to_owned();
        Box::pin(async move {
            let call = || async { vectors::choose(self.pool.session().await?, &embedder).await };
            self.write(0, call).await
        })
    }

    fn pending(
        &self,
        embedder: &str,
        after: Option<Covered>,
        limit: usize,
    ) -> StoreFuture<'_, PendingRecords> {
        let embedder = embedder.to_owned();
        Box::pin(async move {
            let by = (self.gateway, &*embedder);
            self.read(|| vectors::pending(&self.pool, by, after.as_ref(), limit)).await
        })
    }

    fn embedded(&self, embedder: &str) -> StoreFuture<'_, Embedded> {
        let embedder = embedder.to_owned();
        Box::pin(async move {
            self.read(|| async { vectors::embedded(self.pool.session().await?, &embedder).await }).await
        })
    }

    fn counts(&self, user: &UserId) -> StoreFuture<'_, UserCounts> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { memories::counts(self.pool.session().await?, &user).await }).await
        })
    }

    #[cfg(test)]
    fn epoch(&self, user: &UserId) -> StoreFuture<'_, u64> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { users::epoch(self.pool.session().await?, &user).await }).await
        })
    }

    fn context(&self, user: &UserId) -> StoreFuture<'_, UserContext> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { contexts::get(self.pool.session().await?, &user).await }).await
        })
    }

    fn write_context(
        &self,
        user: &UserId,
        change: ContextChange,
        condition: Condition,
        now: UnixMillis,
    ) -> StoreFuture<'_, Written> {
        let user = user.clone();
        Box::pin(async move {
            let call = || async {
                contexts::write(self.pool.session().await?, &user, &change, &condition, now).await
            };
            let (context, epoch) = self.write(change.weight(), call).await?;
            Ok(Written { context, epoch, erased: true })
        })
    }

    fn activity(&self, user: &UserId) -> StoreFuture<'_, Vec<Activity>> {
        let user = user.clone();
        Box::pin(async move {
            self.read(|| async { users::activity(self.pool.session().await?, &user).await }).await
        })
    }

    fn users_with_older(&self, before: UnixMillis) -> StoreFuture<'_, Vec<UserId>> {
        Box::pin(async move {
            self.read(|| async { users::with_older(self.pool.session().await?, before).await }).await
        })
    }

    fn users(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<UserId>> {
        Box::pin(async move {
            self.read(|| async { users::page(self.pool.session().await?, after.as_ref(), limit).await }).await
        })
    }

    fn restore(&self, user: &UserId, memories: Vec<MemoryRecord>) -> StoreFuture<'_, usize> {
        let user = user.clone();
        Box::pin(async move {
            let weight = memories.iter().map(|memory| memory.text.len()).sum();
            let call = || async { writes::restore(self.pool.session().await?, &user, &memories).await };
            self.write(weight, call).await
        })
    }

    fn compact(&self) -> StoreFuture<'_, bool> {
        // What is deleted is PostgreSQL's to clean, by autovacuum.
        Box::pin(async { Ok(false) })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let late = StoreError::Away("it did not answer in time".to_owned());
            let call = || async { users::check(self.pool.session().await?).await };
            self.pool.again(CHECK, late, call).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}
