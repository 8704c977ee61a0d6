//! One request to one target, from its beginning to its one outcome.
//!
//! An [`Attempt`] is a guard: whatever happens to the call, the target gets the outcome, and an unfinished half-open
//! probe gives its permit back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::HeaderMap;
use tokio::time::Instant;

use super::outcome::{Outcome, Sent};
use crate::{
    clock,
    openai::usage::Usage,
    telemetry::{
        metrics::{Attempts, CostMeters, Counter, GenAi, TargetMeters},
        trace::Span,
    },
    upstream::{
        health::{
            breaker::{BreakerChange, Permit},
            score::LatencyKind,
        },
        provider::ConcurrencyPermit,
        target::{RequestNeed, Target, TargetHealth},
    },
};

/// How long a target that rejected the key or the model is misconfigured, and receives no requests.
const MISCONFIGURED: Duration = Duration::from_secs(15 * 60);

/// One request to one target. It ends in exactly one outcome: dropped without one, it was cancelled.
pub struct Attempt {
    /// The target of the request.
    pub target: Arc<Target>,
    kind: LatencyKind,
    id: u64,
    pass: Permit,
    prior: Option<f64>,
    /// Another target could be tried instead: only then a bad success rate may open the breaker.
    others: bool,
    /// When the attempt began.
    pub started: Instant,
    first_content: Option<Instant>,
    ended: bool,
    purpose: Option<AttemptContext>,
    outcome: Outcome,
    usage: Option<Usage>,
    _provider: ConcurrencyPermit,
}

/// The request that an attempt belongs to, for the log, the metrics and the trace.
pub struct AttemptContext {
    /// The id of the request.
    pub request: Arc<str>,
    /// The operation, for OpenTelemetry.
    pub operation: GenAi,
    /// The attempt's span; it ends with the attempt.
    pub span: Span,
}

impl Attempt {
    /// Begins an attempt; `None` if the target became ineligible in the meantime.
    pub fn begin(target: &Arc<Target>, need: &RequestNeed, prior: Option<f64>, others: bool) -> Option<Self> {
        let now = clock::refresh();
        let provider = target.provider.enter()?;
        let mut health = target.state.health.lock();
        let pass = health.breaker.admit(now)?;
        let id = target.state.attempts.fetch_add(1, Ordering::Relaxed);
        health.stats.started(need.kind, id, now, clock::wall());
        health.headroom.sent(need.tokens);
        health.in_flight += 1;
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
            purpose: None,
            outcome: Outcome::Cancelled,
            usage: None,
            _provider: provider,
        })
    }

    /// Sets its request. An attempt without one only counts for the score and the breaker.
    pub fn is_for(&mut self, purpose: AttemptContext) {
        self.purpose = Some(purpose);
    }

    /// Records the usage that the provider has reported so far.
    pub fn used(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    /// Records the number of events that were not relayed.
    pub fn left_out(&self, events: u64) {
        if let Some(meters) = &self.target.meters {
            meters.noise.inc_by(events);
        }
    }

    /// Reads the rate-limit headers of an answer's head.
    pub fn head(&self, headers: &HeaderMap) {
        let (known, now) = (&self.target.state, clock::now());
        let mut health = known.health.lock();
        health.headroom.observe(headers, now, clock::wall());
        if health.headroom.is_exhausted(now) {
            health.notify_change(&known.id);
        }
    }

    /// The first content of a stream, or a whole answer, has arrived.
    pub fn succeeded(&mut self) {
        if self.first_content.is_none() {
            let now = clock::now();
            self.first_content = Some(now);
            self.settle(Outcome::Success, now);
            if let (LatencyKind::Stream, Some(attempts)) = (self.kind, self.meters()) {
                attempts.first_chunk.observe(now.saturating_duration_since(self.started).as_secs_f64());
            }
        }
    }

    /// Time to the first content.
    pub fn first_token(&self) -> Option<Duration> {
        self.first_content.map(|at| at.saturating_duration_since(self.started))
    }

    /// The answer is complete: `tokens` were produced, with this as the longest gap between them.
    pub fn completed(&mut self, tokens: u64, longest_gap: Option<Duration>) {
        self.succeeded();
        self.ended = true;
        self.outcome = Outcome::Success;
        let now = clock::now();
        let from = match self.kind {
            LatencyKind::Stream => self.first_content.unwrap_or(now),
            LatencyKind::Whole => self.started,
        };
        let time = now.saturating_duration_since(from);
        let mut health = self.target.state.health.lock();
        health.stats.produced(tokens, time, now);
        let failing = health.breaker.failing();
        health.breaker.on_whole(self.pass);
        if health.breaker.failing() != failing {
            health.notify_change(&self.target.state.id);
        }
        if let Some(gap) = longest_gap {
            health.gaps.record(gap, now);
        }
    }

    /// The attempt failed. `detail` is one sentence for the operator.
    pub fn failed(&mut self, outcome: Outcome, detail: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.outcome = outcome;
        if outcome.doubts_the_connection() {
            self.target.provider.client.evict();
        }
        let now = clock::now();
        let mut health = self.target.state.health.lock();
        if outcome.failure_kind().is_some() || outcome.misconfigures() {
            health.last_failure = Some(detail.to_owned());
        }
        if let Outcome::Throttled { rest } = outcome {
            let TargetHealth { cooldown, rng, .. } = &mut *health;
            cooldown.throttled(rest, now, rng);
            health.notify_change(&self.target.state.id);
        }
        if outcome.misconfigures() {
            health.misconfigured = Some((now + MISCONFIGURED, detail.to_owned()));
            drop(health);
            self.target.state.publish_state("misconfigured", detail.to_owned());
        } else {
            drop(health);
        }
        self.settle(outcome, now);
    }

    /// Passes the outcome to everything that learns from outcomes: score, latency, cooldown, breaker.
    fn settle(&self, outcome: Outcome, now: Instant) {
        let known = &self.target.state;
        let mut guard = known.health.lock();
        let health = &mut *guard;
        if let Some(latency) = health.stats.ended(self.kind, self.id, outcome, self.prior, now) {
            health.latencies[self.kind as usize].record(latency, now);
            health.cooldown.answered();
        }
        let failing = health.breaker.failing();
        let change = health.breaker.on(self.pass, outcome, self.others, now, &mut health.rng);
        let cause = health.breaker.cause();
        if change.is_some() || self.pass.is_probe() || health.breaker.failing() != failing {
            health.notify_change(&known.id);
        }
        drop(guard);
        match change {
            Some(BreakerChange::Opened) => {
                let reason = cause.map(|cause| cause.to_string()).unwrap_or_default();
                tracing::warn!(target_id = %known.id, %reason, "circuit breaker opened");
                self.changed(|meters| &meters.opened);
                known.publish_state("open", reason);
            }
            Some(BreakerChange::Closed) => {
                tracing::info!(target_id = %known.id, "circuit breaker closed");
                self.changed(|meters| &meters.closed);
                known.publish_state("closed", "the probe succeeded".to_owned());
            }
            None => {}
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended && self.first_content.is_none() {
            self.settle(Outcome::Cancelled, clock::now());
        }
        self.target.state.health.lock().in_flight -= 1;
        if let Some(purpose) = self.purpose.take() {
            self.account(purpose);
        }
    }
}

impl Attempt {
    fn changed(&self, which: fn(&TargetMeters) -> &Counter) {
        if let Some(meters) = &self.target.meters {
            which(meters).inc();
        }
    }

    fn meters(&self) -> Option<&Attempts> {
        let operation = self.purpose.as_ref()?.operation;
        Some(self.target.meters.as_ref()?.attempts.get(operation))
    }

    /// Reports the attempt and its cost, once: nothing is counted twice or lost.
    fn account(&self, purpose: AttemptContext) {
        let AttemptContext { request, operation, span } = purpose;
        let error = (self.outcome != Outcome::Success).then(|| self.outcome.as_str());
        let cost = self.cost();
        if let Some(meters) = &self.target.meters {
            let attempts = meters.attempts.get(operation);
            attempts.duration.observe(clock::since(self.started), error);
            if let Some(usage) = self.usage {
                attempts.input.observe(usage.prompt_tokens as f64);
                if operation != GenAi::Embeddings {
                    attempts.output.observe(usage.completion_tokens as f64);
                }
            }
            if let Some(cost) = cost {
                meters.usage[cost as usize].inc();
            }
        }
        self.finish(span, error);
        let Some(cost) = cost else { return };
        let usage = self.usage.unwrap_or_default();
        tracing::info!(
            %request,
            target_id = &*self.target.id,
            outcome = %self.outcome,
            usage = cost.as_str(),
            prompt_tokens = usage.prompt_tokens,
            completion_tokens = usage.completion_tokens,
            tokens = usage.total_tokens,
            "usage"
        );
    }

    /// How well the cost is known; `None` if the attempt certainly cost nothing.
    fn cost(&self) -> Option<CostMeters> {
        match (self.outcome, self.usage) {
            (Outcome::Success, Some(_)) => Some(CostMeters::Complete),
            (_, Some(_)) => Some(CostMeters::Partial),
            (outcome, None) if outcome.sent() == Sent::No => None,
            (_, None) => Some(CostMeters::Unknown),
        }
    }

    fn finish(&self, mut span: Span, error: Option<&'static str>) {
        if let Some(usage) = self.usage {
            let (input, output) = (usage.prompt_tokens as i64, usage.completion_tokens as i64);
            span.set_attribute(|| {
                [("gen_ai.usage.input_tokens", input.into()), ("gen_ai.usage.output_tokens", output.into())]
            });
        }
        if let Some(first) = self.first_token().filter(|_| self.kind == LatencyKind::Stream) {
            span.set_attribute(|| [("gen_ai.response.time_to_first_chunk", first.as_secs_f64().into())]);
        }
        match error {
            Some(error) => span.failed(error),
            None => span.set_attribute(|| [("gen_ai.response.model", self.target.name.model.clone().into())]),
        }
    }
}
