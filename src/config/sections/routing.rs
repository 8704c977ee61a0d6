//! `[routing]`, `[resilience]`, `[breaker]` and `[health]`: which target is asked, how long it may take, and when it is
//! not asked any more.

use std::time::Duration;

use serde_json::json;

use crate::config::{
    keyword::keywords,
    reader::{section::Section, units::duration_text, value::Value},
    section_table::section,
};

keywords! {
    /// Order of the eligible targets of one model.
    pub enum Strategy {
        /// Live score plus Gumbel noise.
        Score = "score",
        /// As written.
        Priority = "priority",
        /// Random by weight.
        Weighted = "weighted",
        /// In turn.
        RoundRobin = "round_robin",
    }
}

section! {
    /// `[routing]`
    [routing] pub struct Routing {
        /// Default order.
        strategy: Strategy = "score";
        /// Score points of noise; 0: always the best.
        temperature: f64 = 1.0;
        /// How fast old results fade from the success rate.
        half_life: Duration = "60s", read Value::positive;
    }
}

keywords! {
    /// A deadline that is given, or learned from the target itself.
    pub enum Timeout {
        /// From the target's own distribution.
        Auto = "auto",
    } else {
        /// As configured.
        After(Duration)
    }
}

keywords! {
    /// When a second target is asked although the first has not failed.
    pub enum Hedge {
        /// Never.
        Off = "off",
        /// After the target's own p95 of the first token.
        Auto = "auto",
    } else {
        /// After this long.
        After(Duration)
    }
}

keywords! {
    /// What happens to a stream that breaks after content was sent.
    pub enum Rescue {
        /// Another target goes on where the answer broke off, if that can be done honestly.
        Continue = "continue",
        /// One error event.
        Error = "error",
    }
}

section! {
    /// `[resilience]`
    [resilience] pub struct Resilience {
        /// Attempts per client request, over all targets and fallbacks.
        max_attempts: u32 = 3;
        /// DNS, TCP and TLS together.
        connect_timeout: Duration = "3s", read Value::positive;
        /// Time to the first content of a stream.
        first_token_timeout: Timeout = "auto";
        /// Time to the head of an answer that is not streamed.
        answer_timeout: Timeout = "auto";
        /// Longest silence inside a stream.
        stall_timeout: Timeout = "auto";
        /// Limit of the whole request.
        total_timeout: Duration = "10m", read Value::positive;
        /// Share of recent requests that may be retries (floor 10).
        retry_budget: f64 = 0.2, read Value::share;
        /// Longest wait on the asked model before another model is used.
        patience: Duration = "3s";
        /// What to do with a stream that breaks.
        rescue: Rescue = "continue";
        /// When a second target is asked at the same time.
        hedge: Hedge = "off";
        /// Share of requests that may be hedged.
        hedge_budget: f64 = 0.05, read Value::share;
    }
}

section! {
    /// `[breaker]`
    [breaker] pub struct BreakerConfig(section) {
        /// Hard failures in a row that trip it.
        consecutive_failures: u32 = 5;
        /// Ratio below which it trips; 0: never.
        success_rate: f64 = 0.7, read Value::share;
        /// Over which time the ratio is taken.
        window: Duration = "30s", read Value::positive;
        /// Fewer than this trip nothing by ratio.
        min_requests: u32 = 20;
        /// How long it stays open after a trip; doubles with each failed probe.
        open_min: Duration = "2s", read Value::positive;
        /// Longest time that it stays open.
        open_max: Duration = "20s", read Value::positive;
    }
    rules {
        let (open_min, open_max) = in_order(section, open_min, open_max);
    }
}

/// A configuration that writes only one end of the open time moves the other one along if need be.
fn in_order(section: &Section<'_>, min: Duration, max: Duration) -> (Duration, Duration) {
    match (section.has("open_min"), section.has("open_max")) {
        (true, true) if min > max => section.error_at("open_min", "must not be longer than `open_max`"),
        (true, false) => return (min, max.max(min)),
        (false, true) => return (min.min(max), max),
        _ => {}
    }
    (min, max)
}

section! {
    /// `[health]`
    [health] pub struct Health {
        /// Pause between active probes; `None`: off.
        interval: Option<Duration> = "15s", read or_off, show |health, _| json!(off_or(health.interval));
        /// Path below the base URL.
        path: String = "/models", read path;
    }
}

/// A duration of which 0 means "never".
pub(crate) fn or_off(value: &Value<'_>) -> Option<Option<Duration>> {
    value.duration().map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
}

/// As [`or_off`] reads it.
pub(crate) fn off_or(duration: Option<Duration>) -> String {
    duration_text(duration.unwrap_or_default())
}

fn path(value: &Value<'_>) -> Option<String> {
    let path = value.name()?;
    let good = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
    if good { Some(path) } else { value.expected(r#"a path such as "/models""#, "") }
}
