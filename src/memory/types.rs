//! What goes into the memory and what comes out of it.

use std::borrow::Cow;

use super::{
    errors::EmbedError,
    store::{Embedded, MemoryRecord, NewMemory, UnixMillis, UserCounts},
    text::tokenize,
};

/// What is to be remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NewItem {
    /// The words.
    pub text: String,
    /// `user` or `assistant`.
    pub role: String,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// The speaker's name.
    pub speaker: Option<String>,
    /// When it was said; now, if not given.
    pub created_at: Option<UnixMillis>,
    /// A JSON object, as text.
    pub metadata: Option<String>,
}

impl From<NewItem> for NewMemory {
    fn from(item: NewItem) -> Self {
        let NewItem { text, role, session, speaker, created_at, metadata } = item;
        let tokens = tokenize::tokens(&text);
        // The built-in embedder needs no stored vectors; those of another come later, see [`super::embedding::backlog_worker`].
        Self { session, role, speaker, text, created_at, metadata, tokens, embedding: None }
    }
}

/// A memory that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SearchHit {
    /// The memory.
    pub memory: MemoryRecord,
    /// How well it fits, 0..1.
    pub score: f32,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SearchResult {
    /// Best first.
    pub hits: Vec<SearchHit>,
    /// It came from the cache.
    pub cached: bool,
    /// Why the query has no vector, if it should have one: its words alone were ranked.
    pub unembedded: Option<EmbedError>,
}

/// The live state of one user, for operators.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserMemoryState {
    /// What is kept.
    pub counts: UserCounts,
    /// Recalls of this user in the cache.
    pub cached: usize,
    /// Bytes of the user's index in memory; `None` if it is not loaded.
    pub index_bytes: Option<usize>,
    /// Recalls and searches of this user, and the reads of the store that they took, since this process knows the user.
    pub recalls: u64,
    /// See [`UserMemoryState::recalls`].
    pub store_reads: u64,
    /// When this process last recalled or remembered something for the user.
    pub last_seen: Option<UnixMillis>,
}

/// The live state of the memory as a whole, for operators.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemoryOverview {
    /// Questions that the cache has answered, and those that it has not, since the start.
    pub cache: (u64, u64),
    /// Exchanges that were not remembered, since the start: too many waited.
    pub dropped: u64,
    /// `None` with the built-in embedder.
    pub embedding: Option<EmbeddingProgress>,
}

/// How far the embedder has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EmbeddingProgress {
    /// Model and length.
    pub embedder: String,
    /// Of how many memories.
    pub progress: Embedded,
    /// Why it does not come on, if it does not.
    pub trouble: Option<String>,
}

/// What a chat wants to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchQuery<'a> {
    /// What the user asks.
    pub query: Cow<'a, str>,
    /// What the model will see anyway, message by message.
    pub conversation: Vec<Cow<'a, str>>,
    /// Tokens of the whole block.
    pub max_tokens: u32,
}

impl SearchQuery<'_> {
    /// The same, for who outlives the chat.
    pub(crate) fn into_owned(self) -> SearchQuery<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let conversation = self.conversation.into_iter().map(owned).collect();
        SearchQuery { query: owned(self.query), conversation, max_tokens: self.max_tokens }
    }
}

/// What a chat gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecallOutcome {
    /// The block; `None` if nothing fits.
    pub block: Option<String>,
    /// Memories in it.
    pub items: usize,
    /// Its tokens.
    pub tokens: u32,
    /// The ranking came from the cache.
    pub cached: bool,
    /// Why the query has no vector, if it should have one: its words alone were ranked.
    pub unembedded: Option<EmbedError>,
}
