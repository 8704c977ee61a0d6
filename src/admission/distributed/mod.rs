//! Slots and limits that several gateways share.
//!
//! This gateway's own queue comes first: it orders this gateway's requests and costs nothing. A request that has one of its
//! slots then takes a *lease* in Redis, which holds the limits over all gateways; it ends with the request, or by itself 30 s
//! after its gateway has died. Requests a minute and tokens are counted in the same call. What Redis does, one atomic script
//! per step, is in the files `*.lua`; [`lease_table`] knows what this gateway holds there, and [`lease_sync`] tells Redis of it.
//!
//! While Redis is away, [`local_fallback`] lets this gateway's share of the limits go on, or all are refused: `redis.on_error`.
//! A request that runs is never ended for the sake of a count.

mod acquire_script;
mod lease_sync;
mod lease_table;
mod lease_wait;
mod limit_policy;
mod local_fallback;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub(crate) use self::lease_table::{Lease, TokenHold};
use self::{
    acquire_script::{AcquireReply, AcquireRequest, AcquireVerdict, SlotReply},
    lease_table::{LeaseKey, LeaseTable},
    limit_policy::LimitPolicy,
    local_fallback::LocalFallback,
};
use super::{
    local::{rate::RateCheck, slots::LocalSlot},
    rate_limit_headers::RateHeaders,
    request::{AdmissionRequest, TokenCost},
    reservation::{HeldTokens, Reservation},
};
use crate::{
    cluster::{RedisClient, RedisUnavailable, UserKey},
    config::{Config, OnError},
    refusal::{AdmissionError, Refusal},
    tasks::Tasks,
    user::UserId,
};

/// Slots and limits over all gateways.
pub(crate) struct DistributedLimits {
    table: Arc<LeaseTable>,
    fallback: LocalFallback,
    policy: ArcSwap<LimitPolicy>,
}

/// What came of the check of a request against the limits.
#[derive(Debug)]
pub(crate) struct DistributedDecision {
    /// The tokens that are held back for it, or why it may not go on.
    pub verdict: Result<Reservation, Refusal>,
    /// What is left of the limits after it.
    pub headers: RateHeaders,
    /// The lease, if one was asked for.
    pub lease: Option<RequestedLease>,
}

/// A lease that Redis was asked for, or is about to be.
#[derive(Debug)]
pub(crate) enum RequestedLease {
    /// It is ours.
    Granted(Box<GrantedLease>),
    /// It has to be waited for: see [`DistributedLimits::wait`].
    Pending(Box<Lease>),
}

/// A lease that is ours; given back when dropped.
#[derive(Debug)]
pub(crate) struct GrantedLease {
    /// Dropped first, so that whoever gets the place in the share finds the lease given back.
    _lease: Lease,
    /// Its place in this gateway's share of the slots.
    _share: LocalSlot,
}

impl DistributedLimits {
    /// All that `config` allows, counted over `redis`.
    pub(crate) fn new(config: &Config, redis: RedisClient, tasks: &Tasks) -> Self {
        let policy = LimitPolicy::from(config);
        let table = LeaseTable::new(redis);
        lease_sync::start(&table, tasks);
        Self { table, fallback: LocalFallback::new(&policy), policy: ArcSwap::from_pointee(policy) }
    }

    /// Other limits from now on.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.policy.store(Arc::new(LimitPolicy::from(config)));
    }

    /// Counts a request, holds back its tokens and, if it `wants_lease`, takes one: all in one call of Redis.
    pub(crate) async fn check(
        &self,
        request: &AdmissionRequest<'_>,
        wants_lease: bool,
    ) -> DistributedDecision {
        let policy = self.policy.load_full();
        if !wants_lease && !policy.limits_anything() {
            return DistributedDecision::new(Ok(Reservation::default()), RateHeaders::default(), None);
        }
        let user = UserKey::new(request.user);
        let mut lease = wants_lease.then(|| self.lease_for(user, request));
        let number = lease.as_ref().map_or_else(|| self.table.number(), |lease| lease.number);
        let hold = self.hold(&policy, (user, number), request.cost);
        let acquire = AcquireRequest {
            number,
            counts: true,
            hold: hold.as_ref().map(|hold| hold.tokens),
            slot: lease.as_mut().map(|lease| lease.slot_request(&policy, request.priority)),
            ..AcquireRequest::for_limits(user, &policy.limits)
        };
        match self.table.acquire(&acquire).await {
            Ok(reply) => self.decide(&policy, (reply, request), hold, lease),
            Err(RedisUnavailable) if self.fails_closed() => DistributedDecision::new(
                Err(AdmissionError::LimitsUnavailable.into()),
                RateHeaders::default(),
                None,
            ),
            Err(RedisUnavailable) => {
                let limits = self.fallback.limits(&policy, self.gateways());
                let RateCheck { verdict, headers } = limits.check(request.user, request.cost);
                let reserved = |held| Reservation::new(request.cost, HeldTokens::Local(held));
                let verdict = verdict.map(reserved).map_err(Refusal::from);
                DistributedDecision::new(verdict, headers, lease.map(RequestedLease::Pending))
            }
        }
    }

    /// What Redis has decided.
    fn decide(
        &self,
        policy: &LimitPolicy,
        (reply, request): (AcquireReply, &AdmissionRequest<'_>),
        hold: Option<TokenHold>,
        lease: Option<Box<Lease>>,
    ) -> DistributedDecision {
        let headers = reply.headers(&policy.limits);
        if let AcquireVerdict::Refused(refusal) = reply.verdict {
            // Nothing was held for it.
            hold.into_iter().for_each(TokenHold::forget);
            lease.into_iter().for_each(|lease| lease.forget());
            return DistributedDecision::new(Err(refusal.into()), headers, None);
        }
        let held = hold.map(|hold| HeldTokens::Shared(hold.confirmed())).unwrap_or_default();
        let lease = lease.map(|mut lease| {
            lease.apply_reply(reply.slot, reply.now);
            match reply.slot {
                SlotReply::Granted => RequestedLease::Granted(self.granted(*lease, request)),
                SlotReply::Nothing | SlotReply::Waits(..) | SlotReply::Full(..) | SlotReply::Shut => {
                    RequestedLease::Pending(lease)
                }
            }
        });
        DistributedDecision::new(Ok(Reservation::new(request.cost, held)), headers, lease)
    }

    /// A lease that was not asked for yet.
    pub(crate) fn lease(&self, request: &AdmissionRequest<'_>) -> Box<Lease> {
        self.lease_for(UserKey::new(request.user), request)
    }

    /// Waits until `lease` is granted or has a place in this gateway's share.
    ///
    /// # Errors
    /// The queue is full, the deadline has passed, or Redis is away and must be asked.
    pub(crate) async fn wait(
        &self,
        lease: Box<Lease>,
        request: &AdmissionRequest<'_>,
        deadline: Instant,
    ) -> Result<Box<GrantedLease>, Refusal> {
        lease_wait::wait(self, lease, (request, deadline)).await
    }

    /// When a request that comes now has waited for too long.
    pub(crate) fn queue_deadline(&self) -> Instant {
        Instant::now() + self.policy.load().slots.queue_timeout
    }

    /// What `user` has left of the limits; counts nothing.
    pub(crate) async fn remaining(&self, user: &UserId) -> RateHeaders {
        let policy = self.policy.load_full();
        if !policy.limits_anything() {
            return RateHeaders::default();
        }
        match self.table.acquire(&AcquireRequest::for_limits(UserKey::new(user), &policy.limits)).await {
            Ok(reply) => reply.headers(&policy.limits),
            Err(RedisUnavailable) if self.fails_closed() => RateHeaders::default(),
            Err(RedisUnavailable) => self.fallback.limits(&policy, self.gateways()).remaining(user),
        }
    }

    /// Leases that Redis did not know of and that were entered anew: it had lost them, or was away when they began.
    pub(crate) fn leases_restored(&self) -> u64 {
        self.table.restored.get()
    }

    /// Tells Redis of all that has ended; for the end of the process.
    pub(crate) async fn close(&self) {
        lease_sync::flush_releases(&self.table).await;
    }

    fn lease_for(&self, user: UserKey, request: &AdmissionRequest<'_>) -> Box<Lease> {
        Box::new(Lease::new(&self.table, LeaseKey { user, operation: request.operation }))
    }

    /// Redis has granted `lease`: it takes its place in this gateway's share, whether or not one is free there.
    fn granted(&self, lease: Lease, request: &AdmissionRequest<'_>) -> Box<GrantedLease> {
        GrantedLease::new(lease, self.fallback.occupy(request.user, request.operation), true)
    }

    /// Whether all are refused while Redis is away.
    fn fails_closed(&self) -> bool {
        self.table.redis.on_error() == OnError::Closed
    }

    fn gateways(&self) -> usize {
        self.table.redis.gateways()
    }

    /// Tokens that are to be held back, if they are limited.
    fn hold(
        &self,
        policy: &LimitPolicy,
        (user, number): (UserKey, u64),
        cost: Option<TokenCost>,
    ) -> Option<TokenHold> {
        let limit = u64::from(policy.limits.tokens_per_minute?);
        Some(TokenHold::new(&self.table, (user, number), cost?.reserved(limit).min(limit), limit))
    }
}

impl DistributedDecision {
    fn new(
        verdict: Result<Reservation, Refusal>,
        headers: RateHeaders,
        lease: Option<RequestedLease>,
    ) -> Self {
        Self { verdict, headers, lease }
    }
}

impl GrantedLease {
    /// `reported` if Redis knows.
    fn new(lease: Lease, share: LocalSlot, reported: bool) -> Box<Self> {
        lease.record_grant(reported);
        Box::new(Self { _lease: lease, _share: share })
    }
}
