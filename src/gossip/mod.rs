//! What gateways report to each other of the targets: one task, by way of Redis.
//!
//! What happens to a target is published at once, what is measured twice a second, and a copy is kept for a moment for
//! gateways that come later. A gateway reports only what it saw itself, and all of it ([`message`]). What follows from all
//! reports together is worked out without I/O ([`peer_view`]) and given to `upstream` as plain evidence ([`target_sync`]).
//! A request leaves a note and goes on: nothing here is ever waited for. While Redis is away each gateway is on its own,
//! as if it were the only one.

pub(crate) mod message;
pub(crate) mod peer_view;
mod probe_lease;
mod sync_task;
pub(crate) mod target_sync;

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::sync_task::SyncTask;
use crate::{
    cluster::RedisClient,
    telemetry::metrics::Counter,
    upstream::{ChangeNotifier, Snapshot, health::peer_evidence::PeerId},
};

/// What is published, and the beginning of the keys.
const CHANNEL: &str = "concierge:targets";
/// How often figures are published.
const TICK: Duration = Duration::from_millis(500);
/// Ticks from one copy for gateways that come later to the next.
const TICKS_PER_COPY: u64 = 4;
/// Between two messages about what has happened: many failures at once are one piece of news.
const GAP: Duration = Duration::from_millis(10);

/// The channel to the other gateways, and what went over it. Clones share it.
#[derive(Clone)]
pub(crate) struct Gossip(Arc<GossipInner>);

struct GossipInner {
    redis: RedisClient,
    me: PeerId,
    notifier: ChangeNotifier,
    meters: GossipMeters,
}

/// Messages, since start.
#[derive(Debug, Default)]
pub(crate) struct GossipMeters {
    /// Published.
    pub published: Counter,
    /// Of other gateways.
    pub received: Counter,
    /// Of them, those that made no sense.
    pub unreadable: Counter,
}

impl Gossip {
    /// Nothing was published yet.
    pub(crate) fn new(redis: RedisClient) -> Self {
        // The id is sixteen hexadecimal digits.
        let me = u64::from_str_radix(redis.id().as_str(), 16).unwrap_or_else(|_| fastrand::u64(..));
        Self(Arc::new(GossipInner {
            redis,
            me: PeerId(me),
            notifier: ChangeNotifier::default(),
            meters: GossipMeters::default(),
        }))
    }

    /// What went over the channel.
    pub(crate) fn meters(&self) -> &GossipMeters {
        &self.0.meters
    }

    /// Publishes and merges for ever; `current` gives the configuration in force.
    pub(crate) async fn run(self, current: impl Fn() -> Arc<Snapshot>) {
        let GossipInner { redis, notifier, .. } = &*self.0;
        let (mut messages, mut connection) = (redis.subscribe(CHANNEL), redis.watch());
        // Also if it was there before we looked.
        connection.mark_changed();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut task = SyncTask::new(&self.0);
        let mut quiet_until = Instant::now();
        loop {
            select! {
                message = messages.recv() => match message {
                    Ok(message) => task.merge(&message, Instant::now(), &current()),
                    // What was missed is published again.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                pending = async { sleep_until(quiet_until).await; notifier.pending().await } => {
                    task.publish_changes(&pending, &current());
                    quiet_until = Instant::now() + GAP;
                    task.request_probe_lease(&pending, &current()).await;
                }
                _ = connection.changed() => {
                    let up = connection.borrow_and_update().up;
                    task.connection_changed(up, &current()).await;
                }
                _ = tick.tick() => task.publish_measurements(&current()).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
