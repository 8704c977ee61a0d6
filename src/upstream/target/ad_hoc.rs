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
mod tests {
    use tokio::time::Instant;

    use crate::{
        config::{self, TargetName},
        events::Events,
        tasks::Tasks,
        upstream::Snapshot,
    };

    const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
[[providers]]
name = "one"
base_url = "http://127.0.0.1:1/v1"
[[models]]
name = "chat"
targets = ["one/listed", "one/other"]
"#;

    fn snapshot(config: &str, before: Option<&Snapshot>) -> Snapshot {
        let loaded = config::parse("config.toml", config, &|_| None).unwrap();
        Snapshot::new(loaded.config, before, &Events::new(), &Tasks::new()).unwrap()
    }

    fn ask(snapshot: &Snapshot, model: &str) {
        snapshot.ad_hoc(&TargetName { provider: "one".into(), model: model.into() }).unwrap();
    }

    fn drain(snapshot: &Snapshot, id: &str) {
        snapshot.find(id).unwrap().state.drain(true, Instant::now());
    }

    fn is_drained(snapshot: &Snapshot, id: &str) -> bool {
        snapshot.find(id).is_some_and(|target| target.state.is_drained())
    }

    #[test]
    fn a_drain_outlives_a_reload_also_where_no_model_names_the_target() {
        let first = snapshot(CONFIG, None);
        ask(&first, "named");
        ask(&first, "healthy");
        drain(&first, "one/named");
        drain(&first, "one/other");
        let shorter = CONFIG.replace(r#", "one/other""#, "");
        let second = snapshot(&shorter, Some(&first));
        assert!(is_drained(&second, "one/named"), "it was never in a model");
        assert!(is_drained(&second, "one/other"), "it is in none any more");
        assert!(second.find("one/healthy").is_none() && !is_drained(&second, "one/listed"));
        let third = snapshot(CONFIG, Some(&second));
        assert!(is_drained(&third, "one/named") && is_drained(&third, "one/other"));
        third.find("one/named").unwrap().state.drain(false, Instant::now());
        assert!(!is_drained(&snapshot(CONFIG, Some(&third)), "one/named"));
        let without = CONFIG.replace("one", "two");
        assert!(snapshot(&without, Some(&third)).find("one/other").is_none(), "its provider is gone");
    }

    #[test]
    fn strangers_do_not_push_out_what_an_operator_has_drained() {
        let snapshot = snapshot(CONFIG, None);
        ask(&snapshot, "named");
        ask(&snapshot, "healthy");
        drain(&snapshot, "one/named");
        for n in 0..3000 {
            ask(&snapshot, &format!("stray-{n}"));
        }
        assert!(is_drained(&snapshot, "one/named"));
        assert!(snapshot.find("one/healthy").is_none(), "there is not room for everybody");
        assert_eq!(snapshot.targets().len(), 2 + super::MAX_TARGETS.get());
    }
}
