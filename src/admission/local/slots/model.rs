//! The slot and its hand-over under every order in which their steps can happen (see [`crate::admission::local::sync_shim`]).
//!
//!     cargo test --features model --lib admission::local::slots::model
//!
//! A story is a few tasks that want slots, and what happens to them. In every order of their steps all of this must hold:
//! never more slots are out than there are; whoever may have one gets it, for shuttle calls a task that waits for ever a
//! deadlock; and in the end nothing is held and nobody is remembered. Stories are small, so that they can be told in every
//! order; the last one is large and told in many.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use shuttle::{
    Config, Runner,
    future::{JoinHandle, block_on, spawn, yield_now},
    scheduler::{DfsScheduler, RandomScheduler},
};

use super::*;
use crate::admission::local::sync_shim::PATIENT;

/// A story with more orders than this is too large to be told in each.
const MOST_ORDERS: usize = 300_000;
/// Orders of a large story.
const SOME_ORDERS: usize = 5_000;
/// May end at any moment.
const IMPATIENT: Duration = Duration::ZERO;

/// What a story is about.
struct World {
    slots: Slots,
    running: AtomicUsize,
    /// The most slots that there ever are.
    most: usize,
}

/// Whether somebody got a slot.
type Asked = JoinHandle<bool>;

impl World {
    fn new(per_user: u32, total: u32, patience: Duration) -> Arc<Self> {
        let slots = Slots::new(&config(per_user, total, patience));
        Arc::new(Self { slots, running: AtomicUsize::new(0), most: total as usize })
    }

    /// `name` takes a slot, runs for a moment and ends.
    fn ask(self: &Arc<Self>, name: &str) -> Asked {
        let (world, user) = (self.clone(), UserId::authenticated(name).unwrap());
        spawn(async move {
            let Ok(slot) = world.slots.acquire(&user, Operation::Chat, 0).await else { return false };
            let runs = Runs::count(&world);
            yield_now().await;
            drop((runs, slot));
            true
        })
    }

    fn is_at_rest(&self) {
        let SlotsView { total, users } = self.slots.view();
        assert_eq!((total.in_use, total.waiting, users.len()), (0, 0, 0));
        assert_eq!(self.running.load(SeqCst), 0);
    }
}

/// Counts what really runs, beside the queue's own book.
struct Runs<'a>(&'a World);

impl<'a> Runs<'a> {
    fn count(world: &'a World) -> Self {
        assert!(world.running.fetch_add(1, SeqCst) < world.most, "a slot was given twice");
        Self(world)
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

fn config(per_user: u32, total: u32, queue_timeout: Duration) -> config::SlotsConfig {
    config::SlotsConfig { per_user, queue: 9, queue_timeout, total, operations: BTreeMap::new() }
}

/// Tells `story` in every order; there must not be so many that some were left out.
fn in_every_order(story: impl Fn() + Send + Sync + 'static) {
    let orders = Runner::new(DfsScheduler::new(Some(MOST_ORDERS), false), Config::new()).run(story);
    assert!((2..MOST_ORDERS).contains(&orders), "{orders} orders");
}

async fn all(asked: impl IntoIterator<Item = Asked>) -> Vec<bool> {
    let mut got = Vec::new();
    for one in asked {
        got.push(one.await.unwrap());
    }
    got
}

#[test]
fn everybody_gets_the_only_slot() {
    in_every_order(|| {
        let world = World::new(1, 1, PATIENT);
        let got = block_on(all([world.ask("a"), world.ask("a")]));
        assert_eq!(got, [true, true]);
        world.is_at_rest();
    });
}

#[test]
fn two_users_share_the_only_slot() {
    in_every_order(|| {
        let world = World::new(2, 1, PATIENT);
        let got = block_on(all([world.ask("a"), world.ask("b")]));
        assert_eq!(got, [true, true]);
        world.is_at_rest();
    });
}

/// In the queue, between the grant and the sending, with the slot in the channel, while it runs.
#[test]
fn who_leaves_at_any_moment_takes_nothing_along() {
    in_every_order(|| {
        let world = World::new(1, 1, PATIENT);
        let leaves = world.ask("a");
        let stays = world.ask("a");
        leaves.abort();
        assert_eq!(block_on(all([stays])), [true]);
        drop(block_on(leaves));
        world.is_at_rest();
    });
}

/// A timeout at any moment of the hand-over: a slot or a refusal, never neither, never a slot that nobody has.
#[test]
fn a_timeout_races_the_hand_over() {
    in_every_order(|| {
        let world = World::new(1, 1, PATIENT);
        let held = block_on(world.slots.acquire(&UserId::anonymous(), Operation::Chat, 0)).unwrap();
        world.slots.reconfigure(&config(1, 1, IMPATIENT));
        let late = world.ask("a");
        drop(held);
        block_on(all([late]));
        world.is_at_rest();
    });
}

/// A limit that rises lets go who waits, and who is about to.
#[test]
fn a_reload_races_who_comes() {
    in_every_order(|| {
        let world = World::new(0, 1, PATIENT);
        let asks = world.ask("a");
        world.slots.reconfigure(&config(1, 1, PATIENT));
        assert_eq!(block_on(all([asks])), [true]);
        world.is_at_rest();
    });
}

/// Eight requests of three users, timeouts, two that leave, and a reload each way.
#[test]
fn a_crowd_loses_nothing_in_many_orders() {
    let story = || {
        let world = World::new(1, 2, IMPATIENT);
        let stay: Vec<_> = ["a", "a", "b", "b", "c", "c"].into_iter().map(|name| world.ask(name)).collect();
        let leave = [world.ask("a"), world.ask("b")];
        world.slots.reconfigure(&config(2, 2, PATIENT));
        leave.iter().for_each(JoinHandle::abort);
        world.slots.reconfigure(&config(1, 1, IMPATIENT));
        block_on(all(stay));
        leave.into_iter().for_each(|one| drop(block_on(one)));
        world.is_at_rest();
    };
    Runner::new(RandomScheduler::new_from_seed(7, SOME_ORDERS), Config::new()).run(story);
}
