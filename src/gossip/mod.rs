//! What other gateways know of the targets, and what they are told: one task, by way of Redis.
//!
//! What happens to a target is published at once, what is measured twice a second, and a copy is kept for a moment for
//! gateways that come later. Everybody tells only what he saw himself, and all of it ([`message`]); what follows from all
//! words together is worked out without I/O ([`peer_view`], [`target_sync`]). A request leaves a note and goes on: nothing here is
//! ever waited for. While Redis is away each gateway is on its own, as if it were the only one.

pub mod message;
pub mod outbox;
pub mod peer_view;
mod probe_lease;
mod sync_task;
pub mod target_sync;

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::{message::PeerId, outbox::Outbox, sync_task::SyncTask};
use crate::{cluster::RedisClient, telemetry::metrics::Counter, upstream::Snapshot};

/// What is published, and the beginning of the keys.
const CHANNEL: &str = "concierge:targets";
/// How often figures are told.
const TICK: Duration = Duration::from_millis(500);
/// Ticks from one copy for those who come later to the next.
const TICKS_PER_COPY: u64 = 4;
/// Between two messages about what has happened: many failures at once are one piece of news.
const GAP: Duration = Duration::from_millis(10);

/// The line to the other gateways, and what went over it. Clones share it.
#[derive(Clone)]
pub struct Gossip(Arc<GossipInner>);

struct GossipInner {
    redis: RedisClient,
    me: PeerId,
    outbox: Outbox,
    meters: GossipMeters,
}

/// Messages, since start.
#[derive(Debug, Default)]
pub struct GossipMeters {
    /// Published.
    pub told: Counter,
    /// Of other gateways.
    pub heard: Counter,
    /// Of them, those that made no sense.
    pub unreadable: Counter,
}

impl Gossip {
    /// Nobody was told anything yet.
    pub fn new(redis: RedisClient) -> Self {
        // The id is sixteen hexadecimal digits.
        let me = u64::from_str_radix(redis.id().as_str(), 16).unwrap_or_else(|_| fastrand::u64(..));
        Self(Arc::new(GossipInner {
            redis,
            me: PeerId(me),
            outbox: Outbox::default(),
            meters: GossipMeters::default(),
        }))
    }

    /// What went over the line.
    pub fn meters(&self) -> &GossipMeters {
        &self.0.meters
    }

    /// Tells and hears for ever; `current` gives the configuration in force.
    pub async fn run(self, current: impl Fn() -> Arc<Snapshot>) {
        let GossipInner { redis, outbox, .. } = &*self.0;
        let (mut heard, mut news) = (redis.subscribe(CHANNEL), redis.watch());
        // Also if it was there before we looked.
        news.mark_changed();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = SyncTask::new(&self.0);
        let mut quiet_until = Instant::now();
        loop {
            select! {
                message = heard.recv() => match message {
                    Ok(message) => round.merge(&message, Instant::now(), &current()),
                    // What was missed is told again.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                notes = async { sleep_until(quiet_until).await; outbox.notes().await } => {
                    round.publish_changes(&notes, &current());
                    quiet_until = Instant::now() + GAP;
                    round.request_probe_lease(&notes, &current()).await;
                }
                _ = news.changed() => {
                    let up = news.borrow_and_update().up;
                    round.cluster_size(up, &current()).await;
                }
                _ = tick.tick() => round.publish_measurements(&current()).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
