//! The event loop: one policy through one trace, on tokio's paused clock, so that the product's own code runs as it is.
//!
//! A run is a function of the trace and the policy: nothing here reads a real clock, and events at one moment keep
//! their order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use concierge::upstream::exchange::outcome::{HardKind, Outcome};
use tokio::time::{Instant, advance};

use super::{
    cost::Tally,
    oracle,
    policy::{Call, Choice, Ended, Policy},
    trace::Trace,
    world::{Fate, World},
};

/// Attempts of one call, whoever routes it.
pub const MAX_ATTEMPTS: usize = 3;
/// A caller gives up after so long, whoever routes it.
pub const CALLER_WAITS: Duration = Duration::from_secs(60);

/// Who routes.
pub enum Router<'a> {
    /// Somebody who sees what a gateway sees.
    Policy(&'a mut dyn Policy),
    /// Somebody who knows the trace.
    Oracle,
}

/// What happens at one moment.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(u64),
    GoesOn(u64),
    Ends(u64),
    Streamed { call: u64, target: usize, cut: bool },
}

struct Open {
    call: Call,
    came: Instant,
    attempt: Option<Attempt>,
}

struct Attempt {
    ended: Ended,
    fate: Fate,
}

struct Run<'a> {
    router: Router<'a>,
    world: World<'a>,
    start: Instant,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    /// Events so far: those at one moment happen in the order in which they were foreseen.
    foreseen: u64,
    open: BTreeMap<u64, Open>,
    tally: Tally,
}

/// Runs `trace` to its end in a runtime of its own. `seed` makes the router's own dice repeatable.
pub fn run(trace: &Trace, make: impl FnOnce() -> Option<Box<dyn Policy>>) -> Tally {
    // The product draws its jitter from the thread's generator.
    fastrand::seed(trace.seed);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut policy = make();
        let router = match &mut policy {
            Some(policy) => Router::Policy(policy.as_mut()),
            None => Router::Oracle,
        };
        Run::new(trace, router).finish().await
    })
}

impl<'a> Run<'a> {
    fn new(trace: &'a Trace, router: Router<'a>) -> Self {
        let start = Instant::now();
        let mut run = Self {
            router,
            world: World::new(trace),
            start,
            events: BinaryHeap::new(),
            foreseen: 0,
            open: BTreeMap::new(),
            tally: Tally::default(),
        };
        for (id, at) in (0..).zip(&trace.arrivals) {
            run.foresee(start + Duration::from_secs_f64(*at), Event::Arrives(id));
        }
        run
    }

    async fn finish(mut self) -> Tally {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            let pause = at.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                advance(pause).await;
            }
            match event {
                Event::Arrives(id) => {
                    let call = Call { id, deadline: at + CALLER_WAITS, tried: Vec::new() };
                    self.go_on(Open { call, came: at, attempt: None }, at);
                }
                Event::GoesOn(id) => {
                    if let Some(open) = self.open.remove(&id) {
                        self.go_on(open, at);
                    }
                }
                Event::Ends(id) => {
                    if let Some(open) = self.open.remove(&id) {
                        self.attempt_ends(open, at);
                    }
                }
                Event::Streamed { call, target, cut } => self.streamed(call, target, cut),
            }
        }
        self.tally
    }

    fn foresee(&mut self, at: Instant, event: Event) {
        self.events.push(Reverse((at, self.foreseen, event)));
        self.foreseen += 1;
    }

    fn go_on(&mut self, mut open: Open, now: Instant) {
        let id = open.call.id;
        match self.choice(&open.call, now) {
            Choice::Ask(target, limit) => {
                let ends = self.ask(&mut open, target, limit, now);
                self.open.insert(id, open);
                self.foresee(ends, Event::Ends(id));
            }
            Choice::Wait(until) if until > now && until < open.call.deadline => {
                self.open.insert(id, open);
                self.foresee(until, Event::GoesOn(id));
            }
            Choice::Wait(_) | Choice::GiveUp => self.refuse(&open, now),
        }
    }

    fn choice(&mut self, call: &Call, now: Instant) -> Choice {
        if call.tried.len() >= MAX_ATTEMPTS || now >= call.deadline {
            return Choice::GiveUp;
        }
        match &mut self.router {
            Router::Policy(policy) => policy.next(call, now),
            Router::Oracle => oracle::choose(&self.world, call, (now - self.start).as_secs_f64()),
        }
    }

    /// Returns when the attempt ends.
    fn ask(&mut self, open: &mut Open, target: usize, limit: Duration, now: Instant) -> Instant {
        let attempt = open.call.tried.len() as u32;
        let fate = self.world.ask(open.call.id, attempt, target, (now - self.start).as_secs_f64());
        let left = open.call.deadline - now;
        let (elapsed, outcome) = match fate.after.filter(|after| *after <= limit.min(left)) {
            Some(after) => (after, fate.outcome),
            None if limit < left => (limit, Outcome::Hard(HardKind::Silent)),
            None => (left, Outcome::Cancelled),
        };
        let room = fate.room.filter(|_| outcome == fate.outcome);
        open.attempt = Some(Attempt { ended: Ended { target, outcome, elapsed, room }, fate });
        now + elapsed
    }

    fn attempt_ends(&mut self, mut open: Open, now: Instant) {
        let Some(Attempt { ended, fate }) = open.attempt.take() else { return };
        self.world.settled(ended.target);
        if let Router::Policy(policy) = &mut self.router {
            policy.ended(&open.call, &ended, now);
        }
        if ended.outcome == Outcome::Success {
            self.tally.answered((now - open.came).as_secs_f64());
            let streamed = Event::Streamed { call: open.call.id, target: ended.target, cut: fate.cut };
            self.foresee(now + fate.stream, streamed);
            return;
        }
        self.tally.wasted();
        open.call.tried.push(ended.target);
        self.go_on(open, now);
    }

    fn streamed(&mut self, call: u64, target: usize, cut: bool) {
        if cut {
            self.tally.cut();
        }
        if let Router::Policy(policy) = &mut self.router {
            policy.streamed(call, target, !cut);
        }
    }

    fn refuse(&mut self, open: &Open, now: Instant) {
        self.tally.refused((now - open.came).as_secs_f64());
        if let Router::Policy(policy) = &mut self.router {
            policy.refused(open.call.id);
        }
    }
}
