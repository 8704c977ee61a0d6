//! Memory as the gateway uses it: one store, one index per user, one cache, one way to forget.
//!
//! It must never let one user's call see anything of another: every method takes the user, and what is found is
//! found in that user's index alone.

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::{
    select,
    sync::{Semaphore, oneshot},
    time::{Instant, timeout},
};

use super::{
    blocking::blocking,
    capture_queue::{self, CaptureQueue, Exchange},
    embedding::{backlog::EmbeddingBacklog, backlog_worker, embedder::TextEmbedder, static_table::Table},
    engine::Engine,
    errors::RecallMiss,
    index::cache::IndexCache,
    ranking::{cache::RankingCache, invalidation, shared_cache::SharedCache},
    retention,
    stats::{RecallCounts, RecallStats},
    store::{
        self, Activity, Batch, Condition, ContextChange, Cursor, Forget, Forgotten, MemoryRecord, RecordPage,
        StoreError, UserContext, Written,
    },
    types::{
        EmbeddingProgress, MemoryOverview, NewItem, RecallOutcome, SearchQuery, SearchResult, UserMemoryState,
    },
};
use crate::{cluster::RedisClient, config, tasks::Tasks, telemetry::metrics::MemoryMeters, user::UserId};

/// How long the store is taken for what it was when it was last looked at.
const CHECKED: Duration = Duration::from_secs(3);
/// How long the number of memories is taken for what it was when they were last counted.
const COUNTED: Duration = Duration::from_secs(30);
/// A store that is silent for so long is away.
const CHECK: Duration = Duration::from_secs(1);
/// Writes under way, of all users.
const WRITES: usize = 1024;

/// The memory as the gateway uses it.
pub(crate) struct MemoryService {
    engine: Arc<Engine>,
    tasks: Tasks,
    queue: CaptureQueue,
    stats: RecallStats,
    writes: Arc<Semaphore>,
    checked: Mutex<Option<(Instant, bool)>>,
    counted: Mutex<Option<(Instant, u64)>>,
}

impl MemoryService {
    /// Opens the store of `config`, and starts what writes to it later. Gateways with one `redis` and one store share
    /// what they recall. `embedder` makes the vectors, if not the built-in table. Blocks while a file is checked; a
    /// server that is away is not waited for.
    ///
    /// Errors: one sentence, if the store cannot be used.
    pub(crate) async fn open(
        config: &config::MemoryConfig,
        redis: Option<&RedisClient>,
        embedder: Option<Arc<dyn TextEmbedder>>,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, String> {
        let store = store::open::store(config, tasks).await.map_err(|error| format!("memory: {error}"))?;
        let vectors_of = embedder.as_ref().map(|embedder| embedder.id().clone());
        let engine = Arc::new(Engine {
            indexes: IndexCache::new(vectors_of, store.is_shared()),
            store,
            cache: RankingCache::new(),
            shared: SharedCache::open(config, redis, tasks),
            embedder,
            backlog: EmbeddingBacklog::default(),
            settings: ArcSwap::from_pointee(config.clone()),
            meters: MemoryMeters::default(),
        });
        Ok(Arc::new(Self::start(engine, tasks)))
    }

    fn start(engine: Arc<Engine>, tasks: &Tasks) -> Self {
        invalidation::apply_invalidations(&engine, tasks);
        let queue = capture_queue::start(engine.clone(), tasks);
        let swept = engine.clone();
        tasks.spawn_restarting("sweep", move || retention::run(swept.clone()));
        // The first recall would wait for it else.
        tasks.spawn(async { drop(blocking(|| Table::builtin().warm_up()).await) });
        Self {
            engine,
            tasks: tasks.clone(),
            queue,
            stats: RecallStats::default(),
            writes: Arc::new(Semaphore::new(WRITES)),
            checked: Mutex::default(),
            counted: Mutex::default(),
        }
    }

    /// Begins to embed what has no vector, if the embedder is not built in: as soon as that can be reached.
    pub(crate) fn start_embedding(&self) {
        let Some(embedder) = self.engine.embedder.clone() else { return };
        let (engine, draining) = (self.engine.clone(), self.tasks.draining().clone());
        self.tasks.spawn_restarting("embed", move || {
            let (embedding, draining) =
                (backlog_worker::run(engine.clone(), embedder.clone()), draining.clone());
            async move {
                select! {
                    () = draining.cancelled() => {}
                    () = embedding => {}
                }
            }
        });
    }

    /// Budgets, sizes and switches from now on; store and path need a restart.
    pub(crate) fn reconfigure(&self, config: &config::MemoryConfig) {
        let old = self.settings();
        let place = |memory: &config::MemoryConfig| (memory.store, memory.path.clone(), memory.url.clone());
        if (place(&old), &old.embedder) != (place(config), &config.embedder) {
            tracing::warn!("memory: changes of store, path, url and embedder need a restart");
        }
        self.engine.settings.store(Arc::new(config.clone()));
    }

    /// What is in force.
    pub(crate) fn settings(&self) -> Arc<config::MemoryConfig> {
        self.engine.settings.load_full()
    }

    /// Keeps all items or none; with a key that was used within a day for the same items, returns those.
    ///
    /// Errors: see [`super::store::Store::append`].
    pub(crate) async fn add(
        &self,
        user: &UserId,
        items: Vec<NewItem>,
        idempotency_key: Option<String>,
    ) -> Result<Vec<MemoryRecord>, StoreError> {
        let (engine, user) = (self.engine.clone(), user.clone());
        let batch = Batch { memories: items.into_iter().map(Into::into).collect(), idempotency_key };
        self.write(async move { engine.add(user, batch).await }).await
    }

    pub(crate) async fn get(&self, user: &UserId, id: &str) -> Result<Option<MemoryRecord>, StoreError> {
        self.engine.count_outage(self.engine.store.get(user, id).await)
    }

    /// A page, oldest first.
    pub(crate) async fn list(
        &self,
        user: &UserId,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        self.engine.count_outage(self.engine.store.list(user, cursor, limit).await)
    }

    /// Gone means gone: rows, index, cache, files. If the files could not be cleaned, [`Forgotten::erased`] is false,
    /// and the caller must say so.
    pub(crate) async fn forget(&self, user: &UserId, which: Forget) -> Result<Forgotten, StoreError> {
        let (engine, user) = (self.engine.clone(), user.clone());
        self.write(async move { engine.forget(user, which).await }).await
    }

    /// What fits `query` best; with `max_tokens` only as much as fits in.
    ///
    /// Errors: [`StoreError::Busy`] after `recall_timeout`, and what the store says.
    pub(crate) async fn search(
        &self,
        user: &UserId,
        query: &str,
        limit: usize,
        max_tokens: Option<u32>,
    ) -> Result<SearchResult, StoreError> {
        let stop = self.settings().recall_timeout;
        let due = Instant::now() + stop / 2;
        let searching = self.engine.search(user.clone(), query.to_owned(), limit, max_tokens, due);
        let found = timeout(stop, searching).await;
        self.engine.count_outage(found.unwrap_or(Err(StoreError::Busy)))
    }

    /// What [`MemoryService::recall`] would come to, if it need not wait: nearly every recall that is cached. A bug in it is left
    /// to [`MemoryService::recall`].
    pub(crate) fn recall_at_once(&self, user: &UserId, wanted: &SearchQuery<'_>) -> Option<RecallOutcome> {
        let recalled = catch_unwind(AssertUnwindSafe(|| self.engine.recall_at_once(user, wanted))).ok()??;
        self.stats.count(Ok(&recalled));
        Some(recalled)
    }

    /// The block for a chat, within `recall_budget`.
    ///
    /// A recall that takes longer goes on up to `recall_timeout` without the chat: the next one finds the index built.
    pub(crate) async fn recall(
        &self,
        user: &UserId,
        wanted: SearchQuery<'static>,
    ) -> Result<RecallOutcome, RecallMiss> {
        let (engine, user, settings) = (self.engine.clone(), user.clone(), self.settings());
        let stop = settings.recall_timeout;
        // The rest is for the ranking, with the vector or without.
        let due = Instant::now() + settings.recall_budget * 2 / 3;
        let recalling = self.run_to_completion(async move {
            timeout(stop, engine.recall(user, wanted, due)).await.unwrap_or(Err(StoreError::Busy))
        });
        let ended = match timeout(settings.recall_budget, recalling).await {
            Ok(Ok(recalled)) => Ok(recalled),
            Ok(Err(error)) => {
                tracing::warn!(%error, "recall failed");
                Err(RecallMiss::Store)
            }
            Err(_) => Err(RecallMiss::Timeout),
        };
        self.stats.count(ended.as_ref().map_err(|missed| *missed));
        ended
    }

    /// Whether the user said this so lately that it would not be remembered once more.
    pub(crate) fn has_recent_turn(&self, user: &UserId, said: &str) -> bool {
        self.engine.has_recent_turn(user, capture_queue::USER, said)
    }

    /// Queues what was said to be remembered; the caller does not wait.
    pub(crate) fn enqueue(&self, exchange: Exchange) {
        self.queue.push(exchange);
    }

    pub(crate) async fn context(&self, user: &UserId) -> Result<UserContext, StoreError> {
        self.engine.count_outage(self.engine.store.context(user).await)
    }

    /// Changes it, and with it what is recalled.
    ///
    /// Errors: see [`super::store::Store::write_context`].
    pub(crate) async fn write_context(
        &self,
        user: &UserId,
        change: ContextChange,
        condition: Condition,
    ) -> Result<Written, StoreError> {
        let (engine, user) = (self.engine.clone(), user.clone());
        self.write(async move { engine.write_context(user, change, condition).await }).await
    }

    /// For operators.
    pub(crate) async fn state(&self, user: &UserId) -> Result<UserMemoryState, StoreError> {
        let counts = self.engine.count_outage(self.engine.store.counts(user).await)?;
        let slot = self.engine.indexes.peek(user);
        Ok(UserMemoryState {
            counts,
            cached: self.engine.cache.count_of(user),
            index_bytes: slot.as_ref().and_then(|slot| slot.bytes()),
            recalls: slot.as_ref().map_or(0, |slot| slot.recalls()),
            store_reads: slot.as_ref().map_or(0, |slot| slot.store_reads()),
            last_seen: slot.map(|slot| slot.seen()),
        })
    }

    /// For operators: the newest events.
    pub(crate) async fn activity(&self, user: &UserId) -> Result<Vec<Activity>, StoreError> {
        self.engine.count_outage(self.engine.store.activity(user).await)
    }

    /// Drops recalled context of one user, or of all; how many entries.
    pub(crate) async fn clear_cache(&self, user: Option<&UserId>) -> usize {
        let here = self.engine.cache.clear(user);
        match &self.engine.shared {
            Some(shared) => here + shared.clear(user).await,
            None => here,
        }
    }

    /// For operators.
    pub(crate) async fn overview(&self) -> Result<MemoryOverview, StoreError> {
        let embedding = match &self.engine.embedder {
            None => None,
            Some(embedder) => Some(EmbeddingProgress {
                embedder: embedder.id().to_string(),
                progress: self.engine.store.embedded(embedder.id()).await?,
                trouble: self.engine.backlog.trouble(),
            }),
        };
        let (cache, dropped) = (self.cache_hits_and_misses(), self.dropped());
        Ok(MemoryOverview { cache, dropped, embedding })
    }

    /// How recall has gone since the start.
    pub(crate) fn stats(&self) -> RecallCounts {
        self.stats.with(self.cache_hits_and_misses(), self.queue.waiting_and_dropped())
    }

    /// Questions that the cache has answered, and those that it has not, since the start.
    pub(crate) fn cache_hits_and_misses(&self) -> (u64, u64) {
        self.engine.cache.hits_and_misses()
    }

    /// What is counted of it.
    pub(crate) fn meters(&self) -> &MemoryMeters {
        &self.engine.meters
    }

    /// Turns that were not remembered because too many waited for the store.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.waiting_and_dropped().1
    }

    /// How many memories are kept, as of half a minute ago at most; `None` while the store is away.
    pub(crate) async fn items(&self) -> Option<u64> {
        let known = *self.counted.lock();
        if let Some((at, items)) = known
            && at.elapsed() < COUNTED
        {
            return Some(items);
        }
        let counted = timeout(CHECK, self.engine.store.total()).await.unwrap_or(Err(StoreError::Busy));
        let items = self.engine.count_outage(counted).ok()?;
        *self.counted.lock() = Some((Instant::now(), items));
        Some(items)
    }

    /// Whether the store can be read and written, as of a few seconds ago at most.
    pub(crate) async fn is_healthy(&self) -> bool {
        let known = *self.checked.lock();
        if let Some((at, healthy)) = known
            && at.elapsed() < CHECKED
        {
            return healthy;
        }
        let healthy = matches!(timeout(CHECK, self.engine.store.check()).await, Ok(Ok(())));
        *self.checked.lock() = Some((Instant::now(), healthy));
        healthy
    }

    /// By what users are searched who are too large for memory; `None` if nobody is.
    pub(crate) fn preselection(&self) -> Option<&'static str> {
        self.engine.store.preselection()
    }

    /// Takes no more, writes what waits, and closes the files.
    pub(crate) async fn close(&self) {
        self.queue.close().await;
        self.engine.store.close().await;
    }

    /// A write, which runs to its end once it has begun. It is refused if too many are under way already: those of one
    /// user wait for each other before they wait for the store.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let room = self.writes.clone().try_acquire_owned().map_err(|_| StoreError::Busy)?;
        self.run_to_completion(async move {
            let done = work.await;
            drop(room);
            done
        })
        .await
    }

    /// Runs `work` to its end, also when the caller does not wait so long, and although it may panic. What need not wait, as
    /// nearly every recall that is cached, is done here and now: a task of its own would cost more than the work.
    async fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let engine = self.engine.clone();
        let work = AssertUnwindSafe(async move { engine.count_outage(work.await) }).catch_unwind();
        let mut work = Box::pin(work.map(|done| done.unwrap_or(Err(StoreError::Closed))));
        if let Some(done) = work.as_mut().now_or_never() {
            return done;
        }
        let (done, result) = oneshot::channel();
        self.tasks.spawn(async move { drop(done.send(work.await)) });
        result.await.unwrap_or(Err(StoreError::Closed))
    }
}
