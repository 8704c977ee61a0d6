//! A ranking as gateways share it with each other: the best memories for one question, as of one epoch, with their words.
//!
//! Pure. It must never be larger than its bounds: it lies in a server's memory, next to everybody else's.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::Ranking;
use crate::memory::{
    prompt::assemble::{DEPTH, RankedItems},
    ranking::Scored,
    store::{Candidates, MemoryRecord as Row, UnixMillis},
};

/// Longer texts are ranked by each gateway for itself.
const MAX_BYTES: usize = 64 * 1024;

/// A ranking as it lies in Redis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SharedEntry {
    /// The user's epoch that it was made in.
    pub epoch: u64,
    /// Nothing else was ranked.
    pub is_whole: bool,
    /// Best first.
    items: Vec<SharedItem>,
}

/// A memory without its vector, and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SharedItem {
    /// The bits of an `f32`: what is shared must be the same to the last of them.
    score: u32,
    seq: i64,
    id: String,
    session: Option<String>,
    role: String,
    speaker: Option<String>,
    text: String,
    created_at: i64,
    metadata: Option<String>,
    tokens: u32,
}

impl SharedEntry {
    /// The best of a ranking; `None` if their words are too long.
    pub(crate) fn from_ranking(ranked: &RankedItems) -> Option<Self> {
        let (reading, ranking) = (&ranked.reading, &ranked.ranking);
        let mut bytes = 0;
        let mut items = Vec::with_capacity(ranking.len().min(DEPTH));
        for scored in ranking.iter().take(DEPTH) {
            let row = reading.row(scored.key)?;
            bytes += row.text.len() + row.metadata.as_ref().map_or(0, String::len);
            if bytes > MAX_BYTES {
                return None;
            }
            items.push(SharedItem::new(row, scored.score));
        }
        Some(Self { epoch: reading.epoch, is_whole: ranking.len() <= DEPTH, items })
    }

    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }

    /// What [`SharedEntry::encode`] has made; `None` if it is something else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The ranking, and the memories in it.
    pub(crate) fn open(self) -> (Ranking, Candidates) {
        let key = |item: &SharedItem| item.seq.unsigned_abs();
        let scored = |item: &SharedItem| Scored { key: key(item), score: f32::from_bits(item.score) };
        let ranking = Arc::new(self.items.iter().map(scored).collect());
        let mut memories: Vec<Row> = self.items.into_iter().map(SharedItem::row).collect();
        memories.sort_by_key(|row| row.seq);
        (ranking, Candidates { epoch: self.epoch, memories })
    }
}

impl SharedItem {
    fn new(row: Row, score: f32) -> Self {
        let Row { id, seq, session, role, speaker, text, created_at, metadata, tokens, embedding: _ } = row;
        let (score, created_at) = (score.to_bits(), created_at.0);
        Self { score, seq, id, session, role, speaker, text, created_at, metadata, tokens }
    }

    fn row(self) -> Row {
        let Self { score: _, seq, id, session, role, speaker, text, created_at, metadata, tokens } = self;
        let created_at = UnixMillis(created_at);
        Row { id, seq, session, role, speaker, text, created_at, metadata, tokens, embedding: None }
    }
}

#[cfg(test)]
mod tests;
