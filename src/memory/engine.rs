//! The order of things between store, indexes and cache: what is read and written for one user.
//!
//! A write must run to its end once it has begun, also when nobody waits for it: else the index would not know of it.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use futures_util::future::join;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};

use super::{
    blocking::blocking,
    errors::{EmbedError, RecallError},
    index::cache::{IndexCache, IndexChange, IndexGuard, StoreVersion, UserSlot},
    prompt::assemble::{self, RankedItems},
    ranking::{
        cache::{Ranking, RankingCache, RankingCacheLimits, RankingKey},
        shared_cache::SharedCache,
        shared_entry::SharedEntry,
    },
    types::{RecallOutcome, SearchQuery, SearchResult},
};
use crate::{
    config,
    memory::{
        embedding::{
            backlog::EmbeddingBacklog,
            embedder::{EmbedPurpose, TextEmbedder},
        },
        ranking::{self, Query},
        store::{
            Batch, Condition, ContextChange, Forget, Forgotten, MemoryRecord, Store, StoreError,
            StoredEmbedding, UnixMillis, Written,
        },
        text::{preselect, tokenize},
    },
    telemetry::metrics::MemoryMeters,
    user::UserId,
};

/// So few memories are copied at once: to wake another thread would take longer.
const FEW: usize = 20;
/// A ranking is this long; more would not fit into any block.
const RANKED: usize = 256;

/// Reads and writes the memories of a user through store, index and cache.
pub(crate) struct Engine {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// The indexes that are in memory, one per user.
    pub indexes: IndexCache,
    /// What was asked lately.
    pub cache: RankingCache,
    /// What was asked lately of any gateway, if they share a Redis.
    pub shared: Option<SharedCache>,
    /// Makes the vectors, if not the table in the binary.
    pub embedder: Option<Arc<dyn TextEmbedder>>,
    /// What waits for a vector.
    pub backlog: EmbeddingBacklog,
    /// In force now.
    pub settings: ArcSwap<config::MemoryConfig>,
    /// What is counted of it.
    pub meters: MemoryMeters,
}

impl Engine {
    /// Hands on what the store returned, and counts its outages.
    pub(crate) fn count_outage<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| {
            if error.is_outage() {
                self.meters.store_errors.add(error.as_str());
            }
        })
    }

    /// Keeps all memories of `batch`, or none.
    pub(crate) async fn add(&self, user: UserId, batch: Batch) -> Result<Vec<MemoryRecord>, StoreError> {
        let slot = self.indexes.slot(&user);
        let _writing = slot.writing.lock().await;
        let appended = self.store.append(&user, batch, now()).await?;
        self.backlog.wake();
        // A replay has begun no epoch: its epoch may be another gateway's.
        if !appended.replayed {
            let change = IndexChange::Added(appended.memories.clone());
            self.indexes.apply(&user, &slot, appended.epoch, change).await?;
        }
        Ok(appended.memories)
    }

    /// Takes them out of the store, the index and the cache.
    pub(crate) async fn forget(&self, user: UserId, which: Forget) -> Result<Forgotten, StoreError> {
        let slot = self.indexes.slot(&user);
        let _writing = slot.writing.lock().await;
        let forgotten = self.store.forget(&user, which, now()).await;
        self.cache.clear(Some(&user));
        slot.said.lock().clear();
        if let Some(shared) = &self.shared {
            let epoch = forgotten.as_ref().ok().map(|forgotten| forgotten.epoch);
            shared.forget(&user, epoch, self.bounds().ttl).await;
        }
        let forgotten = match forgotten {
            Ok(forgotten) => forgotten,
            Err(error) => {
                self.indexes.invalidate(&user, &slot).await;
                return Err(error);
            }
        };
        // Neither has a forget that found nothing.
        if !forgotten.seqs.is_empty() {
            let change = IndexChange::Removed(forgotten.seqs.clone());
            self.indexes.apply(&user, &slot, forgotten.epoch, change).await?;
        }
        Ok(forgotten)
    }

    /// Changes the context, and with it what is recalled.
    pub(crate) async fn write_context(
        &self,
        user: UserId,
        change: ContextChange,
        condition: Condition,
    ) -> Result<Written, StoreError> {
        let slot = self.indexes.slot(&user);
        let _writing = slot.writing.lock().await;
        let written = self.store.write_context(&user, change, condition, now()).await?;
        *slot.context.lock() = None;
        self.indexes.apply(&user, &slot, written.epoch, IndexChange::Other).await?;
        Ok(written)
    }

    /// The memories that fit `query` best.
    pub(crate) async fn search(
        &self,
        user: UserId,
        query: String,
        limit: usize,
        max_tokens: Option<u32>,
        due: Instant,
    ) -> Result<SearchResult, StoreError> {
        let asked = self.recall_query(user, &query);
        asked.slot.recalled();
        let (seen, part) = self.version_and_shared(&asked).await?;
        if let Some(part) = part
            && let (found, true) = found(part, limit, max_tokens).await?
        {
            self.cache.count(true);
            return Ok(found);
        }
        let ranked = self.ranked(&asked, seen, due).await?;
        Ok(found(ranked, limit, max_tokens).await?.0)
    }

    /// The block for a chat; a vector of the query counts if it is there at `due`.
    pub(crate) async fn recall(
        &self,
        user: UserId,
        wanted: SearchQuery<'static>,
        due: Instant,
    ) -> Result<RecallOutcome, StoreError> {
        let asked = self.recall_query(user, &wanted.query);
        asked.slot.recalled();
        let wanted = Arc::new(wanted);
        let (seen, part) = self.version_and_shared(&asked).await?;
        if let Some(part) = part
            && let (recalled, true) = self.block(&asked, part, wanted.clone()).await?
        {
            self.cache.count(true);
            return Ok(recalled);
        }
        let ranked = self.ranked(&asked, seen, due).await?;
        Ok(self.block(&asked, ranked, wanted).await?.0)
    }

    async fn block(
        &self,
        asked: &RecallQuery,
        ranked: RankedItems,
        wanted: Arc<SearchQuery<'static>>,
    ) -> Result<(RecallOutcome, bool), StoreError> {
        let settings = self.settings.load_full();
        let context = match settings.include_context {
            true => Some(self.context_at(&asked.user, &asked.slot, ranked.reading.epoch).await?),
            false => None,
        };
        let quick = assemble::is_quick(&ranked, &wanted, &settings);
        let make =
            move || assemble::block(&ranked, &wanted, &settings, context.as_deref().and_then(non_empty));
        if quick { Ok(make()) } else { blocking(make).await }
    }

    /// The context as of `epoch`.
    async fn context_at(&self, user: &UserId, slot: &UserSlot, epoch: u64) -> Result<Arc<str>, StoreError> {
        if let Some(json) = slot.context_at(epoch) {
            return Ok(json);
        }
        slot.read_store();
        let json: Arc<str> = self.store.context(user).await?.json.into();
        *slot.context.lock() = Some((epoch, json.clone()));
        Ok(json)
    }

    /// Vectors that have come for memories of the user.
    pub(crate) async fn set_embeddings(
        &self,
        user: UserId,
        embeddings: Vec<(i64, StoredEmbedding)>,
    ) -> Result<(), StoreError> {
        let slot = self.indexes.background_slot(&user);
        let _writing = slot.writing.lock().await;
        let epoch = self.store.set_embeddings(&user, embeddings.clone()).await?;
        self.indexes.apply(&user, &slot, epoch, IndexChange::Embedded(embeddings)).await
    }

    pub(crate) fn recall_query(&self, user: UserId, query: &str) -> RecallQuery {
        let slot = self.indexes.slot(&user);
        RecallQuery { user, slot, query: tokenize::gist(query.trim()).into() }
    }

    /// What is new in the store, and the best of the ranking if another gateway has shared it: both are asked at once.
    /// What was shared counts only for the epoch that the store is in, which a write has raised before it was
    /// acknowledged: so it is as new as the store, whatever became of the cache in between.
    async fn version_and_shared(
        &self,
        asked: &RecallQuery,
    ) -> Result<(StoreVersion, Option<RankedItems>), StoreError> {
        let RecallQuery { user, slot, .. } = asked;
        let (seen, shared) =
            join(self.indexes.check_version(&*self.store, user, slot), self.find_shared(asked)).await;
        let seen = seen?;
        let Some(entry) = shared.filter(|entry| Some(entry.epoch) == seen.epoch()) else {
            return Ok((seen, None));
        };
        let is_part = !entry.is_whole;
        let (ranking, memories) = entry.open();
        let reading = Arc::new(self.indexes.make(memories).await?);
        Ok((seen, Some(RankedItems { reading, ranking, is_part, cached: true, unembedded: None })))
    }

    /// What another gateway has shared for the question; Redis is not asked where the answer is here.
    async fn find_shared(&self, asked: &RecallQuery) -> Option<SharedEntry> {
        let shared = self.shared.as_ref()?;
        let bounds = self.bounds();
        let here = asked.slot.epoch().is_some_and(|epoch| {
            let question = asked.question(epoch, self.embedder.is_some());
            self.cache.holds(&question, bounds, Instant::now())
        });
        if here || bounds.ttl.is_zero() {
            return None;
        }
        shared.find(&asked.user, &asked.query, self.embedder_id()).await
    }

    /// Shares a ranking with the other gateways, if it is new and as good as it can be.
    fn share(&self, asked: &RecallQuery, ranked: &RankedItems) {
        let Some(shared) = &self.shared else { return };
        let ttl = self.bounds().ttl;
        let known = ranked.cached || ranked.reading.index.is_empty() || ttl.is_zero();
        if known || ranked.unembedded.is_some() {
            return;
        }
        if let Some(entry) = SharedEntry::from_ranking(ranked) {
            shared.publish(&asked.user, &asked.query, self.embedder_id(), &entry, ttl);
        }
    }

    /// The embedder of queries; nothing for the built-in table.
    fn embedder_id(&self) -> &str {
        self.embedder.as_ref().map_or("", |embedder| embedder.id())
    }

    /// The whole ranking, made here.
    async fn ranked(
        &self,
        asked: &RecallQuery,
        seen: StoreVersion,
        due: Instant,
    ) -> Result<RankedItems, StoreError> {
        let RecallQuery { user, slot, query } = asked;
        let reading = match self.indexes.read(&*self.store, user, slot, seen).await? {
            Some(reading) => reading,
            None => self.among_candidates(user, slot, query.clone()).await?,
        };
        let ranked = self.rank(asked, Arc::new(reading), due).await?;
        self.share(asked, &ranked);
        Ok(ranked)
    }

    /// The ranking, by words alone if the vector of the query is not there at `due`: that finds far more than nothing
    /// would, for words and near words carry most of the score.
    async fn rank(
        &self,
        asked: &RecallQuery,
        reading: Arc<IndexGuard>,
        due: Instant,
    ) -> Result<RankedItems, StoreError> {
        let unembedded = match &self.embedder {
            None => None,
            Some(_) if !reading.index.has_vectors() => Some(EmbedError::Pending),
            Some(embedder) => match self.by_vector(asked, &reading, &**embedder, due).await {
                Ok((ranking, cached)) => {
                    self.cache.count(cached);
                    return Ok(RankedItems { ranking, reading, is_part: false, cached, unembedded: None });
                }
                Err(RecallError::Vector(why)) => Some(why),
                Err(RecallError::Store(error)) => return Err(error),
            },
        };
        let (cell, cached) = self.cell(asked, &reading, false);
        self.cache.count(cached);
        let ranking = cell.get_or_try_init(|| rank_by(&reading, &asked.query, None)).await?.clone();
        Ok(RankedItems { ranking, reading, is_part: false, cached, unembedded })
    }

    /// For a user who is too large for an index: one of what the store selects for this query.
    async fn among_candidates(
        &self,
        user: &UserId,
        slot: &UserSlot,
        query: Arc<str>,
    ) -> Result<IndexGuard, StoreError> {
        slot.read_store();
        let described = blocking(move || preselect::query(&query)).await?;
        let candidates = self.store.candidates(user, described).await?;
        self.indexes.make(candidates).await
    }

    /// The ranking with the vector of the query, and whether it was there.
    async fn by_vector(
        &self,
        asked: &RecallQuery,
        reading: &Arc<IndexGuard>,
        embedder: &dyn TextEmbedder,
        due: Instant,
    ) -> Result<(Ranking, bool), RecallError> {
        let (cell, cached) = self.cell(asked, reading, true);
        let make = || async {
            let left = due.saturating_duration_since(Instant::now());
            let vectors = embedder.embed(&[&asked.query], EmbedPurpose::Query, left).await?;
            rank_by(reading, &asked.query, vectors.into_iter().next()).await.map_err(RecallError::Store)
        };
        let made = timeout_at(due, cell.get_or_try_init(make)).await;
        Ok((made.map_err(|_| EmbedError::Late)??.clone(), cached))
    }

    /// Where the ranking is or will be, and whether it is there. One among candidates is not kept here, for the texts
    /// would have to be read again.
    fn cell(
        &self,
        asked: &RecallQuery,
        reading: &IndexGuard,
        embedded: bool,
    ) -> (Arc<OnceCell<Ranking>>, bool) {
        if let IndexGuard::Made(_) = reading {
            return (Arc::default(), false);
        }
        let question = asked.question(reading.epoch, embedded);
        let cell = self.cache.cell(question, self.bounds(), Instant::now());
        let cached = cell.initialized();
        (cell, cached)
    }

    pub(crate) fn bounds(&self) -> RankingCacheLimits {
        let settings = self.settings.load();
        RankingCacheLimits { ttl: settings.cache_ttl, entries: settings.cache_entries as usize }
    }
}

/// A question about the memories of one user.
pub(crate) struct RecallQuery {
    /// The user that they belong to.
    pub user: UserId,
    /// What is known here of that user.
    pub slot: Arc<UserSlot>,
    /// What is asked.
    pub query: Arc<str>,
}

impl RecallQuery {
    /// As it is known to the cache.
    pub(crate) fn question(&self, epoch: u64, embedded: bool) -> RankingKey {
        RankingKey { user: self.user.clone(), epoch, query: self.query.clone(), embedded }
    }
}

/// A context with something in it.
pub(crate) fn non_empty(json: &str) -> Option<&str> {
    (json != "{}").then_some(json)
}

/// As [`assemble::hits`].
async fn found(
    ranked: RankedItems,
    limit: usize,
    max_tokens: Option<u32>,
) -> Result<(SearchResult, bool), StoreError> {
    let few = max_tokens.is_none() && limit <= FEW;
    let (cached, unembedded) = (ranked.cached, ranked.unembedded.clone());
    let choose = move || assemble::hits(&ranked, limit, max_tokens);
    let (hits, enough) = if few { choose() } else { blocking(choose).await? };
    Ok((SearchResult { hits, cached, unembedded }, enough))
}

async fn rank_by(
    reading: &Arc<IndexGuard>,
    query: &Arc<str>,
    vector: Option<Vec<f32>>,
) -> Result<Ranking, StoreError> {
    let (reading, query) = (reading.clone(), query.clone());
    blocking(move || {
        let query = Query { text: &query, vector: vector.as_deref() };
        Arc::new(ranking::rank(&reading.index, &query, RANKED))
    })
    .await
}

pub(crate) fn now() -> UnixMillis {
    SystemTime::now().into()
}
