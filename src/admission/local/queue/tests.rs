//! The queue against a naive reference: plain lists that are searched from end to end at every step.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn user(number: u8) -> UserId {
    UserId::authenticated(&format!("u{number}")).unwrap()
}

fn limits(chat: usize, other: usize, queue: usize, total: usize) -> QueueLimits {
    let mut per_operation = [other; Operation::ALL.len()];
    per_operation[Operation::Chat as usize] = chat;
    QueueLimits { per_operation, queue, total }
}

/// One who waits, in the reference.
#[derive(Debug, Clone)]
struct Waiter {
    user: u8,
    operation: Operation,
    priority: i64,
    number: usize,
}

/// The rules, without any index.
struct Reference {
    limits: QueueLimits,
    running: Vec<(u8, Operation)>,
    /// In the order of coming.
    waiting: Vec<Waiter>,
    /// Users in the order of their turns.
    round: Vec<u8>,
}

impl Reference {
    fn runs(&self, user: u8, operation: Operation) -> usize {
        self.running.iter().filter(|running| **running == (user, operation)).count()
    }

    fn free(&self, user: u8, operation: Operation) -> bool {
        self.runs(user, operation) < self.limits.per_operation[operation as usize]
    }

    fn head(&self, user: u8) -> Option<&Waiter> {
        let mine = self.waiting.iter().filter(|waiter| waiter.user == user);
        // `max_by_key` takes the last of equals, hence the reversal.
        mine.rev().filter(|waiter| self.free(user, waiter.operation)).max_by_key(|waiter| waiter.priority)
    }

    /// Drops from the round who has nothing ready, and puts new ones at its end.
    fn settle(&mut self) {
        let round = std::mem::take(&mut self.round);
        self.round = round.into_iter().filter(|user| self.head(*user).is_some()).collect();
        let ready: BTreeSet<u8> = self.waiting.iter().map(|waiter| waiter.user).collect();
        for user in ready {
            if self.head(user).is_some() && !self.round.contains(&user) {
                self.round.push(user);
            }
        }
    }

    /// Who may go now.
    fn next(&mut self) -> Option<usize> {
        self.settle();
        if self.running.len() >= self.limits.total {
            return None;
        }
        let best = self.round.iter().filter_map(|user| Some(self.head(*user)?.priority)).max()?;
        let user = *self.round.iter().find(|user| self.head(**user).unwrap().priority == best)?;
        let waiter = self.head(user).unwrap().clone();
        self.waiting.retain(|other| other.number != waiter.number);
        self.running.push((user, waiter.operation));
        self.round.retain(|other| *other != user);
        self.settle();
        Some(waiter.number)
    }

    fn enter(&mut self, waiter: Waiter) -> Result<bool, Limit> {
        if self.running.len() < self.limits.total && self.free(waiter.user, waiter.operation) {
            self.running.push((waiter.user, waiter.operation));
            return Ok(true);
        }
        let mine = self.waiting.iter().filter(|other| other.user == waiter.user);
        if mine.clone().count() >= self.limits.queue {
            let alike = mine.filter(|other| other.operation == waiter.operation).count();
            let ahead = alike + self.runs(waiter.user, waiter.operation);
            let own = ahead >= self.limits.per_operation[waiter.operation as usize];
            return Err(if own { Limit::User } else { Limit::Total });
        }
        self.waiting.push(waiter);
        self.settle();
        Ok(false)
    }

    fn release(&mut self, at: usize) -> Option<usize> {
        self.running.remove(at);
        self.next()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter { user: u8, operation: usize, priority: i64 },
    Release(prop::sample::Index),
    Leave(prop::sample::Index),
    Reconfigure { chat: usize, other: usize, queue: usize, total: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let enter = (0u8..5, 0usize..3, prop_oneof![4 => Just(0i64), 1 => -1i64..2]);
    prop_oneof![
        8 => enter.prop_map(|(user, operation, priority)| Step::Enter { user, operation, priority }),
        5 => any::<prop::sample::Index>().prop_map(Step::Release),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (1usize..4, 1usize..3, 0usize..5, 1usize..8)
            .prop_map(|(chat, other, queue, total)| Step::Reconfigure { chat, other, queue, total }),
    ]
}

/// Both, side by side.
struct Pair {
    queue: SlotQueue<usize>,
    naive: Reference,
    tickets: Vec<(usize, Ticket)>,
    now: Instant,
    number: usize,
}

impl Pair {
    fn new(limits: QueueLimits) -> Self {
        let naive = Reference { limits: limits.clone(), running: vec![], waiting: vec![], round: vec![] };
        Self { queue: SlotQueue::new(limits), naive, tickets: vec![], now: Instant::now(), number: 0 }
    }

    fn apply(&mut self, step: Step) {
        self.now += Duration::from_millis(100);
        match step {
            Step::Enter { user: who, operation, priority } => {
                self.enter(who, Operation::ALL[operation], priority);
            }
            Step::Release(index) if !self.naive.running.is_empty() => {
                let at = index.index(self.naive.running.len());
                let (who, operation) = self.naive.running[at];
                let granted = self.queue.release(&user(who), operation, self.now);
                let expected = self.naive.release(at);
                assert_eq!(granted.map(|grant| grant.waiter), expected);
                self.tickets.retain(|(number, _)| Some(*number) != expected);
            }
            Step::Leave(index) if !self.tickets.is_empty() => {
                let (number, ticket) = self.tickets.remove(index.index(self.tickets.len()));
                assert!(self.queue.leave(&ticket, self.now).is_some());
                assert!(self.queue.leave(&ticket, self.now).is_none(), "left twice");
                self.naive.waiting.retain(|waiter| waiter.number != number);
                self.naive.settle();
            }
            Step::Reconfigure { chat, other, queue, total } => {
                let limits = limits(chat, other, queue, total);
                self.naive.limits = limits.clone();
                let granted = self.queue.reconfigure(limits, self.now);
                let granted: BTreeSet<usize> = granted.into_iter().map(|grant| grant.waiter).collect();
                self.resume(granted);
            }
            Step::Release(_) | Step::Leave(_) => {}
        }
        self.check();
    }

    fn enter(&mut self, who: u8, operation: Operation, priority: i64) {
        self.number += 1;
        let number = self.number;
        let expected = self.naive.enter(Waiter { user: who, operation, priority, number });
        let taken = self.queue.take(&user(who), operation);
        assert_eq!(taken, expected == Ok(true));
        if taken {
            return;
        }
        match self.queue.wait(&user(who), (operation, priority), number, self.now) {
            Ok(ticket) => {
                assert_eq!(expected, Ok(false));
                self.tickets.push((number, ticket));
            }
            Err(refused) => assert_eq!(expected, Err(refused.by)),
        }
    }

    /// After a reload users come into the line in no particular order, so only how many go must agree; the
    /// reference then takes over who went, and the order in which the queue has them.
    fn resume(&mut self, granted: BTreeSet<usize>) {
        let mut naive = 0;
        let (waiting, running) = (self.naive.waiting.clone(), self.naive.running.clone());
        while self.naive.next().is_some() {
            naive += 1;
        }
        assert_eq!(granted.len(), naive, "as many as may go, go");
        (self.naive.waiting, self.naive.running) = (waiting, running);
        let went = self.naive.waiting.iter().filter(|waiter| granted.contains(&waiter.number));
        self.naive.running.extend(went.map(|waiter| (waiter.user, waiter.operation)));
        self.naive.waiting.retain(|waiter| !granted.contains(&waiter.number));
        self.tickets.retain(|(number, _)| !granted.contains(number));
        let mut line: Vec<_> =
            self.queue.line.iter().map(|((_, turn), user)| (*turn, user.clone())).collect();
        line.sort();
        self.naive.round = line.iter().map(|(_, user)| user.as_str()[1..].parse().unwrap()).collect();
    }

    fn check(&self) {
        let UseCount { in_use, waiting, limit } = self.queue.total();
        assert_eq!(in_use, self.naive.running.len());
        assert_eq!(waiting, self.naive.waiting.len());
        assert!(in_use >= limit || self.queue.line.is_empty(), "a free slot is kept from somebody");
        let mut known = BTreeSet::new();
        for (id, counts) in self.queue.users() {
            assert!(!counts.is_empty(), "{id} is idle and still known");
            let who: u8 = id.as_str()[1..].parse().unwrap();
            known.insert(who);
            for (operation, count) in counts {
                assert_eq!(count.in_use, self.naive.runs(who, operation));
            }
        }
        let running = self.naive.running.iter().map(|(who, _)| *who);
        let expected: BTreeSet<u8> = running.chain(self.naive.waiting.iter().map(|w| w.user)).collect();
        assert_eq!(known, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_does_what_the_reference_does(
        (chat, other, queue, total) in (1usize..4, 1usize..3, 0usize..5, 1usize..8),
        steps in prop::collection::vec(step(), 1..120),
        first: prop::sample::Index,
    ) {
        let mut pair = Pair::new(limits(chat, other, queue, total));
        for step in steps {
            pair.apply(step);
        }
        while !pair.naive.running.is_empty() {
            pair.apply(Step::Release(first));
        }
        prop_assert!(pair.queue.users.is_empty() && pair.queue.line.is_empty());
        prop_assert_eq!(pair.queue.total().in_use + pair.queue.total().waiting, 0);
    }

    /// Without reloads nobody ever has more than the limit.
    #[test]
    fn no_limit_is_ever_passed(steps in prop::collection::vec(step(), 1..200)) {
        let mut pair = Pair::new(limits(2, 1, 3, 4));
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Reconfigure { .. })) {
            pair.apply(step);
            prop_assert!(pair.queue.total().in_use <= 4);
            for (_, counts) in pair.queue.users() {
                prop_assert!(counts.iter().all(|(_, count)| count.in_use <= count.limit));
                prop_assert!(counts.iter().map(|(_, count)| count.waiting).sum::<usize>() <= 3);
            }
        }
    }
}

/// Twenty users who always want more, one of them fifty times as much.
#[test]
fn a_greedy_user_gets_its_share_and_no_more() {
    let mut queue = SlotQueue::new(limits(10, 10, 500, 20));
    let mut now = Instant::now();
    let mut granted = [0u32; 20];
    let mut running = std::collections::VecDeque::new();
    let enter = |queue: &mut SlotQueue<u8>, running: &mut std::collections::VecDeque<u8>, who: u8, now| {
        if queue.take(&user(who), Operation::Chat) {
            running.push_back(who);
        } else {
            queue.wait(&user(who), (Operation::Chat, 0), who, now).unwrap();
        }
    };
    for _ in 0..500 {
        enter(&mut queue, &mut running, 0, now);
    }
    for who in (1..20).flat_map(|who| [who; 10]) {
        enter(&mut queue, &mut running, who, now);
    }
    for _ in 0..20_000 {
        now += Duration::from_millis(1);
        let who = running.pop_front().unwrap();
        let grant = queue.release(&user(who), Operation::Chat, now).unwrap();
        running.push_back(grant.waiter);
        granted[usize::from(grant.waiter)] += 1;
        // Whoever was answered asks again.
        enter(&mut queue, &mut running, who, now);
    }
    let total: u32 = granted.iter().sum();
    assert!(f64::from(granted[0]) / f64::from(total) <= 0.07, "{granted:?}");
    let others = granted[1..].iter().map(|count| f64::from(*count));
    let (sum, squares) = others.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let jain = sum * sum / (19.0 * squares);
    assert!(jain >= 0.99, "{jain}");
}

#[test]
fn a_thousand_requests_of_one_delay_another_by_one_turn() {
    let mut queue = SlotQueue::new(limits(5, 5, 1000, 5));
    let now = Instant::now();
    for number in 0..1000 {
        if !queue.take(&user(0), Operation::Chat) {
            queue.wait(&user(0), (Operation::Chat, 0), number, now).unwrap();
        }
    }
    queue.wait(&user(1), (Operation::Chat, 0), 7777, now).unwrap();
    // The greedy one is in none of the places before: it is at its own limit.
    assert_eq!(queue.release(&user(0), Operation::Chat, now).unwrap().waiter, 7777);
}

#[test]
fn a_full_operation_does_not_block_another() {
    let mut queue = SlotQueue::new(limits(1, 1, 5, 10));
    let now = Instant::now();
    assert!(queue.take(&user(0), Operation::Chat));
    queue.wait(&user(0), (Operation::Chat, 0), 1, now).unwrap();
    assert!(queue.take(&user(0), Operation::Embeddings));
}

#[test]
fn a_higher_priority_leaves_first_also_between_users() {
    let mut queue = SlotQueue::new(limits(1, 1, 5, 1));
    let now = Instant::now();
    assert!(queue.take(&user(0), Operation::Chat));
    for (number, (who, priority)) in [(0, 0), (0, 5), (1, 0), (2, 9)].into_iter().enumerate() {
        queue.wait(&user(who), (Operation::Chat, priority), number, now).unwrap();
    }
    let mut order = Vec::new();
    let mut running = 0;
    while let Some(grant) = queue.release(&user(running), Operation::Chat, now) {
        running = grant.user.as_str()[1..].parse().unwrap();
        order.push(grant.waiter);
    }
    assert_eq!(order, [3, 1, 2, 0]);
}

#[test]
fn who_waits_is_bounded_whatever_ids_are_invented() {
    let mut queue = SlotQueue::new(limits(1, 1, 20, 1));
    let now = Instant::now();
    assert!(queue.take(&user(0), Operation::Chat));
    let id = |number: usize| UserId::authenticated(&format!("x{number}")).unwrap();
    for number in 0..MAX_QUEUE {
        queue.wait(&id(number), (Operation::Chat, 0), number, now).unwrap();
    }
    let refused = queue.wait(&id(MAX_QUEUE), (Operation::Chat, 0), 0, now).unwrap_err();
    assert_eq!(refused.by, Limit::Total);
    assert_eq!(queue.users.len(), MAX_QUEUE + 1);
}

#[test]
fn retry_after_follows_the_rate_at_which_slots_become_free() {
    let mut queue = SlotQueue::new(limits(1, 1, 4, 10));
    let mut now = Instant::now();
    assert!(queue.take(&user(0), Operation::Chat));
    for number in 0..4 {
        queue.wait(&user(0), (Operation::Chat, 0), number, now).unwrap();
    }
    for number in 4..8 {
        now += Duration::from_secs(2);
        assert!(queue.release(&user(0), Operation::Chat, now).is_some());
        queue.wait(&user(0), (Operation::Chat, 0), number, now).unwrap();
    }
    let refused = queue.wait(&user(0), (Operation::Chat, 0), 9, now).unwrap_err();
    // Four wait, one slot is free every two seconds, and then it is this one's turn.
    assert_eq!(refused, QueueRefusal { by: Limit::User, retry_after: Duration::from_secs(10) });
}

#[test]
fn a_parked_slot_counts_as_waiting() {
    let mut queue = SlotQueue::new(limits(1, 1, 1, 4));
    let (u, chat, now) = (user(0), Operation::Chat, Instant::now());
    assert!(queue.take(&u, chat));
    queue.park(&u, chat);
    let waits = UseCount { in_use: 0, waiting: 1, limit: 1 };
    assert_eq!(queue.users().next().unwrap().1, [(chat, waits)]);
    assert_eq!(queue.total(), UseCount { limit: 4, ..waits });
    let full = queue.wait(&u, (chat, 0), 0, now).unwrap_err();
    assert_eq!(full.by, Limit::User, "it has the one place");
    queue.activate(&u, chat);
    assert_eq!(queue.total(), UseCount { in_use: 1, waiting: 0, limit: 4 });
    queue.wait(&u, (chat, 0), 0, now).unwrap();
}
