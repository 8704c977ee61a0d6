//! The wait for a lease: asks Redis again when it is woken or now and then, and goes on by itself while Redis is away.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    DistributedLimits, GrantedLease,
    acquire_script::{AcquireRequest, SlotReply},
    lease_table::{Lease, LeaseTable},
};
use crate::{
    admission::{
        local::{
            queue::{Limit, QueueRefusal},
            slots::{LocalSlot, SlotRefusal, WaitOutcome},
        },
        request::AdmissionRequest,
    },
    cluster::{RedisUnavailable, UserKey},
    refusal::{AdmissionError, Refusal},
};

/// Until a waiter that is not woken asks again: first,
const POLL_SOON: Duration = Duration::from_millis(100);
/// and later. Redis forgets a waiter that has not asked for six times as long.
const RENEW_WAIT: Duration = Duration::from_millis(250);

/// Waits until `lease` is granted. `lease` knows what Redis has replied already.
pub(crate) async fn wait(
    distributed: &DistributedLimits,
    mut lease: Box<Lease>,
    (request, deadline): (&AdmissionRequest<'_>, Instant),
) -> Result<Box<GrantedLease>, Refusal> {
    let wake = WakeHandle::register(&distributed.table, lease.number);
    let mut waiter = LeaseWaiter { distributed, request, deadline, wake, share: None, pause: POLL_SOON };
    loop {
        let reply = match lease.last_reply.take() {
            Some(reply) => Ok(reply),
            None => ask(distributed, &mut lease, request).await,
        };
        let closed = distributed.fails_closed();
        match reply {
            Ok(SlotReply::Granted) => {
                waiter.wake.record_release();
                return Ok(distributed.granted(*lease, request));
            }
            Ok(SlotReply::Full(by, ahead)) => {
                return Err(refused(&distributed.table, (by, ahead), WaitOutcome::Full).into());
            }
            Ok(SlotReply::Waits(by, ahead)) => waiter.wait_for_turn(by, ahead).await?,
            Err(RedisUnavailable) if closed => return Err(AdmissionError::LimitsUnavailable.into()),
            Ok(SlotReply::Shut | SlotReply::Nothing) if closed => {
                waiter.wait_for_turn(Limit::Total, 0).await?;
            }
            Ok(SlotReply::Shut | SlotReply::Nothing) | Err(RedisUnavailable) => {
                if let Some(share) = waiter.wait_for_share().await? {
                    return Ok(GrantedLease::new(*lease, share, false));
                }
            }
        }
    }
}

/// A request that has a slot of this gateway, and none yet of all gateways.
struct LeaseWaiter<'a> {
    distributed: &'a DistributedLimits,
    request: &'a AdmissionRequest<'a>,
    deadline: Instant,
    wake: WakeHandle<'a>,
    /// Its place in the queue for this gateway's share.
    share: Option<BoxFuture<'a, Result<LocalSlot, SlotRefusal>>>,
    pause: Duration,
}

impl LeaseWaiter<'_> {
    /// Waits until it is worth asking Redis again; `ahead` are before us.
    async fn wait_for_turn(&mut self, by: Limit, ahead: usize) -> Result<(), SlotRefusal> {
        self.share = None;
        select! {
            () = self.wake.notify.notified() => {}
            () = sleep(self.pause) => self.pause = RENEW_WAIT,
            () = sleep_until(self.deadline) => return Err(refused(&self.distributed.table, (by, ahead), WaitOutcome::Late)),
        }
        Ok(())
    }

    /// Waits for a place in this gateway's share, for so long that Redis may be back.
    async fn wait_for_share(&mut self) -> Result<Option<LocalSlot>, SlotRefusal> {
        let (distributed, request) = (self.distributed, self.request);
        let slots = distributed.fallback.slots(&distributed.policy.load(), distributed.gateways());
        let share = self
            .share
            .get_or_insert_with(|| slots.acquire(request.user, request.operation, request.priority).boxed());
        select! {
            granted = share => granted.map(Some),
            () = sleep(RENEW_WAIT) => Ok(None),
            () = sleep_until(self.deadline) => Err(refused(&distributed.table, (Limit::Total, 0), WaitOutcome::Late)),
        }
    }
}

async fn ask(
    distributed: &DistributedLimits,
    lease: &mut Lease,
    request: &AdmissionRequest<'_>,
) -> Result<SlotReply, RedisUnavailable> {
    let slot = lease.slot_request(&distributed.policy.load_full(), request.priority);
    let acquire = AcquireRequest::for_slot(UserKey::new(request.user), lease.number, slot);
    let reply = distributed.table.acquire(&acquire).await?;
    lease.apply_reply(reply.slot, reply.now);
    Ok(lease.last_reply.take().unwrap_or(reply.slot))
}

fn refused(table: &LeaseTable, (by, ahead): (Limit, usize), outcome: WaitOutcome) -> SlotRefusal {
    let retry_after = table.waiting.lock().release_rate.estimated_wait(ahead + 1, Instant::now());
    SlotRefusal::new(QueueRefusal { by, retry_after }, outcome)
}

/// Notified when Redis has a lease for us; taken out of the table when dropped.
struct WakeHandle<'a> {
    table: &'a LeaseTable,
    number: u64,
    notify: Arc<Notify>,
}

impl<'a> WakeHandle<'a> {
    fn register(table: &'a LeaseTable, number: u64) -> Self {
        let notify = Arc::new(Notify::new());
        let mut waiting = table.waiting.lock();
        waiting.wake_handles.insert(number, notify.clone());
        waiting.release_rate.begin(Instant::now());
        drop(waiting);
        Self { table, number, notify }
    }

    /// A lease became free for us.
    fn record_release(&self) {
        self.table.waiting.lock().release_rate.record_release(Instant::now());
    }
}

impl Drop for WakeHandle<'_> {
    fn drop(&mut self) {
        let mut waiting = self.table.waiting.lock();
        waiting.wake_handles.remove(&self.number);
        if waiting.wake_handles.is_empty() {
            waiting.release_rate.stop();
        }
    }
}
