//! Memories that are older than `memory.retention` are forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    engine::Engine,
    store::{Forget, StoreError, UnixMillis},
};

/// Between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Sweeps for ever.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut hours = interval(SWEEP_INTERVAL);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hours.tick().await;
        let Some(kept) = engine.settings.load().retention else { continue };
        let Some(before) = SystemTime::now().checked_sub(kept) else { continue };
        if let Err(error) = engine.count_outage(sweep(&engine, before.into()).await) {
            tracing::warn!(%error, "retention sweep failed");
        }
    }
}

/// Forgets what was said before `before`.
pub(crate) async fn sweep(engine: &Engine, before: UnixMillis) -> Result<(), StoreError> {
    for user in engine.store.users_with_older(before).await? {
        engine.forget(user, Forget::Matching { session: None, before: Some(before) }).await?;
    }
    engine.store.compact().await.map(drop)
}
