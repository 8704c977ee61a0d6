//! The one door for all that needs a slot: clients' requests, their requests about memories, and the gateway's own embedding
//! calls.
//!
//! A request is first checked against its user's limits ([`Admission::check`]), and then waits for its slot
//! ([`Admission::acquire`]): a request over its limit must not wait for a slot first. [`local`] counts in this process, and
//! [`distributed`] over all gateways that share a Redis. Both count per user, and a user comes only from authentication;
//! neither knows what is asked of whom, nor how a refusal looks on the wire.
//!
//! Beside the door, [`process_limits`] bounds what the process takes on from all users together, and [`failed_auth`] counts
//! wrong keys, which belong to no user.

pub(crate) mod distributed;
pub(crate) mod failed_auth;
pub mod local;
pub(crate) mod process_limits;
pub(crate) mod rate_limit_headers;
pub mod request;
pub(crate) mod reservation;
pub(crate) mod slot;

use futures_util::FutureExt;
use tokio::select;
use tokio_util::sync::CancellationToken;

use self::{
    distributed::{DistributedDecision, DistributedLimits, RequestedLease},
    local::{
        rate::{RateCheck, RateLimits},
        slots::Slots,
        slots_view::SlotsView,
    },
    rate_limit_headers::RateHeaders,
    request::AdmissionRequest,
    reservation::{HeldTokens, Reservation},
    slot::{EarlySlot, Slot},
};
use crate::{
    cluster::RedisClient,
    config::{self, Config},
    refusal::{GatewayError, Refusal},
    tasks::Tasks,
    user::UserId,
};

/// Admits requests within their users' slots and limits.
pub struct Admission {
    slots: Slots,
    limits: RateLimits,
    /// The same over all gateways, if they share a Redis.
    distributed: Option<DistributedLimits>,
    draining: CancellationToken,
}

/// What came of the check of a request against the limits.
#[derive(Debug)]
pub struct RateDecision {
    /// What the request has now, or why it may not go on.
    pub verdict: Result<Counted, Refusal>,
    /// What is left of the limits after it.
    pub headers: RateHeaders,
}

/// A request that was counted, and has yet to get its slot.
#[derive(Debug)]
pub struct Counted {
    /// Its tokens.
    pub reservation: Reservation,
    /// Its slot, if that came along; for [`Admission::acquire`].
    pub early: Option<EarlySlot>,
}

/// A request that may run.
#[derive(Debug)]
pub struct Admitted {
    /// Its right to run.
    pub slot: Slot,
    /// Its tokens.
    pub reservation: Reservation,
}

impl Admission {
    /// All slots and limits of `config`, counted over `redis` if there is one. Nothing is used yet.
    pub fn new(config: &Config, redis: Option<RedisClient>, tasks: &Tasks) -> Self {
        Self {
            slots: Slots::new(&config.slots),
            limits: RateLimits::new(&config.limits),
            distributed: redis.map(|redis| DistributedLimits::new(config, redis, tasks)),
            draining: tasks.draining().clone(),
        }
    }

    /// `slots` of this process alone, without limits per minute, which go on while the gateway drains.
    pub fn slots_only(slots: &config::SlotsConfig) -> Self {
        Self {
            slots: Slots::new(slots),
            limits: RateLimits::new(&config::LimitsConfig::default()),
            distributed: None,
            draining: CancellationToken::new(),
        }
    }

    /// Other slots and limits from now on. What is held stays.
    pub fn reconfigure(&self, config: &Config) {
        self.slots.reconfigure(&config.slots);
        self.limits.reconfigure(&config.limits);
        if let Some(distributed) = &self.distributed {
            distributed.reconfigure(config);
        }
    }

    /// Both steps, for a caller that has nothing to do in between.
    ///
    /// # Errors
    /// Those of the steps.
    pub async fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Admitted, Refusal> {
        let Counted { reservation, early } = self.check(request).await.verdict?;
        Ok(Admitted { slot: self.acquire(request, early).await?, reservation })
    }

    /// Counts a request and holds back the tokens that it may cost. Where gateways share a Redis, which must be asked for both,
    /// its slot comes along if one is free.
    pub async fn check(&self, request: &AdmissionRequest<'_>) -> RateDecision {
        let Some(distributed) = &self.distributed else {
            let RateCheck { verdict, headers } = self.limits.check(request.user, request.cost);
            let held = verdict.map(HeldTokens::Local).map_err(Refusal::from);
            let verdict = held.map(|held| Counted::new(Reservation::new(request.cost, held), None));
            return RateDecision { verdict, headers };
        };
        let local = self.slots.take(request.user, request.operation);
        // On the heap: without a Redis nobody carries its room.
        let decision = distributed.check(request, local.is_some()).boxed().await;
        let DistributedDecision { verdict, headers, lease } = decision;
        let early = lease.zip(local).map(|(lease, local)| EarlySlot { lease, local });
        RateDecision { verdict: verdict.map(|reservation| Counted::new(reservation, early)), headers }
    }

    /// Waits for the slot of a request that was counted. `early` is what came along.
    ///
    /// # Errors
    /// The queue is full, the wait was too long, or Redis is away and must be asked. A request that still waits when the gateway
    /// drains has not begun, and can go elsewhere.
    pub async fn acquire(
        &self,
        request: &AdmissionRequest<'_>,
        early: Option<EarlySlot>,
    ) -> Result<Slot, Refusal> {
        let acquire = async {
            match &self.distributed {
                // On the heap: without a Redis nobody carries its room.
                Some(distributed) => self.acquire_distributed(distributed, request, early).boxed().await,
                None => {
                    let AdmissionRequest { user, operation, priority, .. } = *request;
                    Ok(Slot::new(self.slots.acquire(user, operation, priority).await?, None))
                }
            }
        };
        select! {
            biased;
            slot = acquire => slot,
            () = self.draining.cancelled() => Err(GatewayError::ShuttingDown.into()),
        }
    }

    /// A slot of this gateway comes first, and then a lease for it. Until that is granted, the request counts as waiting.
    async fn acquire_distributed(
        &self,
        distributed: &DistributedLimits,
        request: &AdmissionRequest<'_>,
        early: Option<EarlySlot>,
    ) -> Result<Slot, Refusal> {
        let deadline = distributed.queue_deadline();
        let EarlySlot { lease, mut local } = match early {
            Some(early) => early,
            None => {
                let local = self.slots.acquire(request.user, request.operation, request.priority).await?;
                EarlySlot { lease: RequestedLease::Pending(distributed.lease(request)), local }
            }
        };
        let granted = match lease {
            RequestedLease::Granted(granted) => granted,
            RequestedLease::Pending(lease) => {
                local.park();
                let granted = distributed.wait(lease, request, deadline).await?;
                local.activate();
                granted
            }
        };
        Ok(Slot::new(local, Some(granted)))
    }

    /// What an answer tells `user` of the limits: what was `counted` for it, or what is left if nothing was.
    pub async fn rate_headers(&self, user: &UserId, counted: RateHeaders) -> RateHeaders {
        match &self.distributed {
            _ if counted != RateHeaders::default() => counted,
            // On the heap: without a Redis nobody carries its room.
            Some(distributed) => distributed.remaining(user).boxed().await,
            None => self.limits.remaining(user),
        }
    }

    /// Slots in use and waiting requests in this gateway.
    pub fn slots_view(&self) -> SlotsView {
        self.slots.view()
    }

    /// Leases that Redis did not know of and that were entered anew: it had lost them, or was away when they began.
    pub fn leases_restored(&self) -> u64 {
        self.distributed.as_ref().map_or(0, DistributedLimits::leases_restored)
    }

    /// Tells Redis of all that has ended; for the end of the process.
    pub async fn close(&self) {
        if let Some(distributed) = &self.distributed {
            distributed.close().await;
        }
    }
}

impl Counted {
    fn new(reservation: Reservation, early: Option<EarlySlot>) -> Self {
        Self { reservation, early }
    }
}
