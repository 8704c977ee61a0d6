//! Memory as the gateway uses it: one store, one index per user, one cache, one way to forget.
//!
//! Skeleton: signatures only.

use std::sync::Arc;

use super::store::{
    Activity, ContextChange, Counts, Cursor, Forget, Forgotten, Memory as Stored, Page, StoreError,
    UnixMillis, UserContext,
};
use crate::{config, tasks::Tasks, user::UserId};

/// What is to be remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewItem {
    /// The words.
    pub text: String,
    /// `user` or `assistant`.
    pub role: String,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// Who said it, by name.
    pub speaker: Option<String>,
    /// When it was said; now, if not given.
    pub created_at: Option<UnixMillis>,
    /// A JSON object, as text.
    pub metadata: Option<String>,
}

/// A memory that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The memory.
    pub memory: Stored,
    /// How well it fits, 0..1.
    pub score: f32,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// It came from the cache.
    pub cached: bool,
}

/// The live state of one user, for operators.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What is kept.
    pub counts: Counts,
    /// Recalls of this user in the cache.
    pub cached: usize,
    /// Bytes of the user's index in memory; `None` if it is not loaded.
    pub index_bytes: Option<usize>,
    /// When this process last recalled or remembered something for the user.
    pub last_seen: Option<UnixMillis>,
}

/// Memory.
pub struct Memory;

impl Memory {
    /// Opens the store of `config`. Blocks.
    pub fn open(_config: &config::Memory, _tasks: &Tasks) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self))
    }

    /// Budgets, sizes and switches from now on; store and path need a restart.
    pub fn reconfigure(&self, _config: &config::Memory) {}

    /// Keeps all items or none.
    pub async fn add(
        &self,
        _user: &UserId,
        _items: Vec<NewItem>,
        _idempotency_key: Option<String>,
    ) -> Result<Vec<Stored>, StoreError> {
        Err(StoreError::Closed)
    }

    /// One memory of the user.
    pub async fn get(&self, _user: &UserId, _id: &str) -> Result<Option<Stored>, StoreError> {
        Err(StoreError::Closed)
    }

    /// A page, oldest first.
    pub async fn list(
        &self,
        _user: &UserId,
        _cursor: Option<Cursor>,
        _limit: usize,
    ) -> Result<Page, StoreError> {
        Err(StoreError::Closed)
    }

    /// Gone means gone: rows, index, cache, files. An error if the files could not be cleaned (say so, 503).
    pub async fn forget(&self, _user: &UserId, _which: Forget) -> Result<Forgotten, StoreError> {
        Err(StoreError::Closed)
    }

    /// What fits `query` best; with `max_tokens` only as much as fits in.
    pub async fn search(
        &self,
        _user: &UserId,
        _query: &str,
        _limit: usize,
        _max_tokens: Option<u32>,
    ) -> Result<Found, StoreError> {
        Err(StoreError::Closed)
    }

    /// The user's own context.
    pub async fn context(&self, _user: &UserId) -> Result<UserContext, StoreError> {
        Err(StoreError::Closed)
    }

    /// Changes it, and with it what is recalled.
    pub async fn write_context(
        &self,
        _user: &UserId,
        _change: ContextChange,
        _if_match: Option<Vec<String>>,
    ) -> Result<UserContext, StoreError> {
        Err(StoreError::Closed)
    }

    /// For operators.
    pub async fn state(&self, _user: &UserId) -> Result<State, StoreError> {
        Err(StoreError::Closed)
    }

    /// For operators: the newest events.
    pub async fn activity(&self, _user: &UserId) -> Result<Vec<Activity>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Drops recalled context of one user, or of all; how many entries.
    pub fn clear_cache(&self, _user: Option<&UserId>) -> usize {
        0
    }

    /// Whether the store can be read and written.
    pub async fn is_healthy(&self) -> bool {
        false
    }

    /// Takes no more, and closes the files.
    pub async fn close(&self) {}
}
