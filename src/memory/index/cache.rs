//! The indexes that are in memory: one per user, built when first asked for, grown by every write.
//!
//! A write is applied only to the index of the epoch before it; one that belongs to another epoch is dropped and
//! built anew. So an index can be late by no acknowledged write, and never holds what was forgotten. All indexes
//! together are bounded in bytes: the user who was not here for the longest time goes first. Where other gateways
//! write as well, the store is asked for news before anything is answered.

use std::{
    collections::HashMap,
    mem::size_of,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{
    memory::{
        blocking::blocking,
        index::user_index::{Turn, TurnKey, UserIndex},
        recent_turns::RecentTurns,
        store::{
            Candidates, Changes, IndexVersion, MemoryRecord as Row, Store, StoreError, StoredEmbedding,
            UnixMillis,
        },
    },
    user::UserId,
};

/// Bytes of all indexes.
const BYTES: usize = 256 << 20;
/// Users of whom anything is known here, with an index or without.
const USERS: usize = 100_000;

/// One user's memories at one epoch.
#[derive(Default)]
pub(crate) struct UserMemories {
    /// For the ranking; it has the texts.
    pub index: UserIndex,
    /// What the store said.
    pub epoch: u64,
    /// The rest of each row.
    rows: HashMap<TurnKey, Row>,
    /// The highest number that was ever in it.
    last: i64,
    /// The embedder whose vectors are compared; those of others are as if they were not there.
    embedder: Option<Arc<str>>,
}

/// An index that nobody changes while this is held.
pub(crate) enum IndexGuard {
    Kept(OwnedRwLockReadGuard<Option<UserMemories>, UserMemories>),
    /// Of candidates, for one search.
    Made(Box<UserMemories>),
}

impl Deref for IndexGuard {
    type Target = UserMemories;

    fn deref(&self) -> &UserMemories {
        match self {
            Self::Kept(loaded) => loaded,
            Self::Made(loaded) => loaded,
        }
    }
}

/// What the store said of one user's memories when it was asked.
#[derive(Default)]
pub(crate) struct StoreVersion {
    known: Option<IndexVersion>,
    news: Changes,
}

impl StoreVersion {
    /// The user's epoch then; `None` of a store that nobody shares.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.news.epoch(self.known)
    }
}

/// What a write has done.
pub(crate) enum IndexChange {
    Added(Vec<Row>),
    /// These are gone, by `seq`.
    Removed(Vec<i64>),
    /// These have a vector now, by `seq`.
    Embedded(Vec<(i64, StoredEmbedding)>),
    /// Something else than memories.
    Other,
}

impl UserMemories {
    async fn load(store: &dyn Store, user: &UserId, embedder: Option<Arc<str>>) -> Result<Self, StoreError> {
        let building = Arc::new(Mutex::new(Self { embedder, ..Self::default() }));
        let sink = building.clone();
        let epoch = store
            .load(
                user,
                Box::new(move |rows| {
                    let mut building = sink.lock();
                    rows.into_iter().for_each(|row| building.add(row));
                }),
            )
            .await?;
        let loaded = std::mem::take(&mut *building.lock());
        Ok(Self { epoch, ..loaded })
    }

    /// Of these memories alone.
    fn from_candidates(candidates: Candidates, embedder: Option<Arc<str>>) -> Self {
        let mut loaded = Self { epoch: candidates.epoch, embedder, ..Self::default() };
        candidates.memories.into_iter().for_each(|row| loaded.add(row));
        loaded
    }

    fn known(&self) -> IndexVersion {
        IndexVersion { epoch: self.epoch, seq: self.last }
    }

    /// The row of that number, as it is stored.
    pub(crate) fn row(&self, key: TurnKey) -> Option<Row> {
        let row = self.rows.get(&key)?;
        Some(Row { text: self.index.get(key)?.text.to_owned(), ..row.clone() })
    }

    fn add(&mut self, mut row: Row) {
        let key = row.seq.unsigned_abs();
        self.last = self.last.max(row.seq);
        let text = std::mem::take(&mut row.text);
        let vector = row.embedding.take().and_then(|embedding| self.vector(&embedding));
        self.index.add(&Turn {
            key,
            session: row.session.as_deref().unwrap_or_default(),
            at: row.created_at.0.div_euclid(1000),
            speaker: row.speaker.as_deref().unwrap_or(&row.role),
            text: &text,
            vector: vector.as_deref(),
        });
        self.rows.insert(key, row);
    }

    fn vector(&self, embedding: &StoredEmbedding) -> Option<Vec<f32>> {
        (self.embedder.as_deref() == Some(&*embedding.embedder)).then(|| embedding.components())
    }

    fn change(&mut self, change: IndexChange) {
        match change {
            IndexChange::Added(rows) => rows.into_iter().for_each(|row| self.add(row)),
            IndexChange::Removed(seqs) => seqs.iter().map(|seq| seq.unsigned_abs()).for_each(|key| {
                self.rows.remove(&key);
                self.index.remove(key);
            }),
            IndexChange::Embedded(embeddings) => {
                for (seq, embedding) in embeddings {
                    if let Some(vector) = self.vector(&embedding) {
                        self.index.embed(seq.unsigned_abs(), &vector);
                    }
                }
            }
            IndexChange::Other => {}
        }
    }

    fn bytes(&self) -> usize {
        let strings = |row: &Row| {
            [&row.session, &row.speaker, &row.metadata].into_iter().flatten().map(String::len).sum::<usize>()
                + row.id.len()
                + row.role.len()
        };
        let rows = self.rows.capacity() * size_of::<(TurnKey, Row)>()
            + self.rows.values().map(strings).sum::<usize>();
        self.index.bytes() + rows
    }
}

/// What is known here of one user.
#[derive(Default)]
pub(crate) struct UserSlot {
    /// Held by who writes, from before the store knows until the index does.
    pub writing: tokio::sync::Mutex<()>,
    /// How often something was recalled, and how often that took a read of the store.
    recalls: AtomicU64,
    store_reads: AtomicU64,
    /// The stored context, as of an epoch.
    pub context: Mutex<Option<(u64, Arc<str>)>>,
    /// What the user said lately.
    pub said: Mutex<RecentTurns>,
    loaded: Arc<RwLock<Option<UserMemories>>>,
    bytes: Mutex<Option<usize>>,
    seen: AtomicI64,
}

impl UserSlot {
    /// Bytes of the index; `None` if it is not in memory.
    pub(crate) fn bytes(&self) -> Option<usize> {
        *self.bytes.lock()
    }

    /// The epoch of the index; `None` if it is not in memory, or changes just now.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.loaded.try_read().ok()?.as_ref().map(|loaded| loaded.epoch)
    }

    /// The index as it is, if it is in memory and nobody changes it just now.
    pub(crate) fn guard(&self) -> Option<IndexGuard> {
        let reading = self.loaded.clone().try_read_owned().ok()?;
        OwnedRwLockReadGuard::try_map(reading, Option::as_ref).ok().map(IndexGuard::Kept)
    }

    /// The stored context as of `epoch`, if it was read.
    pub(crate) fn context_at(&self, epoch: u64) -> Option<Arc<str>> {
        self.context.lock().as_ref().filter(|(at, _)| *at == epoch).map(|(_, json)| json.clone())
    }

    /// As long as this is held, the index is as one whose load hangs.
    #[cfg(test)]
    pub(crate) async fn hang(&self) -> OwnedRwLockWriteGuard<Option<UserMemories>> {
        self.loaded.clone().write_owned().await
    }

    /// Notes a recall.
    pub(crate) fn recalled(&self) {
        self.recalls.fetch_add(1, Relaxed);
    }

    /// Notes that a recall had to read the store.
    pub(crate) fn read_store(&self) {
        self.store_reads.fetch_add(1, Relaxed);
    }

    /// Recalls so far.
    pub(crate) fn recalls(&self) -> u64 {
        self.recalls.load(Relaxed)
    }

    /// Reads of the store that they took.
    pub(crate) fn store_reads(&self) -> u64 {
        self.store_reads.load(Relaxed)
    }

    /// When the user was last here.
    pub(crate) fn seen(&self) -> UnixMillis {
        UnixMillis(self.seen.load(Relaxed))
    }
}

/// The loaded indexes, bounded by their bytes.
pub(crate) struct IndexCache {
    bound: usize,
    embedder: Option<Arc<str>>,
    /// Others write to the store, too.
    shared: bool,
    users: Mutex<UserMap>,
}

struct UserMap {
    slots: LruCache<UserId, Arc<UserSlot>>,
    /// Of all indexes.
    bytes: usize,
}

impl IndexCache {
    /// None yet; with the vectors of `embedder`, if there is one that is not built in. `shared`: other gateways write
    /// to the store as well.
    pub(crate) fn new(embedder: Option<Arc<str>>, shared: bool) -> Self {
        Self { embedder, shared, ..Self::bounded(BYTES) }
    }

    fn bounded(bound: usize) -> Self {
        let users = Mutex::new(UserMap { slots: LruCache::unbounded(), bytes: 0 });
        Self { bound, embedder: None, shared: false, users }
    }

    /// Whether others write to the store, too: then nothing here is known to be new without asking it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// The slot of a user who is here now.
    pub(crate) fn slot(&self, user: &UserId) -> Arc<UserSlot> {
        let slot = self.background_slot(user);
        slot.seen.store(UnixMillis::from(SystemTime::now()).0, Relaxed);
        slot
    }

    /// The slot of a user who is not here: something is done on the user's behalf.
    pub(crate) fn background_slot(&self, user: &UserId) -> Arc<UserSlot> {
        self.users.lock().slots.get_or_insert_ref(user, Arc::default).clone()
    }

    /// The slot of the user, if there is one; the user does not count as seen.
    pub(crate) fn peek(&self, user: &UserId) -> Option<Arc<UserSlot>> {
        self.users.lock().slots.peek(user).cloned()
    }

    /// Asks a store that others write to as well what is new there.
    pub(crate) async fn check_version(
        &self,
        store: &dyn Store,
        user: &UserId,
        slot: &UserSlot,
    ) -> Result<StoreVersion, StoreError> {
        if !self.shared {
            return Ok(StoreVersion::default());
        }
        let known = slot.loaded.read().await.as_ref().map(UserMemories::known);
        Ok(StoreVersion { known, news: store.news(user, known).await? })
    }

    /// The index of the user, from the store if need be, and as new as the store was when it was `seen`. Callers
    /// that wait together wait for one load. `None`: the user has too much for an index.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        user: &UserId,
        slot: &UserSlot,
        seen: StoreVersion,
    ) -> Result<Option<IndexGuard>, StoreError> {
        if !self.catch_up(user, slot, seen).await? {
            return Ok(None);
        }
        let reading = slot.loaded.clone().read_owned().await;
        if let Ok(reading) = OwnedRwLockReadGuard::try_map(reading, Option::as_ref) {
            return Ok(Some(IndexGuard::Kept(reading)));
        }
        let mut writing = slot.loaded.clone().write_owned().await;
        if writing.is_none() {
            slot.read_store();
            let loaded = UserMemories::load(store, user, self.embedder.clone()).await?;
            self.weigh(user, slot, Some(loaded.bytes()));
            *writing = Some(loaded);
        }
        // Downgraded, not released: nobody can have taken it out in between.
        let reading =
            OwnedRwLockReadGuard::try_map(OwnedRwLockWriteGuard::downgrade(writing), Option::as_ref);
        reading.map(|reading| Some(IndexGuard::Kept(reading))).map_err(|_| StoreError::Busy)
    }

    /// An index of `candidates`, for one search.
    pub(crate) async fn make(&self, candidates: Candidates) -> Result<IndexGuard, StoreError> {
        let embedder = self.embedder.clone();
        blocking(move || IndexGuard::Made(Box::new(UserMemories::from_candidates(candidates, embedder))))
            .await
    }

    /// Brings the index, if there is one, to where the store is now, or lets go of it. Whether the user may have one.
    async fn catch_up(&self, user: &UserId, slot: &UserSlot, seen: StoreVersion) -> Result<bool, StoreError> {
        let StoreVersion { known, news } = seen;
        if news == Changes::Same {
            return Ok(true);
        }
        let mut writing = slot.loaded.clone().write_owned().await;
        let allowed = !matches!(news, Changes::TooLarge { .. });
        let bytes = blocking(move || {
            match (writing.as_mut(), news) {
                // A write of this gateway, or somebody else's load, was faster.
                (Some(loaded), Changes::Added { epoch, .. } | Changes::Rewritten { epoch })
                    if loaded.epoch >= epoch => {}
                (Some(loaded), Changes::Added { epoch, memories }) if Some(loaded.known()) == known => {
                    memories.into_iter().for_each(|row| loaded.add(row));
                    loaded.epoch = epoch;
                }
                _ => *writing = None,
            }
            writing.as_ref().map(UserMemories::bytes)
        });
        self.weigh(user, slot, bytes.await?);
        Ok(allowed)
    }

    /// Tells the index, if it is in memory, what the write that began `epoch` has done.
    pub(crate) async fn apply(
        &self,
        user: &UserId,
        slot: &UserSlot,
        epoch: u64,
        change: IndexChange,
    ) -> Result<(), StoreError> {
        let shared = self.shared;
        let mut writing = slot.loaded.clone().write_owned().await;
        let bytes = blocking(move || {
            let loaded = writing.as_mut()?;
            if epoch > loaded.epoch + 1 {
                // Of a shared store the next reader catches up; what was removed must not wait for one.
                if !shared || matches!(change, IndexChange::Removed(_)) {
                    *writing = None;
                }
                return writing.as_ref().map(UserMemories::bytes);
            }
            // An epoch that it has already: loaded after the write, or nothing was written.
            if epoch > loaded.epoch {
                loaded.change(change);
                loaded.epoch = epoch;
            }
            Some(loaded.bytes())
        })
        .await?;
        self.weigh(user, slot, bytes);
        Ok(())
    }

    /// Lets go of the index: what was written is not known for sure.
    pub(crate) async fn invalidate(&self, user: &UserId, slot: &UserSlot) {
        *slot.loaded.write().await = None;
        self.weigh(user, slot, None);
    }

    /// Notes how much the user's index holds now, and makes room for it.
    fn weigh(&self, user: &UserId, slot: &UserSlot, bytes: Option<usize>) {
        let mut users = self.users.lock();
        let before = std::mem::replace(&mut *slot.bytes.lock(), bytes);
        users.bytes = (users.bytes + bytes.unwrap_or(0)).saturating_sub(before.unwrap_or(0));
        while users.bytes > self.bound || users.slots.len() > USERS {
            // A slot that is held may be about to be written: two slots of one user would not know of each other.
            let idle =
                |(other, slot): &(&UserId, &Arc<UserSlot>)| *other != user && Arc::strong_count(slot) == 1;
            let Some(gone) = users.slots.iter().rev().find(idle).map(|(user, _)| user.clone()) else {
                break;
            };
            let freed = users.slots.pop(&gone).and_then(|slot| slot.bytes());
            users.bytes = users.bytes.saturating_sub(freed.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests;
