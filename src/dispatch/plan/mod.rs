//! Who is asked next: all decisions of failover, and nothing else.
//!
//! A [`Plan`] is asked for the next [`Step`] and told how each attempt ended. It does no I/O and reads no clock.
//! The asked model comes first, then its fallbacks. Targets of one model are equals: a failure moves on at once. A
//! fallback is another model: before it is used, a passing trouble is tried once more and a short rest waited out.

mod deadlines;
pub mod dry_run;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    config::Resilience,
    refusal::{Failed, UpstreamError},
    upstream::{
        Availability, Eligibility, IneligibleReason, Model, RequestNeed, Target,
        exchange::{
            failure::Failure,
            outcome::{HardKind, MissingFeature, NextStep, Outcome},
        },
    },
};

/// Before the same target is asked again after a 5xx or a reset.
const SECOND_CHANCE: Duration = Duration::from_millis(250);
/// Longest wait for a target to come back while there is nobody at all to ask.
const NO_TARGET_WAIT: Duration = Duration::from_secs(1);

/// What to do now.
pub enum Step {
    /// Ask this target.
    Try(Candidate),
    /// Nobody may be asked before then.
    Wait(Instant),
    /// Give up.
    Refuse(UpstreamError),
}

/// A target that is to be asked.
#[derive(Clone)]
pub struct Candidate {
    /// The target.
    pub target: Arc<Target>,
    /// The model it is asked for.
    pub model: Arc<Model>,
    /// Somebody else could be asked if this one fails; if not, it has all the time that is left.
    pub others: bool,
    /// Not the first attempt of the call.
    pub again: bool,
    /// The very target that failed last.
    pub same: bool,
}

/// The state of one call's search for an answer.
pub struct Plan {
    models: Vec<Arc<Model>>,
    /// Which of `models` is being asked.
    at: usize,
    need: RequestNeed,
    rules: Resilience,
    attempts: u32,
    /// Targets that are known to refuse this request: asked only if there is nobody else.
    unsuited: Vec<Arc<str>>,
    tried: Vec<Arc<str>>,
    second: SameTargetRetry,
    /// Since when there is nobody to ask.
    blocked_since: Option<Instant>,
    last: Option<Last>,
    /// Nothing is asked: the likeliest target is taken in place of a draw.
    rehearsed: bool,
}

/// Who of a model may be asked now.
struct RemainingTargets {
    standings: Vec<Eligibility>,
    /// Indices of the targets that may be asked.
    ready: Vec<usize>,
    /// The target whose breaker wants a probe: it is asked before the others.
    probe: Option<usize>,
}

/// The same target once more.
enum SameTargetRetry {
    /// Nothing failed that would be worth it.
    Idle,
    /// From then on.
    Due(Arc<Target>, Instant),
    /// It was.
    Used,
}

struct Last {
    failure: Failure,
    direct: bool,
    /// The window that was too small, if it was that.
    too_small: Option<u64>,
}

impl Plan {
    /// A plan for `models`: the asked one, then its fallbacks. `unsuited` targets come after all others.
    pub fn new(
        models: Vec<Arc<Model>>,
        unsuited: Vec<Arc<str>>,
        need: RequestNeed,
        rules: Resilience,
    ) -> Self {
        let (tried, second) = (Vec::new(), SameTargetRetry::Idle);
        Self {
            models,
            at: 0,
            need,
            rules,
            attempts: 0,
            unsuited,
            tried,
            second,
            blocked_since: None,
            last: None,
            rehearsed: false,
        }
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What the call needs of a target.
    pub fn need(&self) -> &RequestNeed {
        &self.need
    }

    /// The last failure, in one sentence.
    pub fn last_message(&self) -> Option<&str> {
        self.last.as_ref().map(|last| last.failure.message.as_str())
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Step {
        if self.attempts >= self.rules.max_attempts {
            return Step::Refuse(self.refusal(now));
        }
        while let Some(model) = self.models.get(self.at).cloned() {
            if self.seems_to_fit(&model) {
                if let Some((target, others)) = self.pick(&model, now, rng) {
                    let others = others || self.later_ready(now);
                    return Step::Try(self.candidate(target, others, false));
                }
                if let Some(step) = self.wait_on_model(&model, now) {
                    return step;
                }
            }
            self.at += 1;
            self.second = SameTargetRetry::Idle;
        }
        self.wait_for_any_target(now)
    }

    /// A second target to ask at the same time as the one that is silent.
    pub fn hedge(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Candidate> {
        let model = self.models.get(self.at)?.clone();
        let room = self.attempts < self.rules.max_attempts;
        let (target, others) = room.then(|| self.pick(&model, now, rng))??;
        Some(self.candidate(target, others, false))
    }

    /// `candidate` could not be asked after all: somebody else took its last place.
    pub fn ineligible_reason(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The target that failed last may be asked once more, for it will be asked something else.
    pub fn allow_again(&mut self) {
        self.tried.pop();
        self.last = None;
    }

    /// Takes note of how an attempt on `candidate` failed.
    ///
    /// # Errors
    /// Nobody else may be asked, and this is the answer.
    pub fn failed(
        &mut self,
        candidate: &Candidate,
        failure: Failure,
        now: Instant,
    ) -> Result<(), UpstreamError> {
        let outcome = failure.outcome;
        let again_at = if let Outcome::Throttled { rest: Some(rest) } = outcome
            && rest <= self.rules.patience
        {
            // The target counts its rest itself, a little longer than it was told.
            let until = candidate.target.eligibility(&self.need, None, now).until;
            Some(until.unwrap_or(now + rest))
        } else {
            outcome.is_transient().then(|| now + SECOND_CHANCE)
        };
        if let (Some(at), SameTargetRetry::Idle) = (again_at, &self.second) {
            self.second = SameTargetRetry::Due(candidate.target.clone(), at);
        }
        let too_small =
            (outcome == Outcome::TooBig).then_some(candidate.model.config.context_window).flatten();
        let new = Last { failure, direct: candidate.model.direct, too_small };
        // That the prompt is too long is what the client can mend, whatever comes after.
        let kept = self.last.take().filter(|last| last.failure.outcome == Outcome::TooBig);
        self.last = Some(kept.unwrap_or(new));
        if outcome.may_try_next() == NextStep::No { Err(self.refusal(now)) } else { Ok(()) }
    }

    /// The refusal of a call that cannot go on.
    pub fn refusal(&self, now: Instant) -> UpstreamError {
        let Some(Last { failure, direct, .. }) = &self.last else { return self.no_target(now) };
        let failed = || Failed { message: failure.message.clone(), attempts: self.attempts };
        let theirs = match failure.outcome {
            Outcome::TooBig | Outcome::ClientFault => true,
            // A client that names the target itself is told what it said.
            Outcome::NotServed(missing) => *direct || missing != MissingFeature::Model,
            Outcome::Success
            | Outcome::Hard(_)
            | Outcome::Throttled { .. }
            | Outcome::KeyRefused
            | Outcome::Cancelled
            | Outcome::Broken(_) => false,
        };
        let reply = failure.reply.as_ref().filter(|reply| theirs && reply.status.is_client_error());
        if let Some(reply) = reply {
            return UpstreamError::Provider(reply.clone());
        }
        match failure.outcome {
            Outcome::Throttled { rest } => {
                let retry_after = self.retry_after(now).or(rest).unwrap_or(Duration::from_secs(1));
                UpstreamError::RateLimited { retry_after }
            }
            Outcome::KeyRefused => UpstreamError::KeyRefused(failed()),
            Outcome::Hard(HardKind::Silent) | Outcome::Cancelled => UpstreamError::Timeout(failed()),
            Outcome::Hard(HardKind::Malformed) => UpstreamError::InvalidResponse(failed()),
            Outcome::Hard(HardKind::Connect | HardKind::Reset | HardKind::Status(_))
            | Outcome::NotServed(_)
            | Outcome::TooBig
            | Outcome::ClientFault
            | Outcome::Broken(_)
            | Outcome::Success => UpstreamError::Failed(failed()),
        }
    }

    /// Whether the prompt seems to fit. Our count is rough, so a model it does not fit is only put last.
    fn seems_to_fit(&self, model: &Model) -> bool {
        self.may_fit(model) && model.config.context_window.is_none_or(|window| self.need.tokens <= window)
    }

    /// What was too long for one window is not sent to another that is no larger.
    fn may_fit(&self, model: &Model) -> bool {
        match self.last.as_ref().and_then(|last| last.too_small) {
            Some(small) => model.config.context_window.is_none_or(|window| window > small),
            None => true,
        }
    }

    /// Whether a target of `model` was not asked yet and is not unsuited.
    fn is_fresh(&self, model: &Model, index: usize) -> bool {
        let id = &model.targets[index].id;
        !self.tried.contains(id) && !self.unsuited.contains(id)
    }

    /// The fresh targets of `model`, and where they stand.
    fn fresh(&self, model: &Model, now: Instant) -> impl Iterator<Item = (usize, Eligibility)> {
        let standings = model.eligibilities(&self.need, now).into_iter().enumerate();
        standings.filter(|(index, _)| self.is_fresh(model, *index))
    }

    /// With nobody else left: a target whose rate limit looks used up, or that is known to refuse such a request.
    /// Both are what we believe; the provider's own word is better than ours.
    fn last_resort(&mut self, now: Instant) -> Option<Candidate> {
        let asked = |target: &Arc<Target>| self.tried.contains(&target.id);
        let believed_out = |target: &Arc<Target>| {
            let standing = target.eligibility(&self.need, None, now);
            standing.access.is_open() || standing.why == Some(IneligibleReason::NoHeadroom)
        };
        let fitting = self.models.iter().enumerate().filter(|(_, model)| self.may_fit(model));
        let mut each = fitting.flat_map(|(at, model)| model.targets.iter().map(move |target| (at, target)));
        let (at, target) = each.find(|(_, target)| !asked(target) && believed_out(target))?;
        let target = target.clone();
        self.at = at;
        Some(self.candidate(target, false, false))
    }

    /// Who of `model` may be asked and was not asked yet. A breaker that wants a probe gets it first, if somebody
    /// else can catch its failure or there is nobody else at all.
    fn choices(&self, model: &Model, now: Instant) -> RemainingTargets {
        let standings = model.eligibilities(&self.need, now);
        let fresh: Vec<usize> = (0..standings.len()).filter(|index| self.is_fresh(model, *index)).collect();
        let probe = fresh.iter().copied().find(|index| standings[*index].access == Availability::Probe);
        let ready = Model::preferred(fresh, &standings);
        // The last attempt of a call is no time for a probe, unless there is nobody else.
        let caught = self.attempts + 1 < self.rules.max_attempts || ready.is_empty();
        RemainingTargets { standings, ready, probe: probe.filter(|_| caught) }
    }

    /// One of the choices, and whether there is another.
    fn pick(&self, model: &Model, now: Instant, rng: &mut fastrand::Rng) -> Option<(Arc<Target>, bool)> {
        let RemainingTargets { standings, ready, probe } = self.choices(model, now);
        if !self.rehearsed {
            request_probe(model, &standings);
        }
        let draw = || match self.rehearsed {
            true => model.likeliest(&ready, &standings),
            false => model.best(&ready, &standings, rng),
        };
        let chosen = probe.or_else(draw)?;
        let is_other = |index: usize| index != chosen && self.is_fresh(model, index);
        let others = (0..standings.len()).any(|index| is_other(index) && standings[index].access.is_open());
        Some((model.targets[chosen].clone(), others))
    }

    fn is_ready(&self, model: &Model, now: Instant) -> bool {
        self.fresh(model, now).any(|(_, standing)| standing.access.is_open())
    }

    /// Whether a fallback could be asked now.
    fn later_ready(&self, now: Instant) -> bool {
        self.models.iter().skip(self.at + 1).any(|model| self.is_ready(model, now))
    }

    fn candidate(&mut self, target: Arc<Target>, others: bool, same: bool) -> Candidate {
        let model = self.models[self.at].clone();
        let again = self.attempts > 0;
        self.attempts += 1;
        self.blocked_since = None;
        self.tried.push(target.id.clone());
        let others = others && self.attempts < self.rules.max_attempts;
        Candidate { target, model, others, again, same }
    }

    /// Before the asked model is left: the same target once more, or a short rest waited out.
    fn wait_on_model(&mut self, model: &Model, now: Instant) -> Option<Step> {
        let reserved = u32::from(self.later_ready(now));
        if self.rules.max_attempts - self.attempts <= reserved {
            return None;
        }
        if let SameTargetRetry::Due(target, at) = &self.second {
            let (target, at) = (target.clone(), *at);
            let standing = target.eligibility(&self.need, None, now);
            let ready = standing.access.is_open();
            if now < at && (ready || standing.why == Some(IneligibleReason::Resting)) {
                return Some(Step::Wait(at));
            }
            self.second = SameTargetRetry::Used;
            if ready {
                return Some(Step::Try(self.candidate(target, reserved > 0, true)));
            }
        }
        self.rest_within_patience(model, now).map(Step::Wait)
    }

    /// When a target is back that was throttled before this call came, if that is within `patience`; or when the peers have
    /// left its probe to us, which takes no time to speak of.
    fn rest_within_patience(&mut self, model: &Model, now: Instant) -> Option<Instant> {
        let since = *self.blocked_since.get_or_insert(now);
        let short = |why| {
            matches!(why, IneligibleReason::Resting | IneligibleReason::NoHeadroom | IneligibleReason::Unleft)
        };
        let resting = self.fresh(model, now).filter(|(_, standing)| standing.why.is_some_and(short));
        let back = resting.filter_map(|(_, standing)| standing.until).min()?;
        (back <= since + self.rules.patience).then_some(back)
    }

    /// Every model has been left. If nothing was asked at all, a target that is back in a moment is waited for.
    fn wait_for_any_target(&mut self, now: Instant) -> Step {
        if let Some(candidate) = self.last_resort(now) {
            return Step::Try(candidate);
        }
        let since = *self.blocked_since.get_or_insert(now);
        let limit = since + NO_TARGET_WAIT.min(self.rules.patience);
        let back = self.earliest(now).filter(|at| self.last.is_none() && (now..=limit).contains(at));
        match back {
            Some(at) => {
                self.at = 0;
                Step::Wait(at)
            }
            None => Step::Refuse(self.refusal(now)),
        }
    }

    fn all(&self, now: Instant) -> impl Iterator<Item = Eligibility> {
        self.models.iter().flat_map(move |model| model.eligibilities(&self.need, now))
    }

    /// When the first target of any model may be asked again.
    fn earliest(&self, now: Instant) -> Option<Instant> {
        self.all(now).filter_map(|standing| standing.until).min()
    }

    fn retry_after(&self, now: Instant) -> Option<Duration> {
        self.earliest(now).map(|at| at.saturating_duration_since(now))
    }

    /// Why nobody at all may be asked.
    fn no_target(&self, now: Instant) -> UpstreamError {
        let all_are =
            |whys: &[IneligibleReason]| self.all(now).all(|s| s.why.is_some_and(|why| whys.contains(&why)));
        if all_are(&[IneligibleReason::Resting, IneligibleReason::NoHeadroom]) {
            let retry_after = self.retry_after(now).unwrap_or(Duration::from_secs(1));
            return UpstreamError::RateLimited { retry_after };
        }
        if all_are(&[IneligibleReason::Misconfigured]) {
            let message = "Every provider of this model refuses the gateway's key or model".to_owned();
            return UpstreamError::KeyRefused(Failed { message, attempts: 0 });
        }
        let model = self.models.first().map(|model| model.config.name.clone()).unwrap_or_default();
        UpstreamError::NoTarget { retry_after: self.retry_after(now), model }
    }
}

/// Targets whose probe this request could be get the peers' leave for the next one: it is not waited for.
fn request_probe(model: &Model, standings: &[Eligibility]) {
    let each = model
        .targets
        .iter()
        .zip(standings)
        .filter(|(_, standing)| standing.why == Some(IneligibleReason::Unleft));
    each.for_each(|(target, _)| target.state.probe_request());
}

#[cfg(test)]
mod tests;
