//! Ad-hoc targets: requested by their own name, and in no model.
//!
//! Clients choose these names, so the number is bounded and the least recently used go first. An operator's command must
//! not get lost with them: as long as there are others, no drained target is evicted.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;

use super::model::Model;

/// The number of targets kept.
const MAX_TARGETS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// Each as a model of its own, by id.
pub(crate) struct AdHocTargets(Mutex<LruCache<String, Arc<Model>>>);

impl AdHocTargets {
    /// The target with this id, marked as used now.
    pub(crate) fn asked(&self, id: &str) -> Option<Arc<Model>> {
        self.0.lock().get(id).cloned()
    }

    /// The target with this id, without marking it as used.
    pub(crate) fn look(&self, id: &str) -> Option<Arc<Model>> {
        self.0.lock().peek(id).cloned()
    }

    /// All of them, most recently used first.
    pub(crate) fn all(&self) -> Vec<Arc<Model>> {
        self.0.lock().iter().map(|(_, model)| model.clone()).collect()
    }

    /// Adds `model`, and evicts the least recently used one if there are too many.
    pub(crate) fn keep(&self, model: Arc<Model>) {
        let mut kept = self.0.lock();
        let excess = if kept.len() == MAX_TARGETS.get() { MAX_TARGETS.get() } else { 0 };
        // Each drained one is moved back once at most: an operator may have drained all of them.
        for _ in 0..excess {
            let drained = kept.peek_lru().filter(|(_, model)| is_drained(model)).map(|(id, _)| id.clone());
            let Some(id) = drained else { break };
            kept.promote(&id);
        }
        kept.put(model.config.name.clone(), model);
    }
}

impl Default for AdHocTargets {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_TARGETS)))
    }
}

fn is_drained(model: &Model) -> bool {
    model.targets.iter().any(|target| target.state.is_drained())
}

#[cfg(test)]
mod tests;
