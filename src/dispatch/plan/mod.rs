//! Which target is tried next: all decisions of failover, and nothing else.
//!
//! A [`Plan`] returns the next [`Step`] and takes the result of each attempt. It does no I/O and reads no clock.
//! The requested model comes first, then its fallbacks. Targets of one model are equals: a failure moves on at once. A
//! fallback is another model: before it is used, a transient failure is retried once and a short cooldown waited out.

mod deadlines;
pub(crate) mod dry_run;

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

/// Delay before the same target is tried again after a 5xx or a reset.
const SECOND_CHANCE: Duration = Duration::from_millis(250);
/// Longest wait for a target to become eligible while no target at all is.
const NO_TARGET_WAIT: Duration = Duration::from_secs(1);

/// The next step of a call.
pub enum Step {
    /// Make an attempt on this target.
    Try(Candidate),
    /// No target may be tried before then.
    Wait(Instant),
    /// Give up.
    Refuse(UpstreamError),
}

/// A target to try, and how.
#[derive(Clone)]
pub struct Candidate {
    /// The target to try.
    pub target: Arc<Target>,
    /// The model it is tried for.
    pub model: Arc<Model>,
    /// Another target could be tried if this one fails. If not, this one gets all the time that is left.
    pub others: bool,
    /// Not the first attempt of the call.
    pub again: bool,
    /// The same target that failed last.
    pub same: bool,
}

/// The state of one call's failover.
pub struct Plan {
    models: Vec<Arc<Model>>,
    /// Index in `models` of the one being tried.
    at: usize,
    need: RequestNeed,
    rules: Resilience,
    attempts: u32,
    /// Targets that are known to reject this request: a last resort.
    unsuited: Vec<Arc<str>>,
    tried: Vec<Arc<str>>,
    second: SameTargetRetry,
    /// Since when no target may be tried.
    blocked_since: Option<Instant>,
    last: Option<Last>,
    /// A dry run: nothing is sent, and the likeliest target is taken instead of a draw.
    rehearsed: bool,
}

/// The targets of a model that may be tried now.
struct RemainingTargets {
    eligibilities: Vec<Eligibility>,
    /// Indices of the targets that may be tried.
    ready: Vec<usize>,
    /// The target whose breaker needs a probe: it is tried before the others.
    probe: Option<usize>,
}

/// The second chance of the target that failed last.
enum SameTargetRetry {
    /// No failure so far was worth one.
    Idle,
    /// The target may be tried again from then on.
    Due(Arc<Target>, Instant),
    Used,
}

struct Last {
    failure: Failure,
    direct: bool,
    /// The context window that was too small, if that was the failure.
    too_small: Option<u64>,
}

impl Plan {
    /// A plan for `models`: the requested one, then its fallbacks. `unsuited` targets come after all others.
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

    /// Attempts so far, on all targets together.
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

    /// The next step at `now`.
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

    /// A second target to try in parallel with the silent one.
    pub fn hedge(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Candidate> {
        let model = self.models.get(self.at)?.clone();
        let room = self.attempts < self.rules.max_attempts;
        let (target, others) = room.then(|| self.pick(&model, now, rng))??;
        Some(self.candidate(target, others, false))
    }

    /// The `candidate` became ineligible before the attempt began: another call took its last place.
    pub fn refund_attempt(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// The target that failed last may be tried once more, because it will get a different request.
    pub fn allow_again(&mut self) {
        self.tried.pop();
        self.last = None;
    }

    /// Records how an attempt on `candidate` failed.
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
        // Only the client can mend a prompt that is too long, so that failure is kept whatever follows.
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
            // A client that named the target itself gets its original error.
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

    /// Whether the prompt seems to fit. Our token count is an estimate, so a model it does not fit is only put last.
    fn seems_to_fit(&self, model: &Model) -> bool {
        self.may_fit(model) && model.config.context_window.is_none_or(|window| self.need.tokens <= window)
    }

    /// A prompt too long for one window is not sent to another that is no larger.
    fn may_fit(&self, model: &Model) -> bool {
        match self.last.as_ref().and_then(|last| last.too_small) {
            Some(small) => model.config.context_window.is_none_or(|window| window > small),
            None => true,
        }
    }

    /// Whether this target of `model` was not tried yet and is not unsuited.
    fn is_fresh(&self, model: &Model, index: usize) -> bool {
        let id = &model.targets[index].id;
        !self.tried.contains(id) && !self.unsuited.contains(id)
    }

    /// The fresh targets of `model`, with their eligibility.
    fn fresh(&self, model: &Model, now: Instant) -> impl Iterator<Item = (usize, Eligibility)> {
        let eligibilities = model.eligibilities(&self.need, now).into_iter().enumerate();
        eligibilities.filter(|(index, _)| self.is_fresh(model, *index))
    }

    /// When no other is left: a target without headroom, or one that is known to reject such a request.
    /// Both are only estimates of ours; the provider's answer is authoritative.
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

    /// The targets of `model` that may be tried and were not tried yet. A half-open probe goes first, if another target
    /// can follow its failure or none else is eligible.
    fn choices(&self, model: &Model, now: Instant) -> RemainingTargets {
        let eligibilities = model.eligibilities(&self.need, now);
        let fresh: Vec<usize> =
            (0..eligibilities.len()).filter(|index| self.is_fresh(model, *index)).collect();
        let probe = fresh.iter().copied().find(|index| eligibilities[*index].access == Availability::Probe);
        let ready = Model::preferred(fresh, &eligibilities);
        // The last attempt of a call is not spent on a probe, unless there is no other target.
        let caught = self.attempts + 1 < self.rules.max_attempts || ready.is_empty();
        RemainingTargets { eligibilities, ready, probe: probe.filter(|_| caught) }
    }

    /// One of the choices, and whether another is eligible.
    fn pick(&self, model: &Model, now: Instant, rng: &mut fastrand::Rng) -> Option<(Arc<Target>, bool)> {
        let RemainingTargets { eligibilities, ready, probe } = self.choices(model, now);
        if !self.rehearsed {
            request_probe(model, &eligibilities);
        }
        let draw = || match self.rehearsed {
            true => model.likeliest(&ready, &eligibilities),
            false => model.best(&ready, &eligibilities, rng),
        };
        let chosen = probe.or_else(draw)?;
        let is_other = |index: usize| index != chosen && self.is_fresh(model, index);
        let others =
            (0..eligibilities.len()).any(|index| is_other(index) && eligibilities[index].access.is_open());
        Some((model.targets[chosen].clone(), others))
    }

    fn is_ready(&self, model: &Model, now: Instant) -> bool {
        self.fresh(model, now).any(|(_, standing)| standing.access.is_open())
    }

    /// Whether a fallback could be tried now.
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

    /// Before moving on from the requested model: a retry on the same target, or the wait for a short cooldown.
    fn wait_on_model(&mut self, model: &Model, now: Instant) -> Option<Step> {
        let reserved = u32::from(self.later_ready(now));
        if self.rules.max_attempts - self.attempts <= reserved {
            return None;
        }
        if let SameTargetRetry::Due(target, at) = &self.second {
            let (target, at) = (target.clone(), *at);
            let standing = target.eligibility(&self.need, None, now);
            let ready = standing.access.is_open();
            if now < at && (ready || standing.why == Some(IneligibleReason::CoolingDown)) {
                return Some(Step::Wait(at));
            }
            self.second = SameTargetRetry::Used;
            if ready {
                return Some(Step::Try(self.candidate(target, reserved > 0, true)));
            }
        }
        self.rest_within_patience(model, now).map(Step::Wait)
    }

    /// When a target is available again that was throttled before this call came, if that is within `patience`. A probe lease that is
    /// still to be granted counts too: that takes almost no time.
    fn rest_within_patience(&mut self, model: &Model, now: Instant) -> Option<Instant> {
        let since = *self.blocked_since.get_or_insert(now);
        let short = |why| {
            matches!(
                why,
                IneligibleReason::CoolingDown
                    | IneligibleReason::NoHeadroom
                    | IneligibleReason::AwaitingProbeLease
            )
        };
        let resting = self.fresh(model, now).filter(|(_, standing)| standing.why.is_some_and(short));
        let back = resting.filter_map(|(_, standing)| standing.until).min()?;
        (back <= since + self.rules.patience).then_some(back)
    }

    /// No model is left. If no target was tried at all, one that is back in a moment is waited for.
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

    /// When the first target of any model may be tried again.
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
        if all_are(&[IneligibleReason::CoolingDown, IneligibleReason::NoHeadroom]) {
            let retry_after = self.retry_after(now).unwrap_or(Duration::from_secs(1));
            return UpstreamError::RateLimited { retry_after };
        }
        if all_are(&[IneligibleReason::Misconfigured]) {
            let message =
                "Every provider of this model rejects the gateway's API key or does not offer the model"
                    .to_owned();
            return UpstreamError::KeyRefused(Failed { message, attempts: 0 });
        }
        let model = self.models.first().map(|model| model.config.name.clone()).unwrap_or_default();
        UpstreamError::NoTarget { retry_after: self.retry_after(now), model }
    }
}

/// Requests the next probe lease for the targets this call could probe, without waiting for it.
fn request_probe(model: &Model, eligibilities: &[Eligibility]) {
    let each = model
        .targets
        .iter()
        .zip(eligibilities)
        .filter(|(_, standing)| standing.why == Some(IneligibleReason::AwaitingProbeLease));
    each.for_each(|(target, _)| target.state.request_probe());
}

#[cfg(test)]
mod tests;
