//! The wait for a lease: asks Redis again when a bell rings or now and then, and goes on by itself while Redis is away.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    AdmissionRequest, DistributedLimits,
    acquire_script::{AcquireRequest, SlotReply},
    lease_table::{Lease, LeaseTable},
};
use crate::{
    admission::local::{
        queue::{Limit, QueueRefusal},
        slots::{Slot, SlotRefusal, WaitOutcome, refusal},
    },
    cluster::{RedisUnavailable, UserKey},
    config::OnError,
};

/// Until somebody who waits asks again, should no bell ring: first,
const POLL_SOON: Duration = Duration::from_millis(100);
/// and later. Redis forgets who has not asked for six times as long.
const RENEW_WAIT: Duration = Duration::from_millis(250);

/// Waits until `lease` is granted. `lease` knows what Redis has said already.
pub async fn wait(
    distributed: &DistributedLimits,
    mut slot: Slot,
    mut lease: Box<Lease>,
    (request, deadline): (&AdmissionRequest<'_>, Instant),
) -> Result<Slot, SlotRefusal> {
    let wake = WakeHandle::install_wake(&distributed.table, lease.number);
    slot.park();
    let mut waiter = LeaseWaiter { distributed, request, deadline, wake, room: None, pause: POLL_SOON };
    loop {
        let said = match lease.last_reply.take() {
            Some(said) => Ok(said),
            None => ask(distributed, &mut lease, request).await,
        };
        let local = distributed.table.redis.on_error() == OnError::Local;
        match said {
            Ok(SlotReply::Granted) => {
                lease.granted(distributed.reserve.occupy(request.user, request.operation), true);
                waiter.wake.starts_now();
                return Ok(slot.with(lease));
            }
            Ok(SlotReply::Full(by, ahead)) => {
                return Err(refused(&distributed.table, (by, ahead), WaitOutcome::Full));
            }
            Ok(SlotReply::Waits(by, ahead)) => waiter.wait_for_turn(by, ahead).await?,
            Err(RedisUnavailable) if !local => return Err(SlotRefusal::Away),
            Ok(SlotReply::Shut | SlotReply::Nothing) if !local => {
                waiter.wait_for_turn(Limit::Total, 0).await?
            }
            Ok(SlotReply::Shut | SlotReply::Nothing) | Err(RedisUnavailable) => {
                if let Some(room) = waiter.share().await? {
                    lease.granted(room, false);
                    return Ok(slot.with(lease));
                }
            }
        }
    }
}

/// Somebody who has a slot of this gateway, and none yet of all gateways.
struct LeaseWaiter<'a> {
    distributed: &'a DistributedLimits,
    request: &'a AdmissionRequest<'a>,
    deadline: Instant,
    wake: WakeHandle<'a>,
    /// The place in the queue for this gateway's share.
    room: Option<BoxFuture<'a, Result<Slot, SlotRefusal>>>,
    pause: Duration,
}

impl LeaseWaiter<'_> {
    /// Waits until it is worth asking Redis again; `ahead` stand before us.
    async fn wait_for_turn(&mut self, by: Limit, ahead: usize) -> Result<(), SlotRefusal> {
        self.room = None;
        select! {
            () = self.wake.register_wake() => {}
            () = sleep(self.pause) => self.pause = RENEW_WAIT,
            () = sleep_until(self.deadline) => return Err(refused(&self.distributed.table, (by, ahead), WaitOutcome::Late)),
        }
        Ok(())
    }

    /// Waits for a place in this gateway's share, for so long that Redis may be back.
    async fn share(&mut self) -> Result<Option<Slot>, SlotRefusal> {
        let (distributed, request) = (self.distributed, self.request);
        let share = distributed.reserve.slots(&distributed.terms.load(), distributed.gateways());
        let room = &mut self.room;
        let room = room
            .get_or_insert_with(|| share.acquire(request.user, request.operation, request.priority).boxed());
        select! {
            granted = room => granted.map(Some),
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
    let terms = distributed.terms.load_full();
    let question = AcquireRequest {
        number: lease.number,
        slot: Some(lease.wanted(&terms, request.priority)),
        ..AcquireRequest::about(UserKey::of(request.user))
    };
    let answer = distributed.table.ask(&question).await?;
    lease.apply_reply(answer.slot, answer.now);
    Ok(lease.last_reply.take().unwrap_or(answer.slot))
}

fn refused(table: &LeaseTable, (by, ahead): (Limit, usize), ended: WaitOutcome) -> SlotRefusal {
    let retry_after = table.waiting.lock().release_rate.estimated_wait(ahead + 1, Instant::now());
    refusal(QueueRefusal { by, retry_after }, ended)
}

/// Rings when Redis has a place for us; taken down when dropped.
struct WakeHandle<'a> {
    table: &'a LeaseTable,
    number: u64,
    notify: Arc<Notify>,
}

impl<'a> WakeHandle<'a> {
    fn install_wake(table: &'a LeaseTable, number: u64) -> Self {
        let notify = Arc::new(Notify::new());
        let mut waiting = table.waiting.lock();
        waiting.wake_handles.insert(number, notify.clone());
        waiting.release_rate.begin(Instant::now());
        drop(waiting);
        Self { table, number, notify }
    }

    async fn register_wake(&self) {
        self.notify.notified().await;
    }

    /// Its turn has come: a measure of how fast things go.
    fn starts_now(&self) {
        self.table.waiting.lock().release_rate.record_release(Instant::now());
    }
}

impl Drop for WakeHandle<'_> {
    fn drop(&mut self) {
        let mut waiting = self.table.waiting.lock();
        waiting.wake_handles.remove(&self.number);
        if waiting.wake_handles.is_empty() {
            waiting.release_rate.remaining();
        }
    }
}
