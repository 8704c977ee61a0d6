//! Which request holds a slot and which is next: a state machine without a clock, a lock or a task.
//!
//! Two things can stand in a request's way: its user's limit for the operation, and the total over all users. For the first
//! a request waits in its user's own queue, by priority and then in the order of arrival. For the second it waits in the
//! *line*, where users, not requests, take turns: deficit round-robin (Shreedhar and Varghese, 1995), which with one slot
//! per request and equal shares is a plain round. A higher priority goes before the round.
//!
//! It is one file, for every step must leave all of this true: a free slot is never kept from a request that may have
//! it, so whoever finds one free overtakes nobody; and users who neither run nor wait are not remembered.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use foldhash::quality::RandomState;
use tokio::time::Instant;

use super::release_rate::ReleaseRate;
use crate::{admission::request::Operation, config, user::UserId};

/// Waiting requests over all users: user ids can be invented, memory cannot.
pub(crate) const MAX_QUEUE: usize = 10_000;

/// Higher priority first, then the order of coming.
type QueuePosition = (Reverse<i64>, u64);

/// What the configuration allows.
#[derive(Debug, Clone)]
pub(crate) struct QueueLimits {
    per_operation: [usize; Operation::ALL.len()],
    queue: usize,
    total: usize,
}

/// All slots, and a `T` for every waiter.
#[derive(Debug)]
pub(crate) struct SlotQueue<T> {
    limits: QueueLimits,
    in_use: usize,
    parked: usize,
    waiting: usize,
    /// Looked up five times in the life of a request. User ids come from authentication, and the seed is random.
    users: HashMap<UserId, User<T>, RandomState>,
    /// The users that only the total stands in the way of.
    line: BTreeMap<QueuePosition, UserId>,
    /// Places given so far.
    places: u64,
    release_rate: ReleaseRate,
}

#[derive(Debug)]
struct User<T> {
    operations: [OperationUse<T>; Operation::ALL.len()],
    waiting: usize,
    /// Its place in the line.
    turn: Option<QueuePosition>,
    release_rate: ReleaseRate,
}

#[derive(Debug)]
struct OperationUse<T> {
    in_use: usize,
    /// How many of those do not run yet: see [`SlotQueue::park`].
    parked: usize,
    waiting: BTreeMap<QueuePosition, T>,
}

/// Somebody's place among the waiting.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// Whose.
    pub user: UserId,
    /// For what.
    pub operation: Operation,
    place: QueuePosition,
}

/// A slot that goes to a waiter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant<T> {
    /// Whose.
    pub user: UserId,
    /// For what.
    pub operation: Operation,
    /// What waited.
    pub waiter: T,
}

/// Why nobody waits any longer, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRefusal {
    /// What stands in the way.
    pub by: Limit,
    /// When it is worth coming back, 1–60 s.
    pub retry_after: Duration,
}

/// What can stand in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The user's own: alone at the gateway, this request would have to wait as well.
    User,
    /// The total over all users.
    Total,
}

/// What one user has of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseCount {
    /// Slots held.
    pub in_use: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Slots there are.
    pub limit: usize,
}

impl From<&config::SlotsConfig> for QueueLimits {
    fn from(slots: &config::SlotsConfig) -> Self {
        Self {
            per_operation: Operation::ALL.map(|operation| slots.limit(operation) as usize),
            queue: slots.queue as usize,
            total: slots.total as usize,
        }
    }
}

impl<T> SlotQueue<T> {
    /// Everything is free.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            in_use: 0,
            parked: 0,
            waiting: 0,
            users: HashMap::default(),
            line: BTreeMap::new(),
            places: 0,
            release_rate: ReleaseRate::default(),
        }
    }

    /// Takes a slot if one is free.
    pub(crate) fn take(&mut self, user: &UserId, operation: Operation) -> bool {
        let limit = self.limits.per_operation[operation as usize];
        if self.in_use >= self.limits.total {
            return false;
        }
        if let Some(known) = self.users.get_mut(user) {
            let used = &mut known.operations[operation as usize];
            let free = used.in_use < limit;
            used.in_use += usize::from(free);
            self.in_use += usize::from(free);
            return free;
        }
        if limit == 0 {
            return false;
        }
        let mut known = User::default();
        known.operations[operation as usize].in_use = 1;
        self.users.insert(user.clone(), known);
        self.in_use += 1;
        true
    }

    /// Takes a slot whether or not one is free: somebody else has decided that it runs.
    pub(crate) fn occupy(&mut self, user: &UserId, operation: Operation) {
        self.users.entry(user.clone()).or_default().operations[operation as usize].in_use += 1;
        self.in_use += 1;
    }

    /// The holder of a slot waits for something else: until [`SlotQueue::activate`] it counts among the waiting.
    pub(crate) fn park(&mut self, user: &UserId, operation: Operation) {
        if let Some(known) = self.users.get_mut(user) {
            known.operations[operation as usize].parked += 1;
            self.parked += 1;
        }
    }

    /// The holder of a parked slot runs, or is about to give it back.
    pub(crate) fn activate(&mut self, user: &UserId, operation: Operation) {
        if let Some(known) = self.users.get_mut(user) {
            known.operations[operation as usize].parked -= 1;
            self.parked -= 1;
        }
    }

    /// Waits, after [`SlotQueue::take`] has found nothing free.
    pub(crate) fn wait(
        &mut self,
        user: &UserId,
        (operation, priority): (Operation, i64),
        waiter: T,
        now: Instant,
    ) -> Result<Ticket, QueueRefusal> {
        let queued = self.users.get(user).map_or(0, User::queued);
        if self.waiting >= MAX_QUEUE {
            return Err(self.refused(user, Limit::Total, now));
        }
        if queued >= self.limits.queue {
            let used = self.users.get(user).map(|known| &known.operations[operation as usize]);
            let ahead = used.map_or(0, |used| used.in_use + used.waiting.len());
            return Err(self.refused(user, self.blocking_limit(operation, ahead), now));
        }
        let place = (Reverse(priority), self.next_place());
        let known = self.users.entry(user.clone()).or_default();
        known.operations[operation as usize].waiting.insert(place, waiter);
        known.waiting += 1;
        known.release_rate.begin(now);
        self.waiting += 1;
        self.enqueue(user, now);
        Ok(Ticket { user: user.clone(), operation, place })
    }

    /// Stops waiting; `None` if a slot was handed over before.
    pub(crate) fn leave(&mut self, ticket: &Ticket, now: Instant) -> Option<QueueRefusal> {
        let known = self.users.get_mut(&ticket.user)?;
        let used = &mut known.operations[ticket.operation as usize];
        used.waiting.remove(&ticket.place)?;
        let ahead = used.in_use + used.waiting.range(..ticket.place).count();
        known.waiting -= 1;
        self.waiting -= 1;
        let refused = self.refused(&ticket.user, self.blocking_limit(ticket.operation, ahead), now);
        self.enqueue(&ticket.user, now);
        Some(refused)
    }

    /// Gives a slot back; the answer is whose it is now.
    #[must_use]
    pub(crate) fn release(&mut self, user: &UserId, operation: Operation, now: Instant) -> Option<Grant<T>> {
        let known = self.users.get_mut(user)?;
        known.operations[operation as usize].in_use -= 1;
        known.release_rate.record_release(now);
        self.in_use -= 1;
        self.release_rate.record_release(now);
        self.enqueue(user, now);
        self.hand_over(now)
    }

    /// Other limits from now on. Slots that are held stay; the answer is the waiters that may go now.
    #[must_use]
    pub(crate) fn reconfigure(&mut self, limits: QueueLimits, now: Instant) -> Vec<Grant<T>> {
        self.limits = limits;
        let users: Vec<UserId> = self.users.keys().cloned().collect();
        for user in users {
            self.enqueue(&user, now);
        }
        std::iter::from_fn(|| self.hand_over(now)).collect()
    }

    /// Slots held, requests that wait, and slots there are, over all users.
    pub(crate) fn total(&self) -> UseCount {
        UseCount {
            in_use: self.in_use - self.parked,
            waiting: self.waiting + self.parked,
            limit: self.limits.total,
        }
    }

    /// Every user that runs or waits, with the operations it runs or waits for.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&UserId, Vec<(Operation, UseCount)>)> {
        self.users.iter().map(|(user, known)| {
            let counts = Operation::ALL.into_iter().map(|operation| {
                let used = &known.operations[operation as usize];
                (operation, used.count(self.limits.per_operation[operation as usize]))
            });
            (user, counts.filter(|(_, count)| count.in_use + count.waiting > 0).collect())
        })
    }

    /// Gives the next in line a slot, if one is free.
    fn hand_over(&mut self, now: Instant) -> Option<Grant<T>> {
        if self.in_use >= self.limits.total {
            return None;
        }
        let (_, user) = self.line.pop_first()?;
        let known = self.users.get_mut(&user)?;
        known.turn = None;
        let (operation, _) = known.first(&self.limits)?;
        let used = &mut known.operations[operation as usize];
        let (_, waiter) = used.waiting.pop_first()?;
        used.in_use += 1;
        known.waiting -= 1;
        self.waiting -= 1;
        self.in_use += 1;
        // If more of it waits, it goes to the end of the line.
        self.enqueue(&user, now);
        Some(Grant { user, operation, waiter })
    }

    /// Puts `user` where it belongs after any change: into the line, out of it, or out of our memory.
    fn enqueue(&mut self, user: &UserId, now: Instant) {
        let places = &mut self.places;
        let Some(known) = self.users.get_mut(user) else { return };
        let priority = known.first(&self.limits).map(|(_, (priority, _))| priority);
        let turn = priority.map(|priority| {
            *places += u64::from(known.turn.is_none());
            // A user in the line keeps its turn, even if its priority changes.
            (priority, known.turn.map_or(*places, |(_, turn)| turn))
        });
        if turn != known.turn {
            if let Some(old) = known.turn.take() {
                self.line.remove(&old);
            }
            if let Some(new) = turn {
                self.line.insert(new, user.clone());
            }
            known.turn = turn;
        }
        if known.waiting == 0 {
            known.release_rate.stop();
            if known.operations.iter().all(|used| used.in_use == 0) {
                self.users.remove(user);
            }
        }
        if self.line.is_empty() { self.release_rate.stop() } else { self.release_rate.begin(now) }
    }

    fn blocking_limit(&self, operation: Operation, ahead: usize) -> Limit {
        let own = ahead >= self.limits.per_operation[operation as usize];
        if own { Limit::User } else { Limit::Total }
    }

    fn refused(&self, user: &UserId, by: Limit, now: Instant) -> QueueRefusal {
        let retry_after = match (by, self.users.get(user)) {
            // When all that waits has gone.
            (Limit::User, Some(known)) => known.release_rate.estimated_wait(known.waiting + 1, now),
            // When everybody in the line had a turn.
            _ => self.release_rate.estimated_wait(self.line.len() + 1, now),
        };
        QueueRefusal { by, retry_after }
    }

    fn next_place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }
}

impl<T> User<T> {
    /// How many wait.
    fn queued(&self) -> usize {
        self.waiting + self.operations.iter().map(|used| used.parked).sum::<usize>()
    }

    /// The first of those that the user's own limits let go.
    fn first(&self, limits: &QueueLimits) -> Option<(Operation, QueuePosition)> {
        let heads = Operation::ALL.into_iter().filter_map(|operation| {
            let used = &self.operations[operation as usize];
            let free = used.in_use < limits.per_operation[operation as usize];
            let (place, _) = used.waiting.first_key_value().filter(|_| free)?;
            Some((operation, *place))
        });
        heads.min_by_key(|(_, place)| *place)
    }
}

impl<T> OperationUse<T> {
    fn count(&self, limit: usize) -> UseCount {
        UseCount { in_use: self.in_use - self.parked, waiting: self.waiting.len() + self.parked, limit }
    }
}

impl<T> Default for User<T> {
    fn default() -> Self {
        let operations =
            std::array::from_fn(|_| OperationUse { in_use: 0, parked: 0, waiting: BTreeMap::new() });
        Self { operations, waiting: 0, turn: None, release_rate: ReleaseRate::default() }
    }
}

#[cfg(test)]
mod tests;
