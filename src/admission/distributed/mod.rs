//! Slots and limits that several gateways share.
//!
//! This gateway's own queue comes first: it orders this gateway's requests and costs nothing. Who has one of its slots then
//! takes a *lease* in Redis, which holds the limits over all gateways; it ends with the request, or by itself 30 s after its
//! gateway has died. Requests a minute and tokens are counted in the same question. What Redis does, one atomic script
//! per step, is in the files `*.lua`; [`lease_table`] knows what this gateway holds there, and [`lease_sync`] tells Redis of it.
//!
//! While Redis is away, [`local_fallback`] lets this gateway's share of the limits go on, or all are refused: `redis.on_error`.
//! A request that runs is never ended for the sake of a count.

mod acquire_script;
mod lease_sync;
mod lease_table;
mod lease_wait;
mod local_fallback;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub use self::lease_table::{Lease, TokenHold};
use self::{
    acquire_script::{AcquireReply, AcquireRequest, AcquireVerdict, SlotReply},
    lease_table::{LeaseKey, LeaseTable},
    local_fallback::LocalFallback,
};
use super::{
    Operation,
    local::{
        rate::{RateCheck, RateRefusal, Reservation, TokenCost},
        slots::{Slot, Slots},
    },
    rate_limit_headers::RateHeaders,
};
use crate::{
    cluster::{RedisClient, UserKey},
    config::{self, Config, OnError},
    tasks::Tasks,
    user::UserId,
};

/// What somebody asks for.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionRequest<'a> {
    /// Who.
    pub user: &'a UserId,
    /// A slot for what.
    pub operation: Operation,
    /// A higher one leaves the queue first.
    pub priority: i64,
    /// What it may cost in tokens; `None` if no model reads it.
    pub cost: Option<TokenCost>,
}

/// A request that was counted.
#[derive(Debug)]
pub struct RateDecision {
    /// Whether it may go on, and what is left of the limits.
    pub checked: RateCheck,
    /// Its slot, if one of this gateway's was free at once; for [`DistributedLimits::acquire`], which knows whether it is whole.
    pub slot: Option<Slot>,
}

/// What the configuration allows, over all gateways.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitPolicy {
    slots: config::Slots,
    limits: config::Limits,
}

/// Slots and limits over all gateways.
pub struct DistributedLimits {
    table: Arc<LeaseTable>,
    reserve: LocalFallback,
    terms: ArcSwap<LimitPolicy>,
}

impl From<&Config> for LimitPolicy {
    fn from(config: &Config) -> Self {
        Self { slots: config.slots.clone(), limits: config.limits.clone() }
    }
}

impl LimitPolicy {
    fn limits_anything(&self) -> bool {
        self.limits != config::Limits::default()
    }

    fn local_only(&self, operation: Operation) -> u32 {
        self.slots.limit(operation)
    }

    /// What is asked of Redis about the limits of a minute.
    fn acquire_request(&self, user: UserKey) -> AcquireRequest {
        AcquireRequest {
            requests: self.limits.requests_per_minute.unwrap_or(0),
            tokens: self.limits.tokens_per_minute.unwrap_or(0),
            ..AcquireRequest::about(user)
        }
    }
}

impl DistributedLimits {
    /// All that `config` allows, counted over `link`.
    pub fn new(config: &Config, redis: RedisClient, tasks: &Tasks) -> Self {
        let terms = LimitPolicy::from(config);
        let table = LeaseTable::new(redis);
        lease_sync::start(&table, tasks);
        Self { table, reserve: LocalFallback::new(&terms), terms: ArcSwap::from_pointee(terms) }
    }

    /// Other limits from now on.
    pub fn reconfigure(&self, config: &Config) {
        self.terms.store(Arc::new(LimitPolicy::from(config)));
    }

    /// Counts a request, holds back its tokens and, if one of this gateway's `slots` is free at once, takes a lease for it:
    /// all in one question to Redis.
    pub async fn enter(&self, slots: &Slots, request: &AdmissionRequest<'_>) -> RateDecision {
        let terms = self.terms.load_full();
        let slot = slots.take(request.user, request.operation);
        let user = UserKey::of(request.user);
        let mut lease =
            slot.as_ref().map(|_| Lease::new(&self.table, LeaseKey { user, operation: request.operation }));
        if lease.is_none() && !terms.limits_anything() {
            return RateDecision::counted(Ok(Reservation::default()), RateHeaders::default(), None);
        }
        let number = lease.as_ref().map_or_else(|| self.table.number(), |lease| lease.number);
        let hold = self.hold(&terms, (user, number), request.cost);
        let question = AcquireRequest {
            number,
            counts: true,
            hold: hold.as_ref().map(|hold| hold.tokens),
            slot: lease.as_mut().map(|lease| lease.wanted(&terms, request.priority)),
            ..terms.acquire_request(user)
        };
        match self.table.ask(&question).await {
            Ok(answer) => self.entered(&terms, (answer, request), hold, slot.zip(lease)),
            Err(_) if self.table.redis.on_error() == OnError::Closed => {
                RateDecision::counted(Err(RateRefusal::Away), RateHeaders::default(), None)
            }
            Err(_) => {
                let RateCheck { verdict, headers } =
                    self.reserve.limits(&terms, self.gateways()).check(request.user, request.cost);
                let slot = slot.zip(lease).map(|(slot, lease)| slot.with(lease));
                RateDecision::counted(verdict, headers, slot)
            }
        }
    }

    /// A slot for which there is a lease as well, within `queue_timeout`. `early` is what [`DistributedLimits::enter`] gave.
    ///
    /// # Errors
    /// [`super::local::slots::SlotRefusal`]: the queue is full, the wait was too long, or Redis is away and must be asked.
    pub async fn acquire(
        &self,
        slots: &Slots,
        request: &AdmissionRequest<'_>,
        early: Option<Slot>,
    ) -> Result<Slot, super::local::slots::SlotRefusal> {
        let deadline = Instant::now() + self.terms.load().slots.queue_timeout;
        let mut slot = match early {
            Some(slot) => slot,
            None => slots.acquire(request.user, request.operation, request.priority).await?,
        };
        let lease = slot.lease.take().unwrap_or_else(|| {
            let place = LeaseKey { user: UserKey::of(request.user), operation: request.operation };
            Box::new(Lease::new(&self.table, place))
        });
        if lease.is_granted() {
            return Ok(slot.with(lease));
        }
        lease_wait::wait(self, slot, lease, (request, deadline)).await
    }

    /// What `user` has left of the limits; counts nothing.
    pub async fn standing(&self, user: &UserId) -> RateHeaders {
        let terms = self.terms.load_full();
        if !terms.limits_anything() {
            return RateHeaders::default();
        }
        match self.table.ask(&terms.acquire_request(UserKey::of(user))).await {
            Ok(answer) => answer.headers(&terms.limits),
            Err(_) if self.table.redis.on_error() == OnError::Closed => RateHeaders::default(),
            Err(_) => self.reserve.limits(&terms, self.gateways()).standing(user),
        }
    }

    /// Leases that Redis did not know of and that were entered anew: it had lost them, or was away when they began.
    pub fn leases_restored(&self) -> u64 {
        self.table.restored.get()
    }

    /// Tells Redis of all that has ended; for the end of the process.
    pub async fn close(&self) {
        lease_sync::flush_releases(&self.table).await;
    }

    fn gateways(&self) -> usize {
        self.table.redis.gateways()
    }

    /// Tokens that are to be held back, if they are limited.
    fn hold(
        &self,
        terms: &LimitPolicy,
        (user, number): (UserKey, u64),
        cost: Option<TokenCost>,
    ) -> Option<TokenHold> {
        let limit = u64::from(terms.limits.tokens_per_minute?);
        Some(TokenHold::new(&self.table, (user, number), cost?.reserved(limit).min(limit), limit))
    }

    /// What Redis has answered.
    fn entered(
        &self,
        terms: &LimitPolicy,
        (answer, request): (AcquireReply, &AdmissionRequest<'_>),
        hold: Option<TokenHold>,
        taken: Option<(Slot, Lease)>,
    ) -> RateDecision {
        let headers = answer.headers(&terms.limits);
        if let AcquireVerdict::Refused(refusal) = answer.verdict {
            // Nothing was held for it.
            hold.into_iter().for_each(TokenHold::forget);
            taken.into_iter().for_each(|(_, lease)| lease.clear());
            return RateDecision::counted(Err(refusal), headers, None);
        }
        let hold = hold.map(TokenHold::confirmed);
        let reservation = Reservation::shared(request.cost.unwrap_or_default(), hold);
        let slot = taken.map(|(slot, mut lease)| {
            lease.apply_reply(answer.slot, answer.now);
            if answer.slot == SlotReply::Granted {
                lease.granted(self.reserve.occupy(request.user, request.operation), true);
            }
            slot.with(lease)
        });
        RateDecision::counted(Ok(reservation), headers, slot)
    }
}

impl RateDecision {
    fn counted(verdict: Result<Reservation, RateRefusal>, headers: RateHeaders, slot: Option<Slot>) -> Self {
        Self { checked: RateCheck { verdict, headers }, slot }
    }
}

impl From<RateCheck> for RateDecision {
    fn from(checked: RateCheck) -> Self {
        Self { checked, slot: None }
    }
}
