//! Why a target is in its state, in one sentence for an operator.

use crate::upstream::{IneligibleReason, ReportedState, TargetView};

/// Seconds of silence before a waiting request is mentioned.
const LONG_SILENCE: f64 = 1.0;
/// A lower success rate of an eligible target is mentioned.
const POOR: f64 = 0.95;

/// The sentence for `view`.
pub(crate) fn sentence(view: &TargetView) -> String {
    match view.state {
        ReportedState::Closed => of_closed(view),
        ReportedState::HalfOpen => {
            format!("Half-open: one request at a time tests whether it has recovered{}.", because(view))
        }
        ReportedState::Open if view.retry_at.is_none() => {
            format!("A probe request is testing whether it has recovered{}.", because(view))
        }
        ReportedState::Open => format!("The circuit breaker is open{}.", because(view)),
        ReportedState::RateLimited if view.why == Some(IneligibleReason::NoHeadroom) => {
            "Its remaining rate limit does not cover another request.".to_owned()
        }
        ReportedState::RateLimited => match view.told_by {
            Some(told) => format!("Cooling down: gateway {} was rate limited by it.", told.peer),
            None => "Cooling down after a rate limit.".to_owned(),
        },
        ReportedState::Misconfigured => match &view.misconfiguration {
            Some(said) => format!("It rejected the API key or does not offer the model: {}.", trimmed(said)),
            None => "It rejected the API key or does not offer the model.".to_owned(),
        },
        ReportedState::Drained => "Drained by an operator.".to_owned(),
    }
}

fn of_closed(view: &TargetView) -> String {
    let score = view.score();
    if view.why == Some(IneligibleReason::Busy) {
        return "Its provider has reached max_concurrency.".to_owned();
    }
    if score.silence > score.avg_latency.max(LONG_SILENCE) {
        return format!("Requests have been waiting for {:.1} s without any response.", score.silence);
    }
    if let Some(told) = view.doubted_by {
        return format!(
            "Gateway {} has just seen it fail and is testing it: other targets are preferred.",
            told.peer
        );
    }
    if view.ramp < 1.0 {
        return "It has recovered; its share of requests is ramping up.".to_owned();
    }
    if view.counters.total_calls == 0 {
        return "Not measured yet; it gets the average score of its pool.".to_owned();
    }
    if score.success_rate < POOR {
        let last =
            view.last_failure.as_deref().map_or(String::new(), |last| format!(" Last: {}.", trimmed(last)));
        return format!("In service, but {:.0} % failed recently.{last}", 100.0 * (1.0 - score.success_rate));
    }
    "In service.".to_owned()
}

fn because(view: &TargetView) -> String {
    let by = view.told_by.map_or(String::new(), |told| format!(", reported by gateway {}", told.peer));
    view.cause.map_or(String::new(), |cause| format!(": {cause}{by}"))
}

fn trimmed(sentence: &str) -> &str {
    sentence.trim_end_matches(['.', ' '])
}
