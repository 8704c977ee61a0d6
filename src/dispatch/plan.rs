//! Who is asked next: all decisions of failover, and nothing else.
//!
//! A [`Plan`] is asked for the next [`Step`] and told how each attempt ended. It does no I/O and reads no clock.
//! The asked model comes first, then its fallbacks. Targets of one model are equals: a failure moves on at once. A
//! fallback is another model: before it is used, a passing trouble is tried once more and a short rest waited out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::failure::Failure;
use crate::{
    config::Resilience,
    refusal::{Failed, ProviderReply, Refusal},
    upstream::{
        Access, Model, Need, Target, Why,
        outcome::{HardKind, Next, Outcome},
    },
};

/// Before the same target is asked again after a 5xx or a reset.
const SECOND_CHANCE: Duration = Duration::from_millis(250);
/// Longest wait for a target to come back while there is nobody at all to ask.
const NOBODY_WAIT: Duration = Duration::from_secs(1);

/// What to do now.
pub enum Step {
    /// Ask this target.
    Try(Candidate),
    /// Nobody may be asked before then.
    Wait(Instant),
    /// Give up.
    Refuse(Refusal),
}

/// A target that is to be asked.
#[derive(Clone)]
pub struct Candidate {
    /// The target.
    pub target: Arc<Target>,
    /// Another target could be asked if this one fails.
    pub others: bool,
    /// Nobody is asked after this one: it has all the time that is left.
    pub last: bool,
    /// This call asked it before, or asked somebody else before.
    pub again: bool,
}

/// The state of one call's search for an answer.
pub struct Plan {
    models: Vec<Arc<Model>>,
    /// Which of `models` is being asked.
    at: usize,
    need: Need,
    rules: Resilience,
    attempts: u32,
    tried: Vec<Arc<str>>,
    second: Option<Second>,
    second_used: bool,
    /// Since when there is nobody to ask.
    stuck: Option<Instant>,
    last: Option<Last>,
}

/// The same target once more.
struct Second {
    target: Arc<Target>,
    at: Instant,
}

struct Last {
    outcome: Outcome,
    message: String,
    reply: Option<ProviderReply>,
    /// The window that was too small.
    window: Option<u64>,
}

impl Plan {
    /// A plan for `models`: the asked one, then its fallbacks.
    pub fn new(models: Vec<Arc<Model>>, need: Need, rules: Resilience) -> Self {
        Self {
            models,
            at: 0,
            need,
            rules,
            attempts: 0,
            tried: Vec::new(),
            second: None,
            second_used: false,
            stuck: None,
            last: None,
        }
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether any attempt has failed.
    pub fn has_failed(&self) -> bool {
        self.last.is_some()
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Step {
        if self.attempts >= self.rules.max_attempts {
            return Step::Refuse(self.refusal(now));
        }
        while let Some(model) = self.models.get(self.at).cloned() {
            if self.fits(&model) {
                if let Some(target) = self.pick(&model, now, rng) {
                    return Step::Try(self.candidate(target, now));
                }
                if let Some(step) = self.linger(&model, now) {
                    return step;
                }
            }
            self.at += 1;
            self.second = None;
            self.second_used = false;
        }
        self.wait_for_anybody(now)
    }

    /// A second target to ask at the same time as the one that is silent.
    pub fn hedge(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Option<Candidate> {
        let model = self.models.get(self.at)?.clone();
        let room = self.attempts < self.rules.max_attempts;
        let target = room.then(|| self.pick(&model, now, rng))??;
        Some(self.candidate(target, now))
    }

    /// Takes note of how an attempt on `candidate` failed. `Err`: nobody else may be asked.
    pub fn failed(&mut self, candidate: &Candidate, failure: Failure, now: Instant) -> Result<(), Refusal> {
        let outcome = failure.outcome;
        let window = self.models.get(self.at).and_then(|model| model.config.context_window);
        let kept = self.last.take().filter(|last| last.outcome == Outcome::TooBig);
        let new = Last { outcome, message: failure.message, reply: failure.reply, window };
        // That the prompt is too long is what the client can mend, whatever comes after.
        self.last = Some(kept.unwrap_or(new));
        if outcome.may_try_next() == Next::No {
            return Err(self.refusal(now));
        }
        let again_at = match outcome {
            Outcome::Throttled { rest: Some(rest) } if rest <= self.rules.patience => Some(now + rest),
            _ if outcome.is_transient() => Some(now + SECOND_CHANCE),
            _ => None,
        };
        if let (Some(at), false) = (again_at, self.second_used) {
            self.second = Some(Second { target: candidate.target.clone(), at });
        }
        Ok(())
    }

    /// The refusal of a call that cannot go on.
    pub fn refusal(&self, now: Instant) -> Refusal {
        let Some(last) = &self.last else { return self.nobody(now) };
        let failed = || Failed { message: last.message.clone(), attempts: self.attempts };
        match last.outcome {
            Outcome::TooBig | Outcome::ClientFault => match &last.reply {
                Some(reply) => Refusal::Provider(reply.clone()),
                None => Refusal::UpstreamError(failed()),
            },
            Outcome::Throttled { rest } => {
                let earliest = self.earliest(now).map(|at| at.saturating_duration_since(now));
                let retry_after = earliest.or(rest).unwrap_or(Duration::from_secs(1));
                Refusal::UpstreamRateLimited { retry_after }
            }
            Outcome::KeyRefused => Refusal::UpstreamAuth(failed()),
            Outcome::Hard(HardKind::Silent) => Refusal::UpstreamTimeout(failed()),
            Outcome::Hard(HardKind::Malformed) => Refusal::UpstreamInvalid(failed()),
            _ => Refusal::UpstreamError(failed()),
        }
    }

    /// What was too long for one window is not sent to another that is no larger.
    fn fits(&self, model: &Model) -> bool {
        match &self.last {
            Some(Last { outcome: Outcome::TooBig, window: Some(small), .. }) => {
                model.config.context_window.is_none_or(|window| window > *small)
            }
            _ => true,
        }
    }

    /// A target of `model` that was not asked yet. A breaker that wants a probe gets it first, but only if
    /// somebody else can catch its failure or there is nobody else at all.
    fn pick(&self, model: &Model, now: Instant, rng: &mut fastrand::Rng) -> Option<Arc<Target>> {
        let fresh = |target: &&Arc<Target>| !self.tried.contains(&target.id);
        let standings = model.standings(&self.need, now);
        let with = |access: Access| {
            let of = standings.iter().enumerate().filter(move |(_, s)| s.access == access);
            of.map(|(index, _)| index).filter(|index| fresh(&&model.targets[*index])).collect::<Vec<_>>()
        };
        let (ready, probing) = (with(Access::Ready), with(Access::Probe));
        let caught = !ready.is_empty() || self.later_ready(now);
        if let Some(probe) = probing.first().filter(|_| caught || ready.is_empty()) {
            return Some(model.targets[*probe].clone());
        }
        let best = model.best(&ready, &standings, rng)?;
        Some(model.targets[best].clone())
    }

    /// Whether a fallback could be asked now.
    fn later_ready(&self, now: Instant) -> bool {
        let ready = |model: &Arc<Model>| {
            let standings = model.standings(&self.need, now);
            let mut each = model.targets.iter().zip(&standings);
            each.any(|(target, s)| s.access == Access::Ready && !self.tried.contains(&target.id))
        };
        self.models.iter().skip(self.at + 1).any(ready)
    }

    fn candidate(&mut self, target: Arc<Target>, now: Instant) -> Candidate {
        let again = self.attempts > 0;
        self.attempts += 1;
        self.stuck = None;
        self.tried.push(target.id.clone());
        let others = self.attempts < self.rules.max_attempts && self.others(now);
        Candidate { target, others, last: !others, again }
    }

    /// Whether somebody could still be asked after this.
    fn others(&self, now: Instant) -> bool {
        let Some(model) = self.models.get(self.at) else { return false };
        let standings = model.standings(&self.need, now);
        let mut here = model.targets.iter().zip(&standings);
        here.any(|(target, s)| s.access == Access::Ready && !self.tried.contains(&target.id))
            || self.later_ready(now)
    }

    /// Before the asked model is left: the same target once more, or a short rest waited out.
    fn linger(&mut self, model: &Arc<Model>, now: Instant) -> Option<Step> {
        let attempts_left = self.rules.max_attempts - self.attempts;
        let reserved = u32::from(self.later_ready(now));
        if let Some(second) = &self.second
            && attempts_left > reserved
        {
            let (at, target) = (second.at, second.target.clone());
            let open = matches!(target.standing(&self.need, now).access, Access::Ready);
            let resting = target.standing(&self.need, now).why == Some(Why::Resting);
            if at > now && (open || resting) {
                return Some(Step::Wait(at));
            }
            self.second = None;
            self.second_used = true;
            if open {
                return Some(Step::Try(self.candidate(target, now)));
            }
        }
        self.rest_within_patience(model, now)
    }

    /// A target that was throttled before this call came, and is back within `patience`.
    fn rest_within_patience(&mut self, model: &Arc<Model>, now: Instant) -> Option<Step> {
        let since = *self.stuck.get_or_insert(now);
        let resting = model.targets.iter().filter(|target| !self.tried.contains(&target.id));
        let back = resting.filter_map(|target| {
            let standing = target.standing(&self.need, now);
            standing.until.filter(|_| standing.why == Some(Why::Resting))
        });
        let at = back.min().filter(|at| *at <= since + self.rules.patience)?;
        Some(Step::Wait(at))
    }

    /// Every model has been left. If nothing was asked at all, a target that is back in a moment is waited for.
    fn wait_for_anybody(&mut self, now: Instant) -> Step {
        let since = *self.stuck.get_or_insert(now);
        let limit = since + NOBODY_WAIT.min(self.rules.patience);
        match self.earliest(now).filter(|at| self.last.is_none() && *at <= limit && *at > now) {
            Some(at) => {
                self.at = 0;
                Step::Wait(at)
            }
            None => Step::Refuse(self.refusal(now)),
        }
    }

    /// When the first target of any model may be asked again.
    fn earliest(&self, now: Instant) -> Option<Instant> {
        let all = self.models.iter().flat_map(|model| &model.targets);
        all.filter_map(|target| target.standing(&self.need, now).until).min()
    }

    /// Why nobody at all may be asked.
    fn nobody(&self, now: Instant) -> Refusal {
        let all = || self.models.iter().flat_map(|model| &model.targets);
        let why = |target: &Arc<Target>| target.standing(&self.need, now).why;
        let retry_after = self.earliest(now).map(|at| at.saturating_duration_since(now));
        if all().all(|target| why(target) == Some(Why::Resting)) {
            let retry_after = retry_after.unwrap_or(Duration::from_secs(1));
            return Refusal::UpstreamRateLimited { retry_after };
        }
        if all().all(|target| why(target) == Some(Why::Misconfigured)) {
            let message = "Every provider of this model refuses the gateway's key".to_owned();
            return Refusal::UpstreamAuth(Failed { message, attempts: 0 });
        }
        let model = self.models.first().map(|model| model.config.name.clone()).unwrap_or_default();
        Refusal::NoTarget { retry_after, model }
    }
}

/// Now, for dates in headers.
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
