//! One question to one target, from its beginning to its one outcome.
//!
//! An [`Attempt`] is a guard: whatever happens to the call, the target learns how it ended, and a probe that is
//! given up is handed back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    breaker::{Change, Pass},
    outcome::{Outcome, Sent},
    provider::InFlight,
    score::Kind,
    target::{Facts, Need, Target},
};
use crate::api::usage::Usage;

/// How long a target whose key or model was refused is left alone.
const MISCONFIGURED: Duration = Duration::from_secs(15 * 60);

/// One question to one target. It ends in exactly one outcome: dropped without one, it was cancelled.
pub struct Attempt {
    /// Who is asked.
    pub target: Arc<Target>,
    kind: Kind,
    id: u64,
    pass: Pass,
    prior: Option<f64>,
    /// Another target could be asked instead: then a bad ratio may open the breaker.
    others: bool,
    /// When it began.
    pub started: Instant,
    first_content: Option<Instant>,
    ended: bool,
    ledger: Ledger,
    _provider: InFlight,
}

/// What the attempt cost, for the log: one line per attempt, so that nothing is counted twice or lost.
struct Ledger {
    request: Option<Arc<str>>,
    outcome: Outcome,
    usage: Option<Usage>,
}

impl Attempt {
    /// Begins an attempt; `None` if somebody else took the last chance in the meantime.
    pub fn begin(target: &Arc<Target>, need: &Need, prior: Option<f64>, others: bool) -> Option<Self> {
        let now = Instant::now();
        let provider = target.provider.enter()?;
        let mut facts = target.known.facts.lock();
        let pass = facts.breaker.admit(now)?;
        let id = target.known.attempts.fetch_add(1, Ordering::Relaxed);
        facts.live.started(need.kind, id, now, SystemTime::now());
        facts.headroom.sent(need.tokens);
        facts.in_flight += 1;
        Some(Self {
            target: target.clone(),
            kind: need.kind,
            id,
            pass,
            prior,
            others,
            started: now,
            first_content: None,
            ended: false,
            ledger: Ledger { request: None, outcome: Outcome::Cancelled, usage: None },
            _provider: provider,
        })
    }

    /// Names the request that it is for, so that the log can tell what it cost.
    #[must_use]
    pub fn for_request(mut self, id: Arc<str>) -> Self {
        self.ledger.request = Some(id);
        self
    }

    /// What the provider has counted so far.
    pub fn used(&mut self, usage: Option<Usage>) {
        self.ledger.usage = usage.or(self.ledger.usage);
    }

    /// The head of an answer came: what it says about our rate limit.
    pub fn head(&self, headers: &HeaderMap) {
        self.target.known.facts.lock().headroom.observe(headers, Instant::now(), SystemTime::now());
    }

    /// The first content of a stream, or a whole answer, has come.
    pub fn succeeded(&mut self) {
        if self.first_content.is_none() {
            let now = Instant::now();
            self.first_content = Some(now);
            self.settle(Outcome::Success, now);
        }
    }

    /// How long the first content took.
    pub fn first_token(&self) -> Option<Duration> {
        self.first_content.map(|at| at.saturating_duration_since(self.started))
    }

    /// It is over without a failure: `tokens` were produced, with this as the longest gap between them.
    pub fn completed(&mut self, tokens: u64, longest_gap: Option<Duration>) {
        self.succeeded();
        self.ended = true;
        self.ledger.outcome = Outcome::Success;
        let now = Instant::now();
        let from = match self.kind {
            Kind::Stream => self.first_content.unwrap_or(now),
            Kind::Whole => self.started,
        };
        let time = now.saturating_duration_since(from);
        let mut facts = self.target.known.facts.lock();
        facts.live.produced(tokens, time, now);
        facts.breaker.on_whole(self.pass);
        if let Some(gap) = longest_gap {
            facts.gaps.record(gap, now);
        }
    }

    /// It failed. `detail` is one sentence for the operator.
    pub fn failed(&mut self, outcome: Outcome, detail: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.ledger.outcome = outcome;
        if outcome.doubts_the_connection() {
            self.target.provider.client.evict();
        }
        let now = Instant::now();
        let mut facts = self.target.known.facts.lock();
        if outcome.failure_kind().is_some() || outcome.misconfigures() {
            facts.last_failure = Some(detail.to_owned());
        }
        if let Outcome::Throttled { rest } = outcome {
            let Facts { rest: resting, rng, .. } = &mut *facts;
            resting.throttled(rest, now, rng);
        }
        if outcome.misconfigures() {
            facts.misconfigured = Some((now + MISCONFIGURED, detail.to_owned()));
            drop(facts);
            self.target.known.tell("misconfigured", detail.to_owned());
        } else {
            drop(facts);
        }
        self.settle(outcome, now);
    }

    /// Everything that learns from outcomes learns from this one.
    fn settle(&self, outcome: Outcome, now: Instant) {
        let known = &self.target.known;
        let mut guard = known.facts.lock();
        let facts = &mut *guard;
        if let Some(latency) = facts.live.ended(self.kind, self.id, outcome, self.prior, now) {
            facts.latencies[self.kind as usize].record(latency, now);
            facts.rest.answered();
        }
        let change = facts.breaker.on(self.pass, outcome, self.others, now, &mut facts.rng);
        let cause = facts.breaker.cause();
        drop(guard);
        match change {
            Some(Change::Opened) => {
                let reason = cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(target_id = %known.id, %reason, "a target is left alone");
                known.tell("open", reason);
            }
            Some(Change::Closed) => {
                tracing::info!(target_id = %known.id, "a target is back");
                known.tell("closed", "the probe succeeded".to_owned());
            }
            None => {}
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended && self.first_content.is_none() {
            self.settle(Outcome::Cancelled, Instant::now());
        }
        self.target.known.facts.lock().in_flight -= 1;
        self.ledger.write(&self.target.id);
    }
}

impl Ledger {
    /// `complete`: the provider's count of a whole answer. `partial`: its count of an answer that broke off.
    /// `unknown`: it may have done work and did not say how much. What certainly cost nothing has no line.
    fn write(&self, target: &str) {
        let Some(request) = &self.request else { return };
        let usage_is = match (self.outcome, self.usage) {
            (Outcome::Success, Some(_)) => "complete",
            (_, Some(_)) => "partial",
            (outcome, None) if outcome.sent() == Sent::No => return,
            (_, None) => "unknown",
        };
        let usage = self.usage.unwrap_or_default();
        tracing::info!(
            %request,
            target_id = target,
            outcome = %self.outcome,
            usage = usage_is,
            prompt_tokens = usage.prompt_tokens,
            completion_tokens = usage.completion_tokens,
            tokens = usage.total_tokens,
            "usage"
        );
    }
}
