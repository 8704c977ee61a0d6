//! Why a target is in its state, in one sentence for an operator.

use crate::upstream::{IneligibleReason, ReportedState, TargetView};

/// Seconds of silence before a waiting request is mentioned.
const LONG_SILENCE: f64 = 1.0;
/// A lower success rate of an eligible target is mentioned.
const POOR: f64 = 0.95;

/// The sentence for `view`.
pub fn of(view: &TargetView) -> String {
    match view.state {
        ReportedState::Closed => of_closed(view),
        ReportedState::HalfOpen => {
            format!("One request at a time finds out whether it is back{}.", because(view))
        }
        ReportedState::Open if view.retry_at.is_none() => {
            format!("A request is finding out whether it is back{}.", because(view))
        }
        ReportedState::Open => format!("It is left alone for a while{}.", because(view)),
        ReportedState::RateLimited if view.why == Some(IneligibleReason::NoHeadroom) => {
            "What is left of its rate limit would not take another request.".to_owned()
        }
        ReportedState::RateLimited => match view.told_by {
            Some(told) => format!("Gateway {} was rate limited there: it rests for a while.", told.peer),
            None => "It was rate limited and rests for a while.".to_owned(),
        },
        ReportedState::Misconfigured => match &view.misconfiguration {
            Some(said) => format!("It refused our key or does not have the model: {}.", trimmed(said)),
            None => "It refused our key or does not have the model.".to_owned(),
        },
        ReportedState::Drained => "An operator took it out.".to_owned(),
    }
}

fn of_closed(view: &TargetView) -> String {
    let score = view.score();
    if view.why == Some(IneligibleReason::Busy) {
        return "Its provider has as many requests in flight as it may have.".to_owned();
    }
    if score.silence > score.avg_latency.max(LONG_SILENCE) {
        return format!("Requests have been waiting for {:.1} s without a sign of life.", score.silence);
    }
    if let Some(told) = view.doubted_by {
        return format!(
            "Gateway {} has just seen it fail and is finding out: others are asked first.",
            told.peer
        );
    }
    if view.ramp < 1.0 {
        return "It is back and takes up its share again.".to_owned();
    }
    if view.counters.total_calls == 0 {
        return "It has not answered yet and is taken to be as good as its pool.".to_owned();
    }
    if score.success_rate < POOR {
        let last =
            view.last_failure.as_deref().map_or(String::new(), |last| format!(" Last: {}.", trimmed(last)));
        return format!("It answers, but {:.0} % failed lately.{last}", 100.0 * (1.0 - score.success_rate));
    }
    "It answers.".to_owned()
}

fn because(view: &TargetView) -> String {
    let by = view.told_by.map_or(String::new(), |told| format!(", says gateway {}", told.peer));
    view.cause.map_or(String::new(), |cause| format!(": {cause}{by}"))
}

fn trimmed(sentence: &str) -> &str {
    sentence.trim_end_matches(['.', ' '])
}
