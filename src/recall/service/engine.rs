//! The order of things between store, indexes and cache: what is read and written for one user.
//!
//! A write must run to its end once it has begun, also when nobody waits for it: else the index would not know of it.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};

use super::{
    blocking,
    cache::{Bounds, Cache, Question, Ranking},
    indexes::{Change, Indexes, Place, Reading},
    types::{Found, Hit, Recalled, Trouble, Wanted},
};
use crate::{
    config,
    recall::{
        describe, inject,
        pack::{self, Limits},
        pending::Pending,
        rank::{self, Query},
        remote::{NoVector, Purpose, Remote},
        store::{
            Batch, Condition, ContextChange, Embedding, Forget, Forgotten, Memory as Stored, Store,
            StoreError, UnixMillis, Written,
        },
        text,
    },
    telemetry::meters::MemoryMeters,
    user::UserId,
};

/// So few memories are copied at once: to wake another thread would take longer.
const FEW: usize = 20;
/// Bytes of text that are looked through at once for a block, within a tenth of a millisecond.
const AT_ONCE: usize = 32 << 10;
/// A ranking is this long; more would not fit into any block.
const RANKED: usize = 256;

/// See the module.
pub struct Engine {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// Who is in memory.
    pub indexes: Indexes,
    /// What was asked lately.
    pub cache: Cache,
    /// Who makes vectors, if not the table in the binary.
    pub remote: Option<Arc<Remote>>,
    /// What waits for a vector.
    pub pending: Arc<Pending>,
    /// In force now.
    pub settings: ArcSwap<config::Memory>,
    /// What is counted of it.
    pub meters: MemoryMeters,
}

/// The ranking of one question over the index that it was made from.
struct Ranked {
    reading: Arc<Reading>,
    ranking: Ranking,
    cached: bool,
    unembedded: Option<NoVector>,
}

impl Engine {
    /// What the store said; its troubles are counted.
    pub fn heard<T>(&self, said: Result<T, StoreError>) -> Result<T, StoreError> {
        said.inspect_err(|error| {
            if error.is_outage() {
                self.meters.store_errors.add(error.word());
            }
        })
    }

    /// Keeps all memories of `batch`, or none.
    pub async fn add(&self, user: UserId, batch: Batch) -> Result<Vec<Stored>, StoreError> {
        let place = self.indexes.place(&user);
        let _writing = place.writing.lock().await;
        let appended = self.store.append(&user, batch, now()).await?;
        self.pending.wake();
        // A replay has begun no epoch: the one that it tells of may be another gateway's.
        if !appended.replayed {
            let change = Change::Added(appended.memories.clone());
            self.indexes.apply(&user, &place, appended.epoch, change).await?;
        }
        Ok(appended.memories)
    }

    /// Takes them out of the store, the index and the cache.
    pub async fn forget(&self, user: UserId, which: Forget) -> Result<Forgotten, StoreError> {
        let place = self.indexes.place(&user);
        let _writing = place.writing.lock().await;
        let forgotten = self.store.forget(&user, which, now()).await;
        self.cache.clear(Some(&user));
        let forgotten = match forgotten {
            Ok(forgotten) => forgotten,
            Err(error) => {
                self.indexes.distrust(&user, &place).await;
                return Err(error);
            }
        };
        // Neither has a forget that found nothing.
        if !forgotten.seqs.is_empty() {
            let change = Change::Removed(forgotten.seqs.clone());
            self.indexes.apply(&user, &place, forgotten.epoch, change).await?;
        }
        Ok(forgotten)
    }

    /// Changes the context, and with it what is recalled.
    pub async fn write_context(
        &self,
        user: UserId,
        change: ContextChange,
        condition: Condition,
    ) -> Result<Written, StoreError> {
        let place = self.indexes.place(&user);
        let _writing = place.writing.lock().await;
        let written = self.store.write_context(&user, change, condition, now()).await?;
        *place.context.lock() = None;
        self.indexes.apply(&user, &place, written.epoch, Change::Other).await?;
        Ok(written)
    }

    /// The memories that fit `query` best.
    pub async fn search(
        &self,
        user: UserId,
        query: String,
        limit: usize,
        max_tokens: Option<u32>,
        due: Instant,
    ) -> Result<Found, StoreError> {
        let place = self.indexes.place(&user);
        let ranked = self.ranked(&user, &place, &query, due).await?;
        let Ranked { reading, ranking, cached, unembedded } = ranked;
        let few = max_tokens.is_none() && limit <= FEW;
        let choose = move || -> Vec<Hit> {
            let mut chosen: Vec<_> = match max_tokens {
                None => ranking.iter().take(limit).map(|scored| (scored.key, scored.score)).collect(),
                Some(max_tokens) => {
                    let limits = Limits { max_tokens, max_items: limit, min_score: 0.0 };
                    let block = pack::pack(&reading.index, &ranking, &limits, &[]);
                    block.items.iter().map(|item| (item.key, item.score)).collect()
                }
            };
            chosen.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            let hit = |(key, score)| Some(Hit { memory: reading.row(key)?, score });
            chosen.into_iter().filter_map(hit).collect()
        };
        let hits = if few { choose() } else { blocking(choose).await? };
        Ok(Found { hits, cached, unembedded })
    }

    /// The block for a chat; a vector of the query counts if it is there at `due`.
    pub async fn recall(&self, user: UserId, wanted: Wanted, due: Instant) -> Result<Recalled, StoreError> {
        let settings = self.settings.load_full();
        let place = self.indexes.place(&user);
        let ranked = self.ranked(&user, &place, &wanted.query, due).await?;
        let Ranked { reading, ranking, cached, unembedded } = ranked;
        let context = match settings.include_context {
            true => self.context_at(&user, &place, reading.epoch).await?,
            false => None,
        };
        let limits = Limits {
            max_tokens: wanted.max_tokens.min(settings.max_tokens),
            max_items: settings.max_items as usize,
            min_score: settings.min_score as f32,
        };
        let seen: usize = wanted.conversation.iter().map(String::len).sum();
        let little = seen + candidates(&reading, &ranking, &limits) <= AT_ONCE;
        let choose = move || {
            let seen: Vec<&str> = wanted.conversation.iter().map(String::as_str).collect();
            let packed = pack::pack(&reading.index, &ranking, &limits, &seen);
            let (block, items) = printed(packed, context.as_deref(), limits.max_tokens);
            let tokens = block.as_deref().map_or(0, text::tokens);
            Recalled { block, items, tokens, cached, unembedded }
        };
        if little { Ok(choose()) } else { blocking(choose).await }
    }

    /// The context as of `epoch`; `None` if there is nothing in it.
    async fn context_at(
        &self,
        user: &UserId,
        place: &Place,
        epoch: u64,
    ) -> Result<Option<Arc<str>>, StoreError> {
        let known =
            place.context.lock().as_ref().filter(|(at, _)| *at == epoch).map(|(_, json)| json.clone());
        let json = match known {
            Some(json) => json,
            None => {
                place.read_store();
                let json: Arc<str> = self.store.context(user).await?.json.into();
                *place.context.lock() = Some((epoch, json.clone()));
                json
            }
        };
        Ok((&*json != "{}").then_some(json))
    }

    /// Vectors that have come for memories of the user.
    pub async fn embedded(&self, user: UserId, embeddings: Vec<(i64, Embedding)>) -> Result<(), StoreError> {
        let place = self.indexes.place_of(&user);
        let _writing = place.writing.lock().await;
        let epoch = self.store.set_embeddings(&user, embeddings.clone()).await?;
        self.indexes.apply(&user, &place, epoch, Change::Embedded(embeddings)).await
    }

    /// The ranking, by words alone if the vector of the query is not there at `due`: that finds far more than nothing
    /// would, for words and near words carry most of the score.
    async fn ranked(
        &self,
        user: &UserId,
        place: &Place,
        query: &str,
        due: Instant,
    ) -> Result<Ranked, StoreError> {
        place.recalled();
        let query: Arc<str> = text::gist(query.trim()).into();
        let reading = match self.indexes.read(&*self.store, user, place).await? {
            Some(reading) => reading,
            None => self.among_candidates(user, place, query.clone()).await?,
        };
        let asked = Asked { user: user.clone(), reading: Arc::new(reading), query };
        let unembedded = match &self.remote {
            None => None,
            Some(_) if !asked.reading.index.has_vectors() => Some(NoVector::Pending),
            Some(remote) => match self.by_vector(&asked, remote, due).await {
                Ok((ranking, cached)) => {
                    self.cache.count(cached);
                    return Ok(Ranked { ranking, reading: asked.reading, cached, unembedded: None });
                }
                Err(Trouble::Vector(why)) => Some(why),
                Err(Trouble::Store(error)) => return Err(error),
            },
        };
        let (cell, cached) = self.cell(&asked, false);
        self.cache.count(cached);
        let ranking = cell.get_or_try_init(|| asked.rank(None)).await?.clone();
        Ok(Ranked { ranking, reading: asked.reading, cached, unembedded })
    }

    /// For a user who is too large for an index: one of what the store selects for this query.
    async fn among_candidates(
        &self,
        user: &UserId,
        place: &Place,
        query: Arc<str>,
    ) -> Result<Reading, StoreError> {
        place.read_store();
        let described = blocking(move || describe::query(&query)).await?;
        let candidates = self.store.candidates(user, described).await?;
        self.indexes.make(candidates).await
    }

    /// The ranking with the vector of the query, and whether it was there.
    async fn by_vector(
        &self,
        asked: &Asked,
        remote: &Remote,
        due: Instant,
    ) -> Result<(Ranking, bool), Trouble> {
        let (cell, cached) = self.cell(asked, true);
        let make = || async {
            let left = due.saturating_duration_since(Instant::now());
            let vectors = remote.embed(&[&asked.query], Purpose::Query, left).await?;
            asked.rank(vectors.into_iter().next()).await.map_err(Trouble::Store)
        };
        let made = timeout_at(due, cell.get_or_try_init(make)).await;
        Ok((made.map_err(|_| NoVector::Late)??.clone(), cached))
    }

    /// Where the ranking is or will be, and whether it is there. One among candidates is not cached, for the texts
    /// would have to be read again.
    fn cell(&self, asked: &Asked, embedded: bool) -> (Arc<OnceCell<Ranking>>, bool) {
        if let Reading::Made(_) = *asked.reading {
            return (Arc::default(), false);
        }
        let settings = self.settings.load();
        let bounds = Bounds { ttl: settings.cache_ttl, entries: settings.cache_entries as usize };
        let Asked { user, reading, query } = asked;
        let question = Question { user: user.clone(), epoch: reading.epoch, query: query.clone(), embedded };
        let cell = self.cache.place(question, bounds, Instant::now());
        let cached = cell.initialized();
        (cell, cached)
    }
}

/// A question about the memories of one user, as they were at one moment.
struct Asked {
    user: UserId,
    reading: Arc<Reading>,
    query: Arc<str>,
}

impl Asked {
    async fn rank(&self, vector: Option<Vec<f32>>) -> Result<Ranking, StoreError> {
        let (reading, query) = (self.reading.clone(), self.query.clone());
        blocking(move || {
            let query = Query { text: &query, vector: vector.as_deref() };
            Arc::new(rank::rank(&reading.index, &query, RANKED))
        })
        .await
    }
}

/// Bytes of the texts that may come into a block.
fn candidates(reading: &Reading, ranking: &Ranking, limits: &Limits) -> usize {
    let good = ranking.iter().take_while(|scored| scored.score >= limits.min_score);
    good.filter_map(|scored| reading.index.get(scored.key)).map(|turn| turn.text.len()).sum()
}

/// The block with as many of the best items as `max_tokens` has room for, frame and context included.
fn printed(packed: pack::Block, context: Option<&str>, max_tokens: u32) -> (Option<String>, usize) {
    let fence = inject::fence(&mut fastrand::Rng::new());
    let mut items = packed.items;
    let mut context = context;
    loop {
        if items.is_empty() && context.is_none() {
            return (None, 0);
        }
        let lines: Vec<String> = items.iter().map(|item| item.line.clone()).collect();
        let block = inject::block(&lines, context, &fence);
        if text::tokens(&block) <= max_tokens {
            return (Some(block), items.len());
        }
        let worst = (0..items.len()).min_by(|one, other| items[*one].score.total_cmp(&items[*other].score));
        match worst {
            Some(worst) => drop(items.remove(worst)),
            None => context = None,
        }
    }
}

fn now() -> UnixMillis {
    SystemTime::now().into()
}
