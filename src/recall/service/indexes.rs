//! The indexes that are in memory: one per user, built when first asked for, grown by every write.
//!
//! A write is applied only to the index of the epoch before it; one that belongs to another epoch is dropped and
//! built anew. So an index can be late by no acknowledged write, and never holds what was forgotten. All indexes
//! together are bounded in bytes: the user who was not here for the longest time goes first.

use std::{
    collections::HashMap,
    mem::size_of,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::blocking;
use crate::{
    recall::{
        index::{Key, Turn, UserIndex},
        store::{Embedding, Memory as Row, Store, StoreError, UnixMillis},
    },
    user::UserId,
};

/// Bytes of all indexes.
const BYTES: usize = 256 << 20;
/// Users of whom anything is known here, with an index or without.
const USERS: usize = 100_000;

/// One user's memories at one epoch.
#[derive(Default)]
pub struct Loaded {
    /// For the ranking; it has the texts.
    pub index: UserIndex,
    /// What the store said.
    pub epoch: u64,
    /// The rest of each row.
    rows: HashMap<Key, Row>,
    /// Whose vectors are compared; those of others are as if they were not there.
    embedder: Option<Arc<str>>,
}

/// An index that nobody changes while this is held.
pub type Reading = OwnedRwLockReadGuard<Option<Loaded>, Loaded>;

/// What a write has done.
pub enum Change {
    /// These are new.
    Added(Vec<Row>),
    /// These are gone, by `seq`.
    Removed(Vec<i64>),
    /// These have a vector now, by `seq`.
    Embedded(Vec<(i64, Embedding)>),
    /// Something else than memories.
    Other,
}

impl Loaded {
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

    /// The row of that number, as it is stored.
    pub fn row(&self, key: Key) -> Option<Row> {
        let row = self.rows.get(&key)?;
        Some(Row { text: self.index.get(key)?.text.to_owned(), ..row.clone() })
    }

    fn add(&mut self, mut row: Row) {
        let key = row.seq.unsigned_abs();
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

    fn vector(&self, embedding: &Embedding) -> Option<Vec<f32>> {
        (self.embedder.as_deref() == Some(&*embedding.embedder)).then(|| embedding.components())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Added(rows) => rows.into_iter().for_each(|row| self.add(row)),
            Change::Removed(seqs) => seqs.iter().map(|seq| seq.unsigned_abs()).for_each(|key| {
                self.rows.remove(&key);
                self.index.remove(key);
            }),
            Change::Embedded(embeddings) => {
                for (seq, embedding) in embeddings {
                    if let Some(vector) = self.vector(&embedding) {
                        self.index.embed(seq.unsigned_abs(), &vector);
                    }
                }
            }
            Change::Other => {}
        }
    }

    fn bytes(&self) -> usize {
        let strings = |row: &Row| {
            [&row.session, &row.speaker, &row.metadata].into_iter().flatten().map(String::len).sum::<usize>()
                + row.id.len()
                + row.role.len()
        };
        let rows =
            self.rows.capacity() * size_of::<(Key, Row)>() + self.rows.values().map(strings).sum::<usize>();
        self.index.bytes() + rows
    }
}

/// What is known here of one user.
#[derive(Default)]
pub struct Place {
    /// Held by who writes, from before the store knows until the index does.
    pub writing: tokio::sync::Mutex<()>,
    /// How often something was recalled, and how often that took a read of the store.
    recalls: AtomicU64,
    store_reads: AtomicU64,
    /// The stored context, as of an epoch.
    pub context: Mutex<Option<(u64, Arc<str>)>>,
    loaded: Arc<RwLock<Option<Loaded>>>,
    bytes: Mutex<Option<usize>>,
    seen: AtomicI64,
}

impl Place {
    /// Bytes of the index; `None` if it is not in memory.
    pub fn bytes(&self) -> Option<usize> {
        *self.bytes.lock()
    }

    /// As long as this is held, the index is as one whose load hangs.
    #[cfg(test)]
    pub async fn hang(&self) -> OwnedRwLockWriteGuard<Option<Loaded>> {
        self.loaded.clone().write_owned().await
    }

    /// Notes a recall.
    pub fn recalled(&self) {
        self.recalls.fetch_add(1, Relaxed);
    }

    /// Notes that a recall had to read the store.
    pub fn read_store(&self) {
        self.store_reads.fetch_add(1, Relaxed);
    }

    /// Recalls so far.
    pub fn recalls(&self) -> u64 {
        self.recalls.load(Relaxed)
    }

    /// Reads of the store that they took.
    pub fn store_reads(&self) -> u64 {
        self.store_reads.load(Relaxed)
    }

    /// When the user was last here.
    pub fn seen(&self) -> UnixMillis {
        UnixMillis(self.seen.load(Relaxed))
    }
}

/// See the module.
pub struct Indexes {
    bound: usize,
    embedder: Option<Arc<str>>,
    users: Mutex<Users>,
}

struct Users {
    places: LruCache<UserId, Arc<Place>>,
    /// Of all indexes.
    bytes: usize,
}

impl Indexes {
    /// None yet; with the vectors of `embedder`, if there is one that is not built in.
    pub fn new(embedder: Option<Arc<str>>) -> Self {
        Self { embedder, ..Self::bounded(BYTES) }
    }

    fn bounded(bound: usize) -> Self {
        Self { bound, embedder: None, users: Mutex::new(Users { places: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The place of a user who is here now.
    pub fn place(&self, user: &UserId) -> Arc<Place> {
        let place = self.place_of(user);
        place.seen.store(UnixMillis::from(SystemTime::now()).0, Relaxed);
        place
    }

    /// The place of a user who is not here: something is done on the user's behalf.
    pub fn place_of(&self, user: &UserId) -> Arc<Place> {
        self.users.lock().places.get_or_insert_ref(user, Arc::default).clone()
    }

    /// The place of the user, if there is one; he does not count as seen.
    pub fn peek(&self, user: &UserId) -> Option<Arc<Place>> {
        self.users.lock().places.peek(user).cloned()
    }

    /// The index of the user, from the store if need be. Who waits with others waits for one load.
    pub async fn read(&self, store: &dyn Store, user: &UserId, place: &Place) -> Result<Reading, StoreError> {
        let reading = place.loaded.clone().read_owned().await;
        if let Ok(reading) = OwnedRwLockReadGuard::try_map(reading, Option::as_ref) {
            return Ok(reading);
        }
        let mut writing = place.loaded.clone().write_owned().await;
        if writing.is_none() {
            place.read_store();
            let loaded = Loaded::load(store, user, self.embedder.clone()).await?;
            self.weigh(user, place, Some(loaded.bytes()));
            *writing = Some(loaded);
        }
        // Downgraded, not released: nobody can have taken it out in between.
        OwnedRwLockReadGuard::try_map(OwnedRwLockWriteGuard::downgrade(writing), Option::as_ref)
            .map_err(|_| StoreError::Busy)
    }

    /// Tells the index, if it is in memory, what the write that began `epoch` has done.
    pub async fn apply(
        &self,
        user: &UserId,
        place: &Place,
        epoch: u64,
        change: Change,
    ) -> Result<(), StoreError> {
        let mut writing = place.loaded.clone().write_owned().await;
        let bytes = blocking(move || {
            let loaded = writing.as_mut()?;
            if epoch > loaded.epoch + 1 {
                *writing = None;
                return None;
            }
            // An epoch that it has already: loaded after the write, or nothing was written.
            if epoch > loaded.epoch {
                loaded.change(change);
                loaded.epoch = epoch;
            }
            Some(loaded.bytes())
        })
        .await?;
        self.weigh(user, place, bytes);
        Ok(())
    }

    /// Lets go of the index: what was written is not known for sure.
    pub async fn distrust(&self, user: &UserId, place: &Place) {
        *place.loaded.write().await = None;
        self.weigh(user, place, None);
    }

    /// Notes how much the user's index holds now, and makes room for it.
    fn weigh(&self, user: &UserId, place: &Place, bytes: Option<usize>) {
        let mut users = self.users.lock();
        let before = std::mem::replace(&mut *place.bytes.lock(), bytes);
        users.bytes = (users.bytes + bytes.unwrap_or(0)).saturating_sub(before.unwrap_or(0));
        while users.bytes > self.bound || users.places.len() > USERS {
            // Who holds a place may be about to write: two places of one user would not know of each other.
            let idle =
                |(other, place): &(&UserId, &Arc<Place>)| *other != user && Arc::strong_count(place) == 1;
            let Some(gone) = users.places.iter().rev().find(idle).map(|(user, _)| user.clone()) else {
                break;
            };
            let freed = users.places.pop(&gone).and_then(|place| place.bytes());
            users.bytes = users.bytes.saturating_sub(freed.unwrap_or(0));
        }
    }
}

#[cfg(test)]
#[path = "indexes_tests.rs"]
mod tests;
