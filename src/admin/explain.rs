//! `/admin/explain`: which targets would be tried for a model now, in which order, and why no others.
//!
//! The order is that of [`Plan::dry_run`], which runs the plan of requests itself; here it is put into sentences. Nothing
//! is sent and nothing is learned.

use std::sync::Arc;

use serde::Serialize;

use super::{Moment, reason, view::ReportedByRow};
use crate::{
    config::{Strategy, TargetName},
    dispatch::plan::{
        Plan,
        dry_run::{DryRun, PassedOver, PredictedStep, Reason},
    },
    upstream::{
        IneligibleReason, Model, ReportedState, RequestNeed, Snapshot, Target, TargetView,
        health::score::LatencyKind,
    },
};

/// The order of targets for a model.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explanation {
    /// The model, by its own name.
    pub model: String,
    /// Whether the explanation is for streams or for whole answers.
    pub stream: bool,
    /// Assumed tokens of the prompt.
    pub prompt_tokens: u64,
    /// The limit of attempts per request.
    pub max_attempts: u32,
    /// The targets that would be tried, each if all before it fail.
    pub order: Vec<PlanStep>,
    /// Every other target of the model and its fallbacks.
    pub not_asked: Vec<NotAsked>,
}

/// A target that would be tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PlanStep {
    /// `provider/model`
    pub target: String,
    /// The configured model it is tried for.
    pub model: String,
    /// Whether that is another model than the requested one.
    pub fallback: bool,
    /// 0..1: the probability that it is tried at this place.
    pub chance: f64,
    /// 0..1: the probability that it is tried first. Over all targets, including those below, they sum to 1.
    pub share: f64,
    /// Its score for such requests.
    pub score: f64,
    /// As in `/admin/providers`.
    pub state: ReportedState,
    /// Seconds that a request would have waited by then, in total.
    pub wait: f64,
    /// Why it is at this place, in one sentence.
    pub reason: String,
    /// The reporting peer, as in `/admin/providers`.
    pub told_by: Option<ReportedByRow>,
}

/// A target that would not be tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NotAsked {
    /// `provider/model`
    pub target: String,
    /// The configured model it belongs to.
    pub model: String,
    /// Whether that is another model than the requested one.
    pub fallback: bool,
    /// 0..1: the probability that it is tried first. More than 0 where a likelier one uses up the attempts.
    pub share: f64,
    /// As in `/admin/providers`.
    pub state: ReportedState,
    /// Why it would not be tried, in one sentence.
    pub reason: String,
    /// RFC 3339: when it may be tried again, if that is known.
    pub retry_at: Option<String>,
    /// The reporting peer, as in `/admin/providers`.
    pub told_by: Option<ReportedByRow>,
}

/// The model of this name or alias, or the target `provider/model`; `None` if a request for it would be refused.
pub(crate) fn find(snapshot: &Snapshot, name: &str) -> Option<Arc<Model>> {
    let target = || snapshot.peek_ad_hoc(&TargetName::parse(name)?);
    snapshot.model(name).cloned().or_else(target)
}

/// Which targets would be tried for `model`.
pub(crate) fn explain(snapshot: &Snapshot, model: &Arc<Model>, need: RequestNeed, at: Moment) -> Explanation {
    let chain = if model.direct { vec![model.clone()] } else { snapshot.chain(model) };
    let rules = snapshot.config.resilience.clone();
    let max_attempts = rules.max_attempts;
    let dry_run = Plan::new(chain, Vec::new(), need, rules).dry_run(at.now);
    let words = ReasonContext { asked: model, dry_run: &dry_run, need, max_attempts, at };
    Explanation {
        model: model.config.name.clone(),
        stream: need.kind == LatencyKind::Stream,
        prompt_tokens: need.tokens,
        max_attempts,
        order: dry_run.asked.iter().map(|step| words.step(step)).collect(),
        not_asked: dry_run.passed_over.iter().map(|passed| words.not_asked(passed)).collect(),
    }
}

/// The facts behind the sentences.
struct ReasonContext<'a> {
    asked: &'a Arc<Model>,
    dry_run: &'a DryRun,
    need: RequestNeed,
    max_attempts: u32,
    at: Moment,
}

impl ReasonContext<'_> {
    fn step(&self, step: &PredictedStep) -> PlanStep {
        let view = self.view(&step.target, &step.model);
        PlanStep {
            target: step.target.id.to_string(),
            model: step.model.config.name.clone(),
            fallback: self.is_fallback(&step.model),
            chance: step.chance,
            share: self.dry_run.share(&step.target),
            score: view.scores[self.need.kind as usize].score,
            state: view.state,
            wait: step.waited.as_secs_f64(),
            reason: why_asked(step).to_owned(),
            told_by: ReportedByRow::new(&view, self.at),
        }
    }

    fn not_asked(&self, passed: &PassedOver) -> NotAsked {
        let view = self.view(&passed.target, &passed.model);
        NotAsked {
            target: passed.target.id.to_string(),
            model: passed.model.config.name.clone(),
            fallback: self.is_fallback(&passed.model),
            share: self.dry_run.share(&passed.target),
            state: view.state,
            reason: self.why_not(passed, &view),
            retry_at: passed.until.map(|until| self.at.date(until)),
            told_by: ReportedByRow::new(&view, self.at),
        }
    }

    fn why_not(&self, passed: &PassedOver, view: &TargetView) -> String {
        match passed.reason {
            Reason::Out(IneligibleReason::NoHeadroom) => {
                "Its remaining rate limit does not cover this request.".to_owned()
            }
            Reason::Out(_) => reason::sentence(view),
            Reason::TooSmall => match passed.model.config.context_window {
                Some(window) => {
                    format!("Its context window of {window} tokens is too small for the prompt.")
                }
                None => "Its context window is too small for the prompt.".to_owned(),
            },
            Reason::OutOfAttempts if self.max_attempts == 1 => {
                "A request makes 1 attempt, and other targets come first.".to_owned()
            }
            Reason::OutOfAttempts => {
                format!("A request makes {} attempts, and other targets come first.", self.max_attempts)
            }
        }
    }

    fn view(&self, target: &Target, model: &Model) -> TargetView {
        target.view([LatencyKind::Stream, LatencyKind::Whole].map(|kind| model.prior(kind)), self.at.now)
    }

    fn is_fallback(&self, model: &Arc<Model>) -> bool {
        !Arc::ptr_eq(self.asked, model)
    }
}

fn why_asked(step: &PredictedStep) -> &'static str {
    if step.probe {
        return "A half-open probe is due, and this request makes it.";
    }
    if step.reluctantly {
        return "Its rate limit looks used up, but no other target is available.";
    }
    match step.model.strategy() {
        _ if step.model.targets.len() == 1 => "The only target of its model.",
        Strategy::Score => "Drawn by score; the most likely of the remaining targets.",
        Strategy::Priority => "The first of the remaining targets in the configured order.",
        Strategy::Weighted => "Drawn by weight; the most likely of the remaining targets.",
        Strategy::RoundRobin => "Its turn in the round robin.",
    }
}

#[cfg(test)]
mod tests;
