//! The sections that are lists of numbers, durations and words, with the rules between their own keys.

use std::collections::BTreeMap;

use tracing_subscriber::EnvFilter;
use url::Url;

use crate::config::{
    Breaker, Health, Limits, Resilience, Routing, Slots, Telemetry, reader::section::Section,
    reader::value::Value,
};

/// Reads `[routing]`.
pub fn routing(section: &Section<'_>) -> Routing {
    let default = Routing::default();
    Routing {
        strategy: section.or("strategy", default.strategy, Value::keyword),
        temperature: section.or("temperature", default.temperature, |value| value.number(0.0..=f64::MAX)),
        half_life: section.or("half_life", default.half_life, Value::positive),
    }
}

/// Reads `[resilience]`.
pub fn resilience(section: &Section<'_>) -> Resilience {
    let default = Resilience::default();
    Resilience {
        max_attempts: section.or("max_attempts", default.max_attempts, Value::count),
        connect_timeout: section.or("connect_timeout", default.connect_timeout, Value::positive),
        first_token_timeout: section.or("first_token_timeout", default.first_token_timeout, Value::timeout),
        answer_timeout: section.or("answer_timeout", default.answer_timeout, Value::timeout),
        stall_timeout: section.or("stall_timeout", default.stall_timeout, Value::timeout),
        total_timeout: section.or("total_timeout", default.total_timeout, Value::positive),
        retry_budget: section.or("retry_budget", default.retry_budget, Value::share),
        patience: section.or("patience", default.patience, Value::duration),
        rescue: section.or("rescue", default.rescue, Value::keyword),
        hedge: section.or("hedge", default.hedge, Value::hedge),
        hedge_budget: section.or("hedge_budget", default.hedge_budget, Value::share),
    }
}

/// Reads `[breaker]`. Who writes only one end of the resting time moves the other along if need be.
pub fn breaker(section: &Section<'_>) -> Breaker {
    let default = Breaker::default();
    let (min, max) = (section.opt("open_min", Value::positive), section.opt("open_max", Value::positive));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        section.error_at("open_min", "must not be longer than `open_max`");
    }
    Breaker {
        consecutive_failures: section.or("consecutive_failures", default.consecutive_failures, Value::count),
        success_rate: section.or("success_rate", default.success_rate, Value::share),
        window: section.or("window", default.window, Value::positive),
        min_requests: section.or("min_requests", default.min_requests, Value::count),
        open_min: min.unwrap_or_else(|| default.open_min.min(max.unwrap_or(default.open_max))),
        open_max: max.unwrap_or_else(|| default.open_max.max(min.unwrap_or(default.open_min))),
    }
}

/// Reads `[health]`.
pub fn health(section: &Section<'_>) -> Health {
    let default = Health::default();
    let interval = section.opt("interval", Value::duration);
    Health {
        interval: interval.map_or(default.interval, |interval| Some(interval).filter(|i| !i.is_zero())),
        path: section.or("path", default.path, |value| {
            let path = value.name()?;
            let good = path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
            if good { Some(path) } else { value.expected(r#"a path such as "/models""#, "") }
        }),
    }
}

/// Reads `[slots]`. An operation that is not written follows `per_user`: who writes `per_user = 2` means two
/// chats, not the ten that `operations` has by default.
pub fn slots(section: &Section<'_>) -> Slots {
    let default = Slots::default();
    let per_user = section.or("per_user", default.per_user, Value::count);
    Slots {
        per_user,
        queue: section.or("queue", default.queue, |value| value.whole(0)),
        queue_timeout: section.or("queue_timeout", default.queue_timeout, Value::duration),
        total: section.or("total", default.total, Value::count),
        operations: section.section("operations", |section| operations(section, per_user)),
    }
}

/// The context operations are short and write to disk, so they stay at four unless told otherwise.
fn operations(section: &Section<'_>, per_user: u32) -> BTreeMap<String, u32> {
    const CONTEXT: u32 = 4;
    let all = [
        ("chat", per_user),
        ("embeddings", per_user),
        ("get_context", per_user.min(CONTEXT)),
        ("update_context", per_user.min(CONTEXT)),
    ];
    all.into_iter().map(|(name, limit)| (name.to_owned(), section.or(name, limit, Value::count))).collect()
}

/// Reads `[limits]`.
pub fn limits(section: &Section<'_>) -> Limits {
    Limits {
        requests_per_minute: section.opt("requests_per_minute", Value::count),
        tokens_per_minute: section.opt("tokens_per_minute", Value::count),
    }
}

/// Reads `[telemetry]`.
pub fn telemetry(section: &Section<'_>) -> Telemetry {
    let default = Telemetry::default();
    Telemetry {
        log: section.or("log", default.log, log_filter),
        log_format: section.or("log_format", default.log_format, Value::keyword),
        metrics: section.or("metrics", default.metrics, Value::boolean),
        otlp_endpoint: section.opt("otlp_endpoint", endpoint),
    }
}

fn log_filter(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let good = !text.trim().is_empty() && EnvFilter::builder().parse(&text).is_ok();
    if good { Some(text) } else { value.expected(r#"a log filter such as "info" or "info,hyper=warn""#, "") }
}

/// Empty means none.
fn endpoint(value: &Value<'_>) -> Option<Url> {
    let text = value.text().filter(|text| !text.is_empty())?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.or_else(|| {
        value.fail(r#"expected an http(s) URL without credentials, such as "http://127.0.0.1:4318""#)
    })
}
