//! The targets' part of `GET /metrics`: their counts, and their present state.
//!
//! Only targets of configured models are named. Ad-hoc targets, requested by name, are counted together as `other`, and
//! their state is not shown: clients decide how many there are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::timed;
use crate::{
    admin::{
        Moment,
        view::{HeadroomRow, TargetRow},
    },
    telemetry::{
        exposition::{Labels, MetricsPage},
        histogram::{Histogram, HistogramSnapshot},
        metrics::{Attempts, CostMeters, OTHER, TargetMeters},
    },
    upstream::{ReportedState, Snapshot, Target},
};

/// A named target and its row in `/admin/providers`.
struct NamedTarget<'a> {
    target: &'a Target,
    row: &'a TargetRow,
}

/// The counts under one label.
struct LabelledCount<'a> {
    meters: &'a TargetMeters,
    provider: &'a str,
    model: &'a str,
}

pub(crate) fn write(page: &mut MetricsPage, snapshot: &Snapshot, rows: &[TargetRow], at: Moment) {
    let targets = snapshot.targets();
    let row_of = |target: &Target| rows.iter().find(|row| row.id == *target.id && !row.models.is_empty());
    let named: Vec<NamedTarget<'_>> =
        targets.iter().filter_map(|target| Some(NamedTarget { target, row: row_of(target)? })).collect();
    let mut counted: Vec<LabelledCount<'_>> = named.iter().filter_map(NamedTarget::counted).collect();
    counted.extend(snapshot.others().map(|(meters, _)| LabelledCount {
        meters,
        provider: OTHER,
        model: OTHER,
    }));
    operations(page, &counted);
    counts(page, &counted);
    standing(page, &named, at);
    states(page, &named);
}

impl NamedTarget<'_> {
    fn counted(&self) -> Option<LabelledCount<'_>> {
        let name = &self.target.name;
        Some(LabelledCount {
            meters: self.target.meters.as_ref()?,
            provider: &name.provider,
            model: &name.model,
        })
    }

    fn labels(&self) -> Labels {
        vec![("target", self.target.id.to_string())]
    }
}

impl LabelledCount<'_> {
    fn labels(&self) -> Labels {
        vec![("target", self.meters.label.to_string())]
    }

    fn with(&self, key: &'static str, value: &str) -> Labels {
        vec![("target", self.meters.label.to_string()), (key, value.to_owned())]
    }
}

/// OpenTelemetry's view: the gateway is the client of the providers.
fn operations(page: &mut MetricsPage, counted: &[LabelledCount<'_>]) {
    let (mut durations, mut firsts, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    let mut attempts: Vec<(Labels, u64)> = Vec::new();
    for one in counted {
        let mut outcomes = BTreeMap::new();
        for (operation, made) in one.meters.attempts.used() {
            let labels = vec![
                ("gen_ai_operation_name", operation.as_str().to_owned()),
                ("gen_ai_provider_name", one.provider.to_owned()),
                ("gen_ai_request_model", one.model.to_owned()),
            ];
            timed(&mut durations, &made.duration, &labels, "error_type");
            seen(&mut firsts, &made.first_chunk, &labels, None);
            seen(&mut tokens, &made.input, &labels, Some("input"));
            seen(&mut tokens, &made.output, &labels, Some("output"));
            add_outcomes(&mut outcomes, made);
        }
        attempts.extend(outcomes.into_iter().map(|(word, count)| (one.with("outcome", word), count)));
    }
    let help = "Time of attempts, from sending the request to the last byte of the answer.";
    page.histogram("gen_ai_client_operation_duration_seconds", help, durations);
    let help = "Time from sending the request to the first content of the stream.";
    page.histogram("gen_ai_client_operation_time_to_first_chunk_seconds", help, firsts);
    page.histogram(
        "gen_ai_client_token_usage",
        "Tokens of one attempt, as the provider counted them.",
        tokens,
    );
    page.counter("concierge_attempts", "Attempts, by outcome.", attempts);
}

fn seen(
    into: &mut Vec<(Labels, HistogramSnapshot)>,
    histogram: &Histogram,
    labels: &Labels,
    tokens: Option<&str>,
) {
    let reading = histogram.read();
    if reading.count() > 0 {
        let kind = tokens.map(|kind| ("gen_ai_token_type", kind.to_owned()));
        into.push((labels.iter().cloned().chain(kind).collect(), reading));
    }
}

fn add_outcomes(outcomes: &mut BTreeMap<&'static str, u64>, made: &Attempts) {
    made.duration.each(|word, histogram| {
        *outcomes.entry(word.unwrap_or("success")).or_default() += histogram.count();
    });
}

fn counts(page: &mut MetricsPage, counted: &[LabelledCount<'_>]) {
    let known = |to: &Arc<str>| &**to == "none" || counted.iter().any(|one| one.meters.label == *to);
    let failovers = counted.iter().flat_map(|one| {
        let made = one.meters.failovers.read().into_iter().filter(|((to, _), _)| known(to));
        made.map(|((to, reason), count)| {
            let from = one.meters.label.to_string();
            (vec![("from", from), ("to", to.to_string()), ("reason", reason.to_owned())], count)
        })
    });
    let help = "Requests that failed over after a failure; to=\"none\": no target was left.";
    page.counter("concierge_failovers", help, failovers);
    let changes = counted.iter().flat_map(|one| {
        let (opened, closed) = (one.meters.opened.get(), one.meters.closed.get());
        [(one.with("to", "open"), opened), (one.with("to", "closed"), closed)]
    });
    page.counter("concierge_breaker_changes", "Circuit breakers opened, and closed again.", changes);
    let usage = counted.iter().flat_map(|one| {
        CostMeters::ALL.map(|cost| (one.with("usage", cost.as_str()), one.meters.usage[cost as usize].get()))
    });
    page.counter("concierge_attempt_usage", "Attempts, by how completely their token usage is known.", usage);
    let noise = counted.iter().map(|one| (one.labels(), one.meters.noise.get()));
    page.counter("concierge_noise_events", "Stream events without content that were not forwarded.", noise);
}

/// The state, as in `/admin/providers` at the same moment.
fn standing(page: &mut MetricsPage, named: &[NamedTarget<'_>], at: Moment) {
    let each = |value: fn(&TargetRow) -> f64| named.iter().map(move |one| (one.labels(), value(one.row)));
    page.gauge(
        "concierge_target_score",
        "Routing score: 100 × success rate − 10 × seconds of latency, or of silence if longer.",
        each(|row| row.score),
    );
    let help = "Success rate, exponentially decayed.";
    page.gauge("concierge_target_success_ratio", help, each(|row| row.success_rate));
    let help = "Latency used by the score, exponentially decayed.";
    page.gauge("concierge_target_latency_seconds", help, each(|row| row.avg_latency));
    let help = "Probability that the next request tries this target first.";
    page.gauge("concierge_target_share_ratio", help, each(|row| row.share));
    let help = "Attempts in flight.";
    page.gauge("concierge_target_in_flight", help, each(|row| f64::from(row.in_flight)));
    let help = "Timeout for the first content of a stream.";
    page.gauge("concierge_target_first_token_timeout_seconds", help, each(|row| row.first_token_timeout));
    let room = named.iter().flat_map(|one| {
        left(&one.row.headroom).into_iter().map(|((unit, window), left)| {
            let named = [("unit", unit.to_owned()), ("window", window.to_owned())];
            (one.labels().into_iter().chain(named).collect(), left as f64)
        })
    });
    page.gauge("concierge_target_rate_limit_remaining", "Remaining rate limit of the provider.", room);
    let rests = named.iter().filter_map(|one| {
        let until = humantime::parse_rfc3339(one.row.retry_at.as_deref()?).ok()?;
        let rest = until.duration_since(at.wall).unwrap_or(Duration::ZERO);
        Some((one.labels(), rest.as_secs_f64()))
    });
    let help = "Seconds until the target is tried again; only while it is out of service.";
    page.gauge("concierge_target_retry_seconds", help, rests);
}

/// The least remaining, by unit and window. Windows have labels of our own, because a provider could name them
/// differently with each answer.
fn left(windows: &[HeadroomRow]) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut least = BTreeMap::new();
    for window in windows {
        let word = ["second", "minute", "hour", "day", "month"];
        let word = word.into_iter().find(|word| window.window.ends_with(word)).unwrap_or("unnamed");
        let left = least.entry((window.unit, word)).or_insert(window.remaining);
        *left = window.remaining.min(*left);
    }
    least
}

/// One series per state, of which one is 1, so that states can be summed and joined.
fn states(page: &mut MetricsPage, named: &[NamedTarget<'_>]) {
    let is = |yes: bool| f64::from(u8::from(yes));
    let all = named.iter().flat_map(|one| {
        ReportedState::ALL.map(|state| {
            let labels = one.labels().into_iter().chain([("state", state.as_str().to_owned())]).collect();
            (labels, is(one.row.state == state))
        })
    });
    page.gauge("concierge_target_state", "1 for the current state of the target, 0 for the others.", all);
    let refused = named.iter().map(|one| (one.labels(), is(one.row.state == ReportedState::Misconfigured)));
    let help = "1 while the target rejects the API key, quota or credit, or does not offer the model: needs an operator.";
    page.gauge("concierge_target_misconfigured", help, refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_by_our_words_and_the_least_counts() {
        let window = |unit, window: &str, remaining| {
            let reset_at = String::new();
            HeadroomRow { unit, window: window.to_owned(), limit: None, remaining, reset_at }
        };
        let told = [
            window("requests", "requests", 7),
            window("requests", "stray-1", 5),
            window("requests", "req-day", 9),
            window("tokens", "tokens-minute", 3),
            window("tokens", "stray-2-minute", 4),
        ];
        let expected = [(("requests", "day"), 9), (("requests", "unnamed"), 5), (("tokens", "minute"), 3)];
        assert_eq!(left(&told), BTreeMap::from(expected));
        assert!(left(&[]).is_empty());
    }
}
