//! What can go wrong with a recall, above the store: its own errors are in [`super::store`].

use super::store::StoreError;

/// Why there is no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EmbedError {
    /// There is nothing to compare it with.
    #[error("no memory has a vector yet")]
    Pending,
    /// Not in time.
    #[error("no answer in time")]
    Late,
    /// The embedder rejects these texts, and would again.
    #[error("the texts are refused")]
    Refused,
    /// Anything else, in words that hold nothing of the texts.
    #[error("{0}")]
    Away(String),
}

impl EmbedError {
    /// For headers and answers.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Late => "timeout",
            Self::Pending => "pending",
            Self::Refused | Self::Away(_) => "unavailable",
        }
    }
}

/// What can stand in the way of a vector, or of its use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecallError {
    /// There is none.
    #[error(transparent)]
    Vector(#[from] EmbedError),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a chat goes on without memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecallMiss {
    /// It would have taken longer than `recall_budget`.
    Timeout,
    /// The store is away.
    Store,
}
