//! The slots as callers see them: timeouts and fairness on a paused clock, aborts and hand-over on real threads.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt;
use tokio::time::{advance, sleep};

use super::*;
use crate::admission::local::slots_view::CountView;

fn config(per_user: u32, queue: u32, total: u32) -> config::SlotsConfig {
    let operations = BTreeMap::new();
    config::SlotsConfig { per_user, queue, queue_timeout: Duration::from_secs(10), total, operations }
}

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

fn now_or_never(slots: &Slots, name: &str) -> Option<LocalSlot> {
    slots.acquire(&user(name), Operation::Chat, 0).now_or_never().and_then(Result::ok)
}

/// Somebody who has asked, and waits.
fn in_queue<'a>(
    slots: &'a Slots,
    user: &'a UserId,
) -> Task<impl Future<Output = Result<LocalSlot, SlotRefusal>> + 'a> {
    let mut waits = Box::pin(slots.acquire(user, Operation::Chat, 0));
    assert!(waits.as_mut().now_or_never().is_none());
    waits
}

fn is_idle(slots: &Slots) -> bool {
    let SlotsView { total, users } = slots.view();
    users.is_empty() && total.in_use == 0 && total.waiting == 0
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_is_given_at_once_and_comes_back() {
    let slots = Slots::new(&config(2, 5, 10));
    let first = now_or_never(&slots, "a").unwrap();
    let second = now_or_never(&slots, "a").unwrap();
    assert!(now_or_never(&slots, "a").is_none());
    assert!(now_or_never(&slots, "b").is_some(), "another user's slots are its own");
    drop(first);
    assert!(now_or_never(&slots, "a").is_some());
    drop(second);
    assert!(is_idle(&slots));
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_at_the_timeout() {
    let slots = Slots::new(&config(1, 5, 10));
    let _held = now_or_never(&slots, "a").unwrap();
    let asked = Instant::now();
    let refused = slots.acquire(&user("a"), Operation::Chat, 0).await.unwrap_err();
    assert!(matches!(refused, SlotRefusal::QueueTimeout { .. }), "{refused:?}");
    let waited = asked.elapsed();
    assert!((10_000..=10_050).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(slots.view().total.waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let slots = Slots::new(&config(1, 2, 10));
    let _held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let waiting: Vec<_> = (0..2).map(|_| in_queue(&slots, &id)).collect();
    let refused = slots.acquire(&id, Operation::Chat, 0).now_or_never().unwrap().unwrap_err();
    assert!(matches!(refused, SlotRefusal::QueueFull { .. }), "{refused:?}");
    drop(waiting);
    assert_eq!(slots.view().total.waiting, 0, "who leaves makes room");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_gateway_says_so() {
    let slots = Slots::new(&config(5, 5, 1));
    let _held = now_or_never(&slots, "a").unwrap();
    let refused = slots.acquire(&user("b"), Operation::Chat, 0).await.unwrap_err();
    assert!(matches!(refused, SlotRefusal::Overloaded { .. }), "{refused:?}");
    let without_queue = Slots::new(&config(5, 0, 1));
    let _held = now_or_never(&without_queue, "a").unwrap();
    let refused = without_queue.acquire(&user("b"), Operation::Chat, 0).now_or_never().unwrap().unwrap_err();
    assert!(matches!(refused, SlotRefusal::Overloaded { .. }), "{refused:?}");
}

/// The slot was handed over, but its receiver leaves before it looks.
#[tokio::test(start_paused = true)]
async fn a_slot_nobody_takes_goes_to_the_next() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let (leaves, mut stays) = (in_queue(&slots, &id), in_queue(&slots, &id));
    drop(held);
    assert!(stays.as_mut().now_or_never().is_none(), "it is not its turn");
    drop(leaves);
    let slot = stays.as_mut().now_or_never().unwrap().unwrap();
    drop((stays, slot));
    assert!(is_idle(&slots));
}

/// The first half of dropping a slot: it is granted, and not sent yet.
fn grant_next(slots: &Slots, held: LocalSlot) -> Grant<oneshot::Sender<LocalSlot>> {
    let (user, operation) = (held.user.clone(), held.operation);
    std::mem::forget(held);
    slots.shared.state.lock().queue.release(&user, operation, Instant::now()).unwrap()
}

/// The receiver leaves between the grant and the sending.
#[tokio::test(start_paused = true)]
async fn a_slot_granted_to_somebody_who_left_goes_to_the_next() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let (leaves, mut stays) = (in_queue(&slots, &id), in_queue(&slots, &id));
    let grant = grant_next(&slots, held);
    drop(leaves);
    slots.shared.hand_over(grant);
    drop(stays.as_mut().now_or_never().unwrap().unwrap());
    assert!(is_idle(&slots));
}

/// The timeout comes between the grant and the sending: the slot is the waiter's, so it waits that moment longer.
#[tokio::test(start_paused = true)]
async fn a_slot_granted_at_the_timeout_is_taken() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let mut waits = in_queue(&slots, &id);
    let grant = grant_next(&slots, held);
    advance(Duration::from_secs(11)).await;
    assert!(waits.as_mut().now_or_never().is_none(), "neither refused nor given yet");
    slots.shared.hand_over(grant);
    assert!(waits.await.is_ok());
    assert!(is_idle(&slots));
}

/// The timeout and the hand-over come in the same moment: whoever wins, nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_slot_handed_over_at_the_last_moment_is_taken() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let waits = in_queue(&slots, &id);
    advance(Duration::from_secs(11)).await;
    drop(held);
    assert!(waits.await.is_ok());
    assert!(is_idle(&slots));
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_goes_first_unless_another_has_priority() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let order = Mutex::new(Vec::new());
    let ask = |name: &'static str, priority| {
        let (slots, order) = (&slots, &order);
        async move {
            let slot = slots.acquire(&user("a"), Operation::Chat, priority).await.unwrap();
            order.lock().push(name);
            sleep(Duration::from_millis(1)).await;
            drop(slot);
        }
    };
    let free = async {
        sleep(Duration::from_secs(1)).await;
        drop(held);
    };
    tokio::join!(ask("first", 0), ask("second", 0), ask("important", 7), ask("third", 0), free);
    assert_eq!(*order.lock(), ["important", "first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn users_who_wait_for_the_total_take_turns() {
    let slots = Slots::new(&config(4, 100, 4));
    let served = Mutex::new(Vec::new());
    let ask = |name: &'static str| {
        let (slots, served) = (&slots, &served);
        async move {
            let slot = slots.acquire(&user(name), Operation::Chat, 0).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            served.lock().push(name);
            drop(slot);
        }
    };
    let greedy = futures_util::future::join_all((0..60).map(|_| ask("greedy")));
    let modest = futures_util::future::join_all((0..6).map(|_| ask("modest")));
    tokio::join!(greedy, modest);
    let last = served.lock().iter().rposition(|name| *name == "modest").unwrap();
    assert!(last < 4 + 2 * 6 + 4, "the modest one waited for {last} requests");
}

#[tokio::test(start_paused = true)]
async fn a_reload_lets_more_go_and_takes_nothing_away() {
    let slots = Slots::new(&config(1, 5, 10));
    let held = now_or_never(&slots, "a").unwrap();
    let id = user("a");
    let mut waiting: Vec<_> = (0..3).map(|_| in_queue(&slots, &id)).collect();
    slots.reconfigure(&config(3, 5, 10));
    let got: Vec<_> = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).collect();
    assert_eq!(got.len(), 2);
    slots.reconfigure(&config(1, 5, 10));
    assert_eq!(slots.view().users[0].sum, CountView { in_use: 3, waiting: 1, limit: 1 });
    drop(got);
    assert!(waiting.pop().unwrap().now_or_never().is_none(), "one is still held");
    drop(held);
    assert!(now_or_never(&slots, "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_view_tells_who_runs_and_who_waits() {
    let slots = Slots::new(&config(1, 5, 10));
    let _chat = now_or_never(&slots, "b").unwrap();
    let _embeddings = slots.acquire(&user("a"), Operation::Embeddings, 0).await.unwrap();
    let id = user("b");
    let _waits = in_queue(&slots, &id);
    let expected = serde_json::json!({
        "total": {"in_use": 2, "waiting": 1, "limit": 10},
        "users": [
            {"user": "a", "in_use": 1, "waiting": 0, "limit": 1,
             "operations": {"embeddings": {"in_use": 1, "waiting": 0, "limit": 1}}},
            {"user": "b", "in_use": 1, "waiting": 1, "limit": 1,
             "operations": {"chat": {"in_use": 1, "waiting": 1, "limit": 1}}},
        ],
    });
    assert_eq!(serde_json::to_value(slots.view()).unwrap(), expected);
}

/// Row C1: aborts at random points, panics included, on real threads. Nothing is lost and no limit is passed.
#[test]
fn a_hundred_thousand_aborts_lose_no_slot() {
    const THREADS: u64 = 4;
    const EACH: usize = 25_000;
    let slots = Slots::new(&config(3, 50, 7));
    let running = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let (slots, running) = (&slots, &running);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(abort_at_random(slots, running, seed, EACH));
            });
        }
    });
    drop(std::panic::take_hook());
    assert!(is_idle(&slots), "{:?}", slots.view());
    assert_eq!(running.into_inner(), 0);
}

async fn abort_at_random(slots: &Slots, running: &AtomicUsize, seed: u64, count: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut some = Vec::new();
    for _ in 0..count {
        let who = user(&format!("u{}", rng.u8(..5)));
        let operation = Operation::ALL[rng.usize(..2)];
        let (steps, fails) = (rng.u8(..4), rng.u8(..20) == 0);
        some.push(Box::pin(async move {
            let slot = slots.acquire(&who, operation, 0).await.ok();
            let runs = Running::count(running, slot.is_some());
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            assert!(!fails, "a bug in a handler");
            drop((runs, slot));
        }));
        while some.len() > rng.usize(..30) {
            let one = some.swap_remove(rng.usize(..some.len()));
            // Half of them get a few polls before they are dropped, on whatever they wait.
            if rng.bool() {
                let polled = std::panic::AssertUnwindSafe(poll_some(one, rng.u8(..6))).catch_unwind().await;
                some.extend(polled.ok().flatten());
            }
        }
    }
}

type Task<T> = std::pin::Pin<Box<T>>;

/// Polls `task`; gives it back if it has not ended.
async fn poll_some<T: Future<Output = ()>>(mut task: Task<T>, polls: u8) -> Option<Task<T>> {
    for _ in 0..polls {
        if task.as_mut().now_or_never().is_some() {
            return None;
        }
    }
    Some(task)
}

/// Counts what really runs, beside the queue's own book.
struct Running<'a>(&'a AtomicUsize, bool);

impl<'a> Running<'a> {
    fn count(running: &'a AtomicUsize, runs: bool) -> Self {
        if runs {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 7, "more run than the total allows");
        }
        Self(running, runs)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(usize::from(self.1), Ordering::SeqCst);
    }
}

/// Threads fight for one slot, and give up at every possible moment of the hand-over.
#[test]
fn no_slot_is_lost_between_two_threads() {
    let slots = Slots::new(&config(1, 50, 1));
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let slots = &slots;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let mut rng = fastrand::Rng::with_seed(seed);
                runtime.block_on(async {
                    for _ in 0..20_000 {
                        let id = user("a");
                        let asks = slots.acquire(&id, Operation::Chat, 0);
                        drop(timeout(Duration::from_micros(rng.u64(..30)), asks).await);
                    }
                });
            });
        }
    });
    assert!(is_idle(&slots), "{:?}", slots.view());
}

/// The figure is measured in an optimised build; this only notices if it is ever lost by far.
#[test]
fn a_free_slot_costs_little() {
    const ROUNDS: u32 = 20_000;
    let slots = Slots::new(&config(10, 20, 1000));
    let id = user("a");
    let start = Instant::now();
    for _ in 0..ROUNDS {
        drop(slots.acquire(&id, Operation::Chat, 0).now_or_never());
    }
    let each = start.elapsed() / ROUNDS;
    assert!(each < Duration::from_micros(50), "{each:?}");
}
