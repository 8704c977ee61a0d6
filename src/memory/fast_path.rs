//! What memory can say without waiting: a recall whose ranking is cached, and whether something was said before.
//!
//! It is the way that nearly every chat takes, and costs a tenth of the other. It must come to the same, or to nothing.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    engine::{Engine, non_empty, now},
    prompt::assemble::{self, RankedItems},
    types::{RecallOutcome, SearchQuery},
};
use crate::{memory::store::MemoryRecord, user::UserId};

impl Engine {
    /// The block for a chat, if it can be made here and now of a ranking that is cached. It is as new as any: an index
    /// that can be read is that of the last write, and the ranking is of its epoch.
    pub(crate) fn recall_at_once(&self, user: &UserId, wanted: &SearchQuery<'_>) -> Option<RecallOutcome> {
        if self.indexes.is_shared() {
            return None;
        }
        let asked = self.recall_query(user.clone(), &wanted.query);
        let reading = asked.slot.guard()?;
        if self.embedder.is_some() && !reading.index.has_vectors() {
            return None;
        }
        let question = asked.question(reading.epoch, self.embedder.is_some());
        let ranking = self.cache.find(&question, self.bounds(), Instant::now())?;
        let settings = self.settings.load();
        let context = match settings.include_context {
            true => Some(asked.slot.context_at(reading.epoch)?),
            false => None,
        };
        let reading = Arc::new(reading);
        let ranked = RankedItems { reading, ranking, is_part: false, cached: true, unembedded: None };
        assemble::is_quick(&ranked, wanted, &settings).then(|| {
            self.cache.count(true);
            asked.slot.recalled();
            assemble::block(&ranked, wanted, &settings, context.as_deref().and_then(non_empty)).0
        })
    }

    /// Whether the user said the same in the same role so lately that the store would not keep it once more.
    pub(crate) fn has_recent_turn(&self, user: &UserId, role: &str, text: &str) -> bool {
        self.indexes.slot(user).said.lock().has(role, text, now())
    }

    /// The store keeps what the user said: it need not be asked again, for as long as it would remember that itself.
    pub(crate) fn note_recent_turn(&self, user: &UserId, turn: &MemoryRecord) {
        self.indexes.slot(user).said.lock().note(&turn.role, &turn.text, turn.created_at);
    }
}
