//! What this gateway holds in Redis, and what is to be released there.
//!
//! [`Lease`] and [`TokenHold`] are guards: dropping one, for whatever reason, puts a release into the outbox, also while the call
//! that would have acquired it is still on its way. Releases go out in order on one connection, so what is given back is never
//! taken afterwards. The outbox and the tables take no await.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    acquire_script::{SlotReply, SlotRequest},
    limit_policy::LimitPolicy,
};
use crate::{
    admission::{local::release_rate::ReleaseRate, request::Operation},
    cluster::{RedisClient, UserKey},
    telemetry::metrics::Counter,
};

/// How long a lease lasts that nobody renews.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// Releases that wait for Redis. Of what does not fit, leases end by themselves, and tokens are not counted.
const MAX_RELEASES: usize = 50_000;

/// Everything that this gateway holds in Redis, and the outbox.
pub(crate) struct LeaseTable {
    pub redis: RedisClient,
    next: AtomicU64,
    /// Leases that were granted, by number.
    pub leases: Mutex<HashMap<u64, HeldLease<LeaseKey>>>,
    /// Tokens that are held back, by number.
    pub holds: Mutex<HashMap<u64, HeldLease<(UserKey, u64)>>>,
    pub releases: Mutex<VecDeque<ReleaseMessage>>,
    /// There are releases.
    pub release_queued: Notify,
    /// What is held is to be renewed now.
    pub due: Notify,
    /// The generation in which all of it was renewed.
    pub generation: AtomicI64,
    /// The requests that wait for a lease.
    pub waiting: Mutex<LeaseWaiters>,
    /// Leases that Redis did not know of.
    pub restored: Counter,
    /// Held while releases or renewals are sent.
    pub turn: tokio::sync::Mutex<()>,
}

/// Requests that wait for a lease, and how fast leases become free.
#[derive(Default)]
pub(crate) struct LeaseWaiters {
    /// By number.
    pub wake_handles: HashMap<u64, Arc<Notify>>,
    pub release_rate: ReleaseRate,
}

/// The user and the operation that slots belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseKey {
    pub user: UserKey,
    pub operation: Operation,
}

/// Something that is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldLease<T> {
    pub what: T,
    /// Redis knows of it, or is being told.
    pub reported: bool,
}

/// What is to be released in Redis.
#[derive(Debug, Clone)]
pub(crate) enum ReleaseMessage {
    /// A slot is free, or its waiter has left.
    Slot { key: LeaseKey, number: u64 },
    /// Tokens are held back no more, and so many were spent.
    Tokens { user: UserKey, number: u64, held: u64, spent: u64, limit: u64, again: bool },
}

/// The right to one slot of those that all gateways share; given back when dropped.
pub(crate) struct Lease {
    table: Arc<LeaseTable>,
    /// Of the request, in this gateway.
    pub number: u64,
    key: LeaseKey,
    /// Redis may know of it.
    asked: bool,
    /// The last reply of Redis that nobody has acted on.
    pub last_reply: Option<SlotReply>,
    /// When it was asked for first, in the server's milliseconds; 0: not yet.
    arrival: i64,
}

/// Tokens that are held back for one call in Redis; given back when dropped, less those that were spent.
#[derive(Debug)]
pub(crate) struct TokenHold {
    table: Option<Arc<LeaseTable>>,
    user: UserKey,
    number: u64,
    /// How many.
    pub tokens: u64,
    limit: u64,
    spent: u64,
}

impl LeaseKey {
    /// The beginning of its keys in Redis.
    pub(crate) fn prefix(&self) -> String {
        format!("concierge:u:{}:{}", self.user, self.operation.as_str())
    }
}

impl LeaseTable {
    pub(crate) fn new(redis: RedisClient) -> Arc<Self> {
        Arc::new(Self {
            redis,
            next: AtomicU64::new(1),
            leases: Mutex::default(),
            holds: Mutex::default(),
            releases: Mutex::default(),
            release_queued: Notify::new(),
            due: Notify::new(),
            generation: AtomicI64::new(0),
            waiting: Mutex::default(),
            restored: Counter::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// A number that no other request of this gateway has.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// What `number` is called in Redis.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{}:{number}", self.redis.id())
    }

    /// Redis is in the generation that `began` then; in a new one all that is held must be renewed.
    pub(crate) fn observe_generation(&self, began: i64) {
        if began != 0 && began != self.generation.load(Relaxed) {
            self.due.notify_one();
        }
    }

    fn enqueue_release(&self, release: ReleaseMessage) {
        let mut releases = self.releases.lock();
        if releases.len() >= MAX_RELEASES {
            releases.pop_front();
        }
        releases.push_back(release);
        drop(releases);
        self.release_queued.notify_one();
    }
}

impl Lease {
    /// One that was not asked for yet.
    pub(crate) fn new(table: &Arc<LeaseTable>, key: LeaseKey) -> Self {
        Self { table: table.clone(), number: table.number(), key, asked: false, last_reply: None, arrival: 0 }
    }

    /// How it is asked for; from here on Redis may know of it.
    pub(crate) fn slot_request(&mut self, policy: &LimitPolicy, priority: i64) -> SlotRequest {
        self.asked = true;
        SlotRequest {
            operation: self.key.operation,
            own: policy.per_user(self.key.operation),
            all: policy.slots.total,
            queue: policy.slots.queue,
            arrival: self.arrival,
            priority,
        }
    }

    /// Redis has replied this, at its time `now`.
    pub(crate) fn apply_reply(&mut self, reply: SlotReply, now: i64) {
        self.last_reply = Some(reply);
        if self.arrival == 0 {
            self.arrival = now;
        }
    }

    /// It is ours; `reported` if Redis knows.
    pub(crate) fn record_grant(&self, reported: bool) {
        self.table.leases.lock().insert(self.number, HeldLease { what: self.key, reported });
    }

    #[cfg(test)]
    pub(crate) fn user(&self) -> UserKey {
        self.key.user
    }

    /// Redis does not know of it.
    pub(crate) fn forget(mut self) {
        self.asked = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let held = self.table.leases.lock().remove(&self.number);
        if self.asked || held.is_some_and(|held| held.reported) {
            self.table.enqueue_release(ReleaseMessage::Slot { key: self.key, number: self.number });
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("number", &self.number).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LeaseTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseTable").finish_non_exhaustive()
    }
}

impl TokenHold {
    /// `tokens` of `limit` a minute, which Redis is about to be asked for.
    pub(crate) fn new(
        table: &Arc<LeaseTable>,
        (user, number): (UserKey, u64),
        tokens: u64,
        limit: u64,
    ) -> Self {
        Self { table: Some(table.clone()), user, number, tokens, limit, spent: 0 }
    }

    /// Redis holds them back.
    pub(crate) fn confirmed(self) -> Self {
        if let Some(table) = &self.table {
            let held = HeldLease { what: (self.user, self.tokens), reported: true };
            table.holds.lock().insert(self.number, held);
        }
        self
    }

    /// Redis does not.
    pub(crate) fn forget(mut self) {
        self.table = None;
    }

    /// The call is over and has cost `spent`.
    pub(crate) fn settle(mut self, spent: u64) {
        self.spent = spent;
    }
}

impl Drop for TokenHold {
    fn drop(&mut self) {
        let Some(table) = self.table.take() else { return };
        table.holds.lock().remove(&self.number);
        table.enqueue_release(ReleaseMessage::Tokens {
            user: self.user,
            number: self.number,
            held: self.tokens,
            spent: self.spent,
            limit: self.limit,
            again: false,
        });
    }
}
