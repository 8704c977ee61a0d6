//! A user's right to run one request in this process, and how it is got.
//!
//! Dropping a [`LocalSlot`], for whatever reason, hands it to the next waiter. The decisions are in [`super::queue`]; here are
//! the lock, the clock and the waiting. The lock is never held across an await, and nobody is woken under it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    queue::{Grant, Limit, QueueLimits, QueueRefusal, SlotQueue, Ticket},
    slots_view::{SlotsView, UserView},
    sync_shim::{Mutex, timeout},
};
use crate::{
    admission::request::Operation,
    clock, config,
    refusal::{AdmissionError, Refusal},
    user::UserId,
};

/// Gives out slots.
#[derive(Debug)]
pub struct Slots {
    shared: Arc<SlotsInner>,
}

#[derive(Debug)]
struct SlotsInner {
    state: Mutex<SlotsState>,
}

#[derive(Debug)]
struct SlotsState {
    queue: SlotQueue<oneshot::Sender<LocalSlot>>,
    max_wait: Duration,
}

/// The right of one user to run one request; given back when dropped.
#[derive(Debug)]
pub struct LocalSlot {
    shared: Arc<SlotsInner>,
    user: UserId,
    operation: Operation,
    /// Its holder does not run yet, and counts as waiting.
    parked: bool,
}

/// Why there is no slot. Each says when it is worth coming back: 1–60 s, from the measured rate at which slots become
/// free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlotRefusal {
    /// As many requests of this user wait as may.
    #[error("the user's queue is full")]
    QueueFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// None of this user's slots became free in time.
    #[error("no slot of the user became free in time")]
    QueueTimeout {
        /// When to come back.
        retry_after: Duration,
    },
    /// The user has slots left, but the gateway has not.
    #[error("no slot of the gateway became free in time")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
    },
}

impl Slots {
    /// All slots of `config`, free.
    pub fn new(config: &config::SlotsConfig) -> Self {
        let state =
            SlotsState { queue: SlotQueue::new(QueueLimits::from(config)), max_wait: config.queue_timeout };
        Self { shared: Arc::new(SlotsInner { state: Mutex::new(state) }) }
    }

    /// Other limits from now on. Slots that are held stay, and waiters keep their places and their timeouts.
    pub fn reconfigure(&self, config: &config::SlotsConfig) {
        let granted = {
            let mut state = self.shared.state.lock();
            state.max_wait = config.queue_timeout;
            state.queue.reconfigure(QueueLimits::from(config), Instant::now())
        };
        granted.into_iter().for_each(|grant| self.shared.hand_over(grant));
    }

    /// A slot for `user`: at once if one is free, else in its turn. A higher `priority` leaves the queue first.
    /// Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`SlotRefusal`]: the queue is full, or the wait was longer than `queue_timeout`.
    pub async fn acquire(
        &self,
        user: &UserId,
        operation: Operation,
        priority: i64,
    ) -> Result<LocalSlot, SlotRefusal> {
        let (mut waiting, patience) = match self.take_or_wait(user, operation, priority)? {
            Submitted::Given(slot) => return Ok(slot),
            Submitted::Waits(waiting, patience) => (waiting, patience),
        };
        match timeout(patience, &mut waiting.slot).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => waiting.give_up().await,
        }
    }

    /// A slot for `user` if one is free at once.
    pub(crate) fn take(&self, user: &UserId, operation: Operation) -> Option<LocalSlot> {
        let taken = self.shared.state.lock().queue.take(user, operation);
        taken.then(|| self.shared.slot(user.clone(), operation))
    }

    /// A slot for `user`, whether or not one is free.
    pub(crate) fn occupy(&self, user: &UserId, operation: Operation) -> LocalSlot {
        self.shared.state.lock().queue.occupy(user, operation);
        self.shared.slot(user.clone(), operation)
    }

    /// A slot for `user` if one is free, which overtakes nobody: a free slot is never kept from a waiter. Else a place in the
    /// queue. Both are taken under one lock: a slot that became free in between would wake nobody.
    fn take_or_wait(
        &self,
        user: &UserId,
        operation: Operation,
        priority: i64,
    ) -> Result<Submitted, SlotRefusal> {
        let mut state = self.shared.state.lock();
        if state.queue.take(user, operation) {
            return Ok(Submitted::Given(self.shared.slot(user.clone(), operation)));
        }
        let (sender, slot) = oneshot::channel();
        let ticket = state.queue.wait(user, (operation, priority), sender, clock::now());
        let ticket = ticket.map_err(|refused| SlotRefusal::new(refused, WaitOutcome::Full))?;
        Ok(Submitted::Waits(QueuedWaiter { shared: self.shared.clone(), ticket, slot }, state.max_wait))
    }

    /// Slots in use and waiting requests, now.
    pub fn view(&self) -> SlotsView {
        let state = self.shared.state.lock();
        let mut users: Vec<_> =
            state.queue.users().map(|(user, counts)| UserView::new(user, counts)).collect();
        let total = state.queue.total().into();
        drop(state);
        users.sort_by(|a, b| a.user.cmp(&b.user));
        SlotsView { total, users }
    }
}

impl SlotsInner {
    /// A slot whose receiver has gone comes back as an error, is dropped here, and so goes to the next.
    fn hand_over(self: &Arc<Self>, grant: Grant<oneshot::Sender<LocalSlot>>) {
        let Grant { user, operation, waiter } = grant;
        drop(waiter.send(self.slot(user, operation)));
    }

    fn slot(self: &Arc<Self>, user: UserId, operation: Operation) -> LocalSlot {
        LocalSlot { shared: self.clone(), user, operation, parked: false }
    }
}

impl LocalSlot {
    /// Its holder waits for something else before it runs: until [`LocalSlot::activate`] it counts as waiting.
    pub fn park(&mut self) {
        self.shared.state.lock().queue.park(&self.user, self.operation);
        self.parked = true;
    }

    /// Its holder runs.
    pub fn activate(&mut self) {
        if std::mem::take(&mut self.parked) {
            self.shared.state.lock().queue.activate(&self.user, self.operation);
        }
    }
}

impl Drop for LocalSlot {
    fn drop(&mut self) {
        let next = {
            let queue = &mut self.shared.state.lock().queue;
            if self.parked {
                queue.activate(&self.user, self.operation);
            }
            queue.release(&self.user, self.operation, clock::now())
        };
        if let Some(grant) = next {
            self.shared.hand_over(grant);
        }
    }
}

impl SlotRefusal {
    /// What `refused` means for a wait that ended so.
    pub fn new(QueueRefusal { by, retry_after }: QueueRefusal, outcome: WaitOutcome) -> Self {
        match (by, outcome) {
            (Limit::Total, _) => Self::Overloaded { retry_after },
            (Limit::User, WaitOutcome::Full) => Self::QueueFull { retry_after },
            (Limit::User, WaitOutcome::Late) => Self::QueueTimeout { retry_after },
        }
    }
}

impl From<SlotRefusal> for Refusal {
    fn from(refusal: SlotRefusal) -> Self {
        Self::Admission(match refusal {
            SlotRefusal::QueueFull { retry_after } => AdmissionError::QueueFull { retry_after },
            SlotRefusal::QueueTimeout { retry_after } => AdmissionError::QueueTimeout { retry_after },
            SlotRefusal::Overloaded { retry_after } => AdmissionError::Overloaded { retry_after },
        })
    }
}

/// What is there at once: a slot, or a place in the queue for so long.
enum Submitted {
    Given(LocalSlot),
    Waits(QueuedWaiter, Duration),
}

/// A request in the queue; leaves it when dropped. A slot that was just handed over is then in the channel, and is dropped
/// with it.
struct QueuedWaiter {
    shared: Arc<SlotsInner>,
    ticket: Ticket,
    slot: oneshot::Receiver<LocalSlot>,
}

impl QueuedWaiter {
    async fn give_up(mut self) -> Result<LocalSlot, SlotRefusal> {
        let refused = self.shared.state.lock().queue.leave(&self.ticket, clock::now());
        match refused {
            Some(refused) => Err(SlotRefusal::new(refused, WaitOutcome::Late)),
            // Granted in this very moment: it is sent as soon as the other side has let go of the lock.
            None => {
                (&mut self.slot).await.map_err(|_| SlotRefusal::Overloaded { retry_after: Duration::ZERO })
            }
        }
    }
}

impl Drop for QueuedWaiter {
    fn drop(&mut self) {
        self.shared.state.lock().queue.leave(&self.ticket, clock::now());
    }
}

/// How it ended without a slot.
pub enum WaitOutcome {
    /// There was no place to wait.
    Full,
    /// It waited too long.
    Late,
}

#[cfg(test)]
#[cfg(feature = "model")]
mod model;
#[cfg(test)]
#[cfg(not(feature = "model"))]
mod tests;
