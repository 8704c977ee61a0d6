//! The product's own routing: its snapshot, plan, attempts, breaker, score, headroom and retry budget, as they are.
//!
//! What a call does here is what `dispatch::attempt_loop` does around the network: next step, budget, attempt, outcome.
//! Health checks, hedging and rescue are left out, for no rival here has them either.

use std::{collections::HashMap, sync::Arc, time::Duration};

use concierge::{
    config,
    dispatch::{
        budget::{Budget, InFlightRequest, Repeat, UnprovenAttempt},
        plan::{Candidate, Plan, Step},
    },
    events::Events,
    tasks::Tasks,
    upstream::{
        Attempt, Model, RequestNeed, Snapshot,
        exchange::{
            failure::Failure,
            outcome::{BrokenKind, Outcome},
        },
        health::score::LatencyKind,
    },
};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{
    policy::{Call, Choice, Ended, Policy},
    world::Room,
};

/// Tokens of every prompt.
const PROMPT: u64 = 500;

/// The product.
pub struct Ours {
    snapshot: Snapshot,
    model: Arc<Model>,
    budget: Arc<Budget>,
    rng: fastrand::Rng,
    calls: HashMap<u64, Running>,
}

/// What one call holds.
struct Running {
    plan: Plan,
    asked: Option<(Candidate, Attempt)>,
    unproven: Option<UnprovenAttempt>,
    _in_flight: InFlightRequest,
}

impl Ours {
    /// The product in front of so many targets, with `settings` added to its configuration.
    pub fn new(targets: usize, settings: &str, seed: u64) -> Self {
        let providers = |i| format!("[[providers]]\nname = \"p{i}\"\nbase_url = \"http://127.0.0.1:1/v1\"\n");
        let names: Vec<String> = (0..targets).map(|i| format!("\"p{i}/m\"")).collect();
        let providers: String = (0..targets).map(providers).collect();
        let text =
            format!("{settings}\n{providers}[[models]]\nname = \"m\"\ntargets = [{}]\n", names.join(", "));
        let loaded =
            config::parse("simulated", &text, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let snapshot = Snapshot::new(loaded.config, None, &Events::new(), &Tasks::new()).expect("targets");
        let model = snapshot.model("m").expect("the model").clone();
        let budget = Budget::new(Instant::now());
        Self { snapshot, model, budget, rng: fastrand::Rng::with_seed(seed), calls: HashMap::new() }
    }

    fn begin(&self) -> Running {
        let need = RequestNeed { kind: LatencyKind::Stream, tokens: PROMPT };
        let rules = self.snapshot.config.resilience.clone();
        let plan = Plan::new(vec![self.model.clone()], Vec::new(), need, rules);
        Running { plan, asked: None, unproven: None, _in_flight: self.budget.enter() }
    }

    fn step(&mut self, running: &mut Running, call: &Call, now: Instant) -> Choice {
        loop {
            let candidate = match running.plan.next(now, &mut self.rng) {
                Step::Try(candidate) => candidate,
                Step::Wait(until) => return Choice::Wait(until),
                Step::Refuse(_) => return Choice::GiveUp,
            };
            if candidate.again {
                let share = self.snapshot.config.resilience.retry_budget;
                let repeat = Repeat::new(running.plan.attempts(), candidate.same);
                running.unproven = self.budget.repeat(repeat, share, now);
                if running.unproven.is_none() {
                    return Choice::GiveUp;
                }
            }
            let need = *running.plan.need();
            let prior = self.model.prior(need.kind);
            match Attempt::begin(&candidate.target, &need, prior, candidate.others) {
                Some(attempt) => {
                    let (_, first) = running.plan.deadlines(&candidate, call.deadline - now, false);
                    let target = self.index(&candidate);
                    running.asked = Some((candidate, attempt));
                    return Choice::Ask(target, first);
                }
                None => running.plan.refund_attempt(),
            }
        }
    }

    fn index(&self, candidate: &Candidate) -> usize {
        self.model
            .targets
            .iter()
            .position(|target| Arc::ptr_eq(target, &candidate.target))
            .unwrap_or_default()
    }
}

impl Policy for Ours {
    fn next(&mut self, call: &Call, now: Instant) -> Choice {
        let mut running = self.calls.remove(&call.id).unwrap_or_else(|| self.begin());
        let choice = self.step(&mut running, call, now);
        self.calls.insert(call.id, running);
        choice
    }

    fn ended(&mut self, call: &Call, ended: &Ended, now: Instant) {
        let Some(running) = self.calls.get_mut(&call.id) else { return };
        running.unproven = None;
        let Some((candidate, mut attempt)) = running.asked.take() else { return };
        if let Some(room) = ended.room {
            attempt.head(&headers(room));
        }
        match ended.outcome {
            Outcome::Success => {
                attempt.succeeded();
                self.budget.succeeded(self.snapshot.config.resilience.retry_budget);
                running.asked = Some((candidate, attempt));
            }
            // The caller left: the guard tells the target.
            Outcome::Cancelled => {}
            outcome => {
                attempt.failed(outcome, "simulated");
                drop(attempt);
                let message = "simulated".to_owned();
                let failure = Failure { outcome, message, reply: None, elapsed: ended.elapsed };
                // A refusal comes again from the next step.
                let _ = running.plan.failed(&candidate, failure, now);
            }
        }
    }

    fn streamed(&mut self, call: u64, _target: usize, whole: bool) {
        let Some((_, mut attempt)) = self.calls.remove(&call).and_then(|running| running.asked) else {
            return;
        };
        match whole {
            true => attempt.completed(200, Some(Duration::from_millis(50))),
            false => attempt.failed(Outcome::Broken(BrokenKind::Cut), "simulated"),
        }
    }

    fn refused(&mut self, call: u64) {
        self.calls.remove(&call);
    }
}

fn headers(room: Room) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-ratelimit-limit-requests", HeaderValue::from(room.limit));
    headers.insert("x-ratelimit-remaining-requests", HeaderValue::from(room.remaining));
    headers.insert("x-ratelimit-reset-requests", HeaderValue::from(room.reset.ceil() as u32));
    headers
}
