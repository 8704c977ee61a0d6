//! The attempt loop of one call: tries the targets the plan chooses until one answers or none is left.

use std::{sync::Arc, time::Duration};

use futures_util::future::Either;
use opentelemetry::trace::SpanKind;
use tokio::{
    pin, select,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    budget::{InFlightRequest, Repeat, UnprovenAttempt},
    continuation::Continuation,
    dispatcher::{Dispatcher, ResponseTrail},
    hedge,
    plan::{Candidate, Plan, Step},
};
use crate::{
    call::{Call, Phase},
    clock,
    events::Event,
    openai::{request_body::RequestContent, splice},
    refusal::{Failed, GatewayError, Refusal, UpstreamError},
    telemetry::trace::Span,
    upstream::{
        Attempt, RequestNeed, Target,
        exchange::{
            ExchangeRequest, UpstreamResponse, attempt::AttemptContext, exchange_once, failure::Failure,
            outcome::Outcome,
        },
        health::score::LatencyKind,
        provider::RequestTarget,
    },
};

/// The label of a failover that found no other target.
const NO_TARGET: &str = "none";

/// The attempt loop of one call.
pub struct AttemptLoop {
    /// The call it is for, which it owns.
    pub call: Box<Call>,
    /// What all calls share.
    pub dispatcher: Arc<Dispatcher>,
    /// Decides which target is tried next.
    pub plan: Plan,
    rng: fastrand::Rng,
    target: Option<Arc<str>>,
    first_asked: Option<Instant>,
    unproven: Option<UnprovenAttempt>,
    /// A failure after which no other target was tried yet.
    left: Option<AbandonedTarget>,
    _in_flight: InFlightRequest,
}

/// A failed target, for the event and the metric of the failover.
struct AbandonedTarget {
    from: Arc<Target>,
    outcome: Outcome,
    reason: String,
    elapsed: Duration,
}

/// The result of an attempt that was admitted.
type AttemptResult = Result<UpstreamResponse, (Candidate, Failure)>;

impl AttemptLoop {
    /// A loop that has not made an attempt yet.
    pub fn new(dispatcher: Arc<Dispatcher>, call: Box<Call>) -> Self {
        let mut rules = call.snapshot.config.resilience.clone();
        if call.upstream.pinned {
            rules.max_attempts = 1;
        }
        let kind = if call.upstream.content.stream() { LatencyKind::Stream } else { LatencyKind::Whole };
        let need = RequestNeed { kind, tokens: call.upstream.content.prompt_tokens() };
        let plan = Plan::new(call.upstream.models.clone(), unsuited(&call), need, rules);
        dispatcher.hedges.earn(call.snapshot.config.resilience.hedge_budget);
        let in_flight = dispatcher.budget.enter();
        Self {
            call,
            dispatcher,
            plan,
            rng: fastrand::Rng::new(),
            target: None,
            first_asked: None,
            unproven: None,
            left: None,
            _in_flight: in_flight,
        }
    }

    /// The first answer, unless the call's deadline passes or the process shuts down first.
    pub async fn find_in_time(&mut self) -> Result<UpstreamResponse, Refusal> {
        let (deadline, cut) = (self.call.deadline, self.dispatcher.tasks().abort_streams().clone());
        select! {
            found = timeout_at(deadline, self.find(None)) => match found {
                Ok(found) => found,
                Err(_) => Err(self.deadline_exceeded().into()),
            },
            () = cut.cancelled() => Err(GatewayError::ShuttingDown.into()),
        }
    }

    /// The next answer, or the next `continuation` of one.
    pub async fn find(
        &mut self,
        continuation: Option<&Continuation<'_>>,
    ) -> Result<UpstreamResponse, Refusal> {
        loop {
            match self.plan.next(clock::now(), &mut self.rng) {
                Step::Refuse(refusal) => {
                    self.record_failover(None);
                    return Err(refusal.into());
                }
                Step::Wait(until) => {
                    self.call.in_flight.phase(Phase::Waiting);
                    sleep_until(until).await;
                }
                Step::Try(candidate) => match self.try_one(candidate, continuation).await? {
                    Some(Ok(answer)) => return Ok(self.found(answer)),
                    Some(Err((candidate, failure))) => self.failed(&candidate, failure)?,
                    None => self.plan.refund_attempt(),
                },
            }
        }
    }

    /// The path to the answer, for the response headers.
    pub fn trail(&self) -> ResponseTrail {
        let asked = self.first_asked.unwrap_or_else(clock::now);
        let before = asked.saturating_duration_since(self.call.received);
        ResponseTrail {
            target: self.target.clone(),
            attempts: self.plan.attempts(),
            queued: self.call.queued,
            overhead: before.saturating_sub(self.call.queued),
        }
    }

    fn found(&mut self, answer: UpstreamResponse) -> UpstreamResponse {
        self.unproven = None;
        self.dispatcher.budget.succeeded(self.call.snapshot.config.resilience.retry_budget);
        answer
    }

    fn failed(&mut self, candidate: &Candidate, failure: Failure) -> Result<(), UpstreamError> {
        self.unproven = None;
        let from = candidate.target.clone();
        let reason = match failure.outcome.quotes_the_request() {
            true => format!("{}: {}", from.id, failure.outcome),
            false => failure.message.clone(),
        };
        tracing::info!(request = %self.call.id, reason, "attempt failed");
        self.left =
            Some(AbandonedTarget { from, outcome: failure.outcome, reason, elapsed: failure.elapsed });
        let goes_on = self.plan.failed(candidate, failure, clock::now());
        if goes_on.is_err() {
            self.record_failover(None);
        }
        goes_on
    }

    fn record_failover(&mut self, to: Option<&Target>) {
        let Some(AbandonedTarget { from, outcome, reason, elapsed }) = self.left.take() else { return };
        if let Some(meters) = &from.meters {
            let to =
                to.and_then(|to| to.meters.as_ref()).map_or_else(|| NO_TARGET.into(), |to| to.label.clone());
            meters.failovers.add((to, outcome.as_str()));
        }
        self.dispatcher.events.record(Event::Failover {
            request: self.call.id.to_string(),
            from: from.id.to_string(),
            to: to.map(|to| to.id.to_string()),
            reason,
            elapsed_ms: elapsed.as_millis() as u64,
        });
    }

    /// `None`: the candidate became ineligible before the attempt began.
    async fn try_one(
        &mut self,
        candidate: Candidate,
        continuation: Option<&Continuation<'_>>,
    ) -> Result<Option<AttemptResult>, Refusal> {
        if candidate.again && !self.may_repeat(&candidate) {
            return Err(self.plan.refusal(clock::now()).into());
        }
        let Some(asking) = self.prepare(&candidate, continuation) else { return Ok(None) };
        let hedge = self.call.snapshot.config.resilience.hedge;
        let delay = hedge::delay(hedge, &candidate.target, self.plan.need().kind);
        match delay.filter(|_| continuation.is_none()) {
            None => Ok(Some(exchange_once(asking).await.map_err(|failure| (candidate, failure)))),
            // On the heap: a race holds two attempts, and few calls race.
            Some(delay) => Box::pin(self.race(candidate, exchange_once(asking), delay)).await.map(Some),
        }
    }

    /// Tries a second target if the first is silent for `delay`. The first content wins; dropping the other attempt
    /// cancels it. If one fails, the other goes on.
    async fn race(
        &mut self,
        candidate: Candidate,
        first: impl Future<Output = Result<UpstreamResponse, Failure>>,
        delay: Duration,
    ) -> Result<AttemptResult, Refusal> {
        pin!(first);
        select! {
            ended = &mut first => return Ok(ended.map_err(|failure| (candidate, failure))),
            () = sleep(delay) => {}
        }
        let Some((other, asking)) = self.prepare_hedge() else {
            return Ok(first.await.map_err(|failure| (candidate, failure)));
        };
        let second = exchange_once(asking);
        pin!(second);
        let (winner, loser, ended, rest) = select! {
            ended = &mut first => (candidate, other, ended, Either::Right(second)),
            ended = &mut second => (other, candidate, ended, Either::Left(first)),
        };
        self.target = Some(winner.target.id.clone());
        match ended {
            Ok(answer) => Ok(Ok(answer)),
            Err(failure) => {
                self.failed(&winner, failure)?;
                self.target = Some(loser.target.id.clone());
                Ok(rest.await.map_err(|failure| (loser, failure)))
            }
        }
    }

    fn prepare_hedge(&mut self) -> Option<(Candidate, Box<ExchangeRequest>)> {
        if !self.dispatcher.hedges.take() {
            return None;
        }
        let candidate = self.plan.hedge(clock::now(), &mut self.rng)?;
        match self.prepare(&candidate, None) {
            Some(asking) => Some((candidate, asking)),
            None => {
                self.plan.refund_attempt();
                None
            }
        }
    }

    fn may_repeat(&mut self, candidate: &Candidate) -> bool {
        let repeat = Repeat::new(self.plan.attempts(), candidate.same);
        let share = self.call.snapshot.config.resilience.retry_budget;
        self.unproven = self.dispatcher.budget.repeat(repeat, share, clock::now());
        self.unproven.is_some()
    }

    fn prepare(
        &mut self,
        candidate: &Candidate,
        continuation: Option<&Continuation<'_>>,
    ) -> Option<Box<ExchangeRequest>> {
        let Candidate { target, model, others, .. } = candidate;
        let need = *self.plan.need();
        let attempt = Attempt::begin(target, &need, model.prior(need.kind), *others)?;
        self.record_failover(Some(target));
        self.first_asked.get_or_insert(attempt.started);
        self.target = Some(target.id.clone());
        self.call.in_flight.asks(target.id.clone());
        self.call.record.asks(target, self.plan.attempts());
        let ask = &self.call.upstream;
        let body = match continuation {
            Some(continuation) => continuation.body_for(&self.call, target),
            None => ask.content.with_model(&ask.body, &target.name.model),
        };
        let mut asking = Box::new(self.exchange_request(attempt, candidate, (body, continuation.is_some())));
        let span = self.span_of(target);
        span.record(&mut asking.question.headers);
        let (request, operation) = (self.call.id.clone(), self.call.record.gen_ai());
        asking.attempt.is_for(AttemptContext { request, operation, span });
        Some(asking)
    }

    /// The span of the attempt, a child of the call's span.
    fn span_of(&self, target: &Target) -> Span {
        let operation = self.call.record.gen_ai().as_str();
        let (provider, model) = (&target.name.provider, &target.name.model);
        let mut span = self.call.record.span.child(|| format!("{operation} {model}"), SpanKind::Client);
        span.set_attribute(|| {
            let url = &target.provider.config.base_url;
            [
                ("gen_ai.operation.name", operation.into()),
                ("gen_ai.provider.name", provider.clone().into()),
                ("gen_ai.request.model", model.clone().into()),
                ("server.address", url.host_str().unwrap_or_default().to_owned().into()),
                ("server.port", i64::from(url.port_or_known_default().unwrap_or_default()).into()),
            ]
        });
        span
    }

    fn exchange_request(
        &self,
        attempt: Attempt,
        candidate: &Candidate,
        (body, rescue): (splice::SplicedParts, bool),
    ) -> ExchangeRequest {
        let (call, known) = (&self.call, &candidate.target.state);
        let resilience = &call.snapshot.config.resilience;
        let stream = call.upstream.content.stream();
        let left = call.deadline.saturating_duration_since(clock::now());
        let (usual, first) = self.plan.deadlines(candidate, left, rescue);
        ExchangeRequest {
            attempt,
            api: call.api,
            stream,
            wants_usage: call.upstream.content.json().is_some_and(|peek| peek.include_usage),
            question: RequestTarget {
                method: call.upstream.method.clone(),
                path: call.upstream.path.clone(),
                headers: call.upstream.headers.clone(),
                body: body.into(),
            },
            first,
            stall: known.stall_deadline(resilience.stall_timeout),
            total: call.deadline,
            impatient: call.client_timeout && left < usual,
            quiet: call.user.is_gateway(),
        }
    }

    /// The call's own time is up, wherever it was.
    fn deadline_exceeded(&self) -> UpstreamError {
        let limit = self.call.deadline.saturating_duration_since(self.call.received);
        let what = self.plan.last_message().map(|message| format!(" Last: {message}")).unwrap_or_default();
        let message = format!("No answer within {:.1} s.{what}", Duration::as_secs_f64(&limit));
        UpstreamError::Timeout(Failed { message, attempts: self.plan.attempts() })
    }
}

/// The targets whose provider is known to reject a field of this request.
fn unsuited(call: &Call) -> Vec<Arc<str>> {
    let RequestContent::Json(peek) = &call.upstream.content else { return Vec::new() };
    let targets = call.upstream.models.iter().flat_map(|model| &model.targets);
    let refuses = |target: &&Arc<Target>| {
        let profile = target.provider.profile;
        let field = |path: &str| peek.field(&call.upstream.body, path);
        !profile.refused_params.is_empty() && profile.refusal(field).is_some()
    };
    targets.filter(refuses).map(|target| target.id.clone()).collect()
}
