//! What a store keeps and what it is asked for: plain data, checked by whoever makes it.

use std::{fmt, time::SystemTime};

use crate::user::UserId;

/// Milliseconds since 1970-01-01 UTC; negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct UnixMillis(pub i64);

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(millis(since)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

/// A memory as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemoryRecord {
    /// Unique over all users, sortable by the order of writing, not to be guessed.
    pub id: String,
    /// Grows with every memory of the user, with gaps.
    pub seq: i64,
    /// The conversation it comes from.
    pub session: Option<String>,
    /// The role, in the words of the API: `user`, `assistant`, …
    pub role: String,
    /// The speaker's name.
    pub speaker: Option<String>,
    /// The words, verbatim.
    pub text: String,
    /// When it was said.
    pub created_at: UnixMillis,
    /// A JSON object as it came.
    pub metadata: Option<String>,
    /// Size of `text` in tokens.
    pub tokens: u32,
    /// The text as a vector; `None` until it is embedded.
    pub embedding: Option<StoredEmbedding>,
}

/// A text as a vector of small integers; a component is its integer times `scale`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredEmbedding {
    /// The embedder that made it; vectors of different embedders must not be compared.
    pub embedder: String,
    /// What one step of a component is worth.
    pub scale: f32,
    /// The components.
    pub vector: Vec<i8>,
}

impl StoredEmbedding {
    /// The vector's components.
    pub(crate) fn components(&self) -> Vec<f32> {
        self.vector.iter().map(|component| f32::from(*component) * self.scale).collect()
    }
}

/// A memory to be stored. Fields as in [`MemoryRecord`].
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub(crate) struct NewMemory {
    pub session: Option<String>,
    pub role: String,
    pub speaker: Option<String>,
    pub text: String,
    /// `None`: the time of the write.
    pub created_at: Option<UnixMillis>,
    pub metadata: Option<String>,
    pub tokens: u32,
    pub embedding: Option<StoredEmbedding>,
}

impl NewMemory {
    /// Bytes that it holds while it waits.
    pub(super) fn weight(&self) -> usize {
        let vector = self.embedding.as_ref().map_or(0, |embedding| embedding.vector.len());
        self.text.len() + self.metadata.as_ref().map_or(0, String::len) + vector
    }
}

/// Memories that are stored together or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Batch {
    /// In the order in which they were said.
    pub memories: Vec<NewMemory>,
    /// The client's name for this write, under which a repetition is known.
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Appended {
    /// The items as stored, in the order given.
    pub memories: Vec<MemoryRecord>,
    /// The user's epoch now.
    pub epoch: u64,
    /// The key was known: these items were stored before, and nothing was written.
    pub replayed: bool,
}

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forget {
    /// One memory.
    Id(String),
    /// Every memory that meets all conditions.
    Matching {
        /// Of this session; `None`: of any, or of none.
        session: Option<String>,
        /// Created before this time; `None`: at any.
        before: Option<UnixMillis>,
    },
}

impl Forget {
    /// Everything.
    pub(crate) const ALL: Self = Self::Matching { session: None, before: None };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Which memories are gone, by their `seq`; empty if nothing was there to forget.
    pub seqs: Vec<i64>,
    /// The user's epoch now.
    pub epoch: u64,
    /// Whether the text is gone from the files too. Otherwise something (a reader in another process, a full disk)
    /// has kept the log from being emptied; the next forget, whatever it names, completes this one.
    pub erased: bool,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RecordPage {
    /// Oldest first.
    pub memories: Vec<MemoryRecord>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

/// A place in a user's list: after the memory with this time and `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(super) created_at: i64,
    pub(super) seq: i64,
}

impl Cursor {
    /// Reads what [`fmt::Display`] has written; `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (created_at, seq) = text.split_once('.')?;
        Some(Self { created_at: created_at.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at, self.seq)
    }
}

/// Memories that an embedder still has to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PendingRecords {
    /// Those of one user in the order of `seq`.
    pub items: Vec<Unembedded>,
    /// What was looked at, whether it waits or not; `None` if there was nothing more.
    pub covered: Option<Covered>,
    /// The embedder that another gateway has chosen since, see [`super::Store::embed_by`]; then nothing is found.
    pub instead: Option<String>,
}

/// What one look for memories without a vector has covered: for the store alone, which gets it back when all of it is
/// dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Covered(pub(super) Vec<NumberRange>);

/// Numbers that were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberRange {
    /// Whose; `None` where numbers are not those of one user.
    pub user: Option<UserId>,
    /// After this number.
    pub from: i64,
    /// Up to this one.
    pub to: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unembedded {
    /// Whose.
    pub user: UserId,
    /// Its number.
    pub seq: i64,
    /// Its words, of a long one the beginning.
    pub text: String,
}

/// How far an embedder has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Embedded {
    /// Memories that have its vector.
    pub done: u64,
    /// Memories that there are.
    pub all: u64,
}

/// How much is kept for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UserCounts {
    /// Memories.
    pub memories: u64,
    /// Sessions they come from, those without one left out.
    pub sessions: u64,
    /// When the oldest was said.
    pub oldest: Option<UnixMillis>,
    /// When the newest was said.
    pub newest: Option<UnixMillis>,
}

/// Something that happened to a user's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// When.
    pub at: UnixMillis,
    /// What.
    pub kind: ActivityKind,
    /// To how many memories; 1 for a context.
    pub items: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActivityKind {
    /// Memories were added.
    Remembered,
    /// Memories were removed.
    Forgotten,
    /// The context was changed.
    Context,
}

impl ActivityKind {
    /// As it is stored and shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Remembered => "remembered",
            Self::Forgotten => "forgotten",
            Self::Context => "context",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Remembered, Self::Forgotten, Self::Context].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_nothing_else_is_one() {
        for (created_at, seq) in [(0, 1), (-5, 7), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            let cursor = Cursor { created_at, seq };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for bad in ["", ".", "1", "1.", ".1", "1.2.3", "x.1", "1.99999999999999999999", "' OR 1=1 --.1", "\0"]
        {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times_before_1970_are_negative() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(UnixMillis::from(at(1234)), UnixMillis(1234));
        assert_eq!(UnixMillis::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), UnixMillis(-1000));
    }
}
