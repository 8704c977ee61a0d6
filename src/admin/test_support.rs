//! For the tests of this module: targets with a history.

use std::sync::Arc;

use crate::{
    config,
    events::Events,
    tasks::Tasks,
    upstream::{
        Attempt, RequestNeed, Snapshot, Target, exchange::outcome::Outcome, health::score::LatencyKind,
    },
};

/// Two providers, a model on both of them with a fallback on one.
pub(crate) const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[[providers]]
name = "fast"
base_url = "http://127.0.0.1:1/v1"

[[providers]]
name = "slow"
base_url = "http://127.0.0.1:2/v1"
api_key = "sk-very-secret"

[[models]]
name = "chat"
targets = ["fast/big", "slow/org/big"]
fallbacks = ["small"]
first_token_timeout = "7s"

[[models]]
name = "small"
alias = ["tiny"]
targets = ["fast/small", "fast/big"]
"#;

/// The targets of [`CONFIG`].
pub(crate) fn snapshot(events: &Events) -> Snapshot {
    let loaded = config::parse("config.toml", CONFIG, &|_| None).unwrap();
    Snapshot::new(loaded.config, None, events, &Tasks::new()).unwrap()
}

/// Begins an attempt on `target`.
pub(crate) fn attempt(target: &Arc<Target>, kind: LatencyKind) -> Attempt {
    Attempt::begin(target, &RequestNeed { kind, tokens: 1 }, None, true).unwrap()
}

/// Makes `count` attempts on the target `id` end in `outcome`.
pub(crate) fn fail(snapshot: &Snapshot, id: &str, outcome: Outcome, count: usize) {
    let target = snapshot.find(id).unwrap();
    (0..count).for_each(|_| attempt(&target, LatencyKind::Stream).failed(outcome, "it went wrong."));
}

/// Makes attempts on the target `id` succeed after `millis` each. On a paused clock.
pub(crate) async fn succeed(snapshot: &Snapshot, id: &str, kind: LatencyKind, millis: &[u64]) {
    let target = snapshot.find(id).unwrap();
    for millis in millis {
        let mut attempt = attempt(&target, kind);
        tokio::time::advance(std::time::Duration::from_millis(*millis)).await;
        attempt.succeeded();
    }
}
