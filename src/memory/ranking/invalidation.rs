//! Another gateway's operator clears a cache: what is cached here goes, too.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::shared_cache::SharedCache;
use crate::{cluster::UserKey, memory::engine::Engine, tasks::Tasks};

/// Drops what is cached here when an operator has another gateway clear it.
pub(crate) fn apply_invalidations(engine: &Arc<Engine>, tasks: &Tasks) {
    if engine.shared.is_none() {
        return;
    }
    let engine = engine.clone();
    tasks.spawn_restarting("clears", move || {
        let (engine, mut clears) = (engine.clone(), engine.shared.as_ref().map(SharedCache::clears));
        async move {
            while let Some(clears) = &mut clears {
                match clears.recv().await {
                    Ok(whose) => engine.cache.clear_of(|user| {
                        whose.is_empty() || UserKey::new(user).as_str().as_bytes() == &*whose
                    }),
                    // Which they were is lost.
                    Err(RecvError::Lagged(_)) => engine.cache.clear(None),
                    Err(RecvError::Closed) => return,
                };
            }
        }
    });
}
