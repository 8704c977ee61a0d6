//! What a store that several gateways share says to the indexes and to the search: plain data.

use super::MemoryRecord;

/// What an index knows of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexVersion {
    /// As of this epoch.
    pub epoch: u64,
    /// Every memory up to this number.
    pub seq: i64,
}

/// What has happened since.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Changes {
    /// Nothing.
    #[default]
    Same,
    /// These were added, and nothing else has happened that an index would know of.
    Added {
        /// The user's epoch with them.
        epoch: u64,
        /// In the order of `seq`.
        memories: Vec<MemoryRecord>,
    },
    /// More than that: an index of an older epoch must be built anew.
    Rewritten {
        /// The user's epoch.
        epoch: u64,
    },
    /// The user has more than an index in memory should hold: search with [`super::Store::candidates`].
    TooLarge {
        /// The user's epoch.
        epoch: u64,
    },
}

impl Changes {
    /// The user's epoch, of one of whom so much is `known`; `None` if nothing was asked.
    pub(crate) fn epoch(&self, known: Option<IndexVersion>) -> Option<u64> {
        match self {
            Self::Same => known.map(|known| known.epoch),
            Self::Added { epoch, .. } | Self::Rewritten { epoch } | Self::TooLarge { epoch } => Some(*epoch),
        }
    }
}

/// A text as a store finds it among many: made by the recall, for a memory and for a query alike.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Description {
    /// Stems of its words, each once.
    pub stems: Vec<String>,
    /// A unit vector; empty if no word is known.
    pub meaning: Vec<f32>,
}

/// The memories to search, as of an epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Candidates {
    /// The user's epoch.
    pub epoch: u64,
    /// In the order of `seq`.
    pub memories: Vec<MemoryRecord>,
}
