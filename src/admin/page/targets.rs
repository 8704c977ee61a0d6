//! The targets on the page: by model, in the order of the configuration, so that rows do not move.

use std::{sync::Arc, time::SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    chart::Chart,
    data::{MAX_TARGETS, PageData},
    format::{self, PageTime},
};
use crate::{
    admin::{
        explain::{self, Explanation},
        view::{HeadroomRow, KindScore, TargetRow},
    },
    config::Strategy,
    upstream::{Model, ReportedState, RequestNeed, health::score::LatencyKind},
};

/// The overall status in one sentence.
pub(crate) struct Status {
    /// `good`, `soso` or `bad`.
    pub class: &'static str,
    /// The sentence to show.
    pub words: String,
}

/// A model and its targets.
pub(crate) struct ModelPanel<'a> {
    /// `None` for ad-hoc targets, which were requested by name.
    pub model: Option<ModelHead<'a>>,
    /// The kind of latency shown: `First token` or `Whole answer`.
    pub latency: &'static str,
    /// One line per target.
    pub lines: Vec<TargetLine<'a>>,
}

pub(crate) struct ModelHead<'a> {
    /// Its name, without aliases.
    pub name: &'a str,
    /// Its aliases.
    pub alias: &'a [String],
    /// Its fallbacks, in order.
    pub fallbacks: &'a [String],
    /// How one of its targets is chosen.
    pub strategy: &'static str,
    /// Which targets would be tried now.
    pub explanation: Explained,
}

/// An [`Explanation`] for the page.
pub(crate) struct Explained {
    /// The targets that would be tried, and the others.
    pub inner: Explanation,
    /// The path of the same explanation as JSON.
    pub path: String,
}

/// One row of the table.
pub(crate) struct TargetLine<'a> {
    /// The row of `/admin/providers`.
    pub row: &'a TargetRow,
    /// Its id, encoded as a path segment.
    pub path: String,
    /// Its state in words.
    pub state: String,
    /// `98.8`
    pub score: String,
    /// `100 × 0.988 − 10 × 0.12`
    pub parts: String,
    /// `42.0 %`
    pub share: String,
    /// Length of the bar, 0..100.
    pub bar: String,
    /// Its latency of the last minutes.
    pub chart: Chart,
    /// `120 ms · 300 ms`
    pub percentiles: String,
    /// `98.8 %`
    pub success: String,
    /// `120 ok · 3 failed`
    pub calls: String,
    /// The remaining rate limits.
    pub limits: Vec<LimitLine>,
    /// The timeout of the first content.
    pub deadline: String,
    /// When it is tried next.
    pub next: Option<PageTime>,
}

/// What remains of one rate limit.
pub(crate) struct LimitLine {
    /// `5,900 of 6,000 requests per minute`
    pub left: String,
    /// When the window is full again.
    pub full: PageTime,
}

impl Status {
    /// The status over all targets.
    pub(crate) fn new(rows: &[TargetRow]) -> Self {
        let out: Vec<&TargetRow> = rows.iter().filter(|row| row.state != ReportedState::Closed).collect();
        let (all, answering) = (rows.len(), rows.len() - out.len());
        let (class, words) = match (all, &out[..]) {
            (0, _) => ("bad", "No target is configured.".to_owned()),
            (1, []) => ("good", "The only target is in service.".to_owned()),
            (_, []) => ("good", format!("All {all} targets are in service.")),
            (_, [only]) => {
                ("soso", format!("{answering} of {all} targets are in service. {}: {}", only.id, state(only)))
            }
            (_, out) if out.len() == all => ("bad", "No target is in service.".to_owned()),
            _ => ("soso", format!("{answering} of {all} targets are in service.")),
        };
        let class = if all > 0 && answering == 0 { "bad" } else { class };
        Self { class, words }
    }
}

/// Every model with its targets, then the ad-hoc targets.
pub(crate) fn panels<'a>(sight: &'a PageData<'_>) -> Vec<ModelPanel<'a>> {
    let mut room = MAX_TARGETS;
    let mut panels: Vec<ModelPanel<'a>> = Vec::new();
    for model in sight.snapshot.models() {
        let rows =
            model.targets.iter().filter_map(|target| sight.rows.iter().find(|row| *row.id == *target.id));
        let rows: Vec<&TargetRow> = rows.take(room).collect();
        room -= rows.len();
        let kind = main_kind(&rows);
        let shares = model.shares(&model.eligibilities(&RequestNeed { kind, tokens: 0 }, sight.at.now));
        let lines = rows.iter().zip(shares).map(|(row, share)| TargetLine::new(sight, row, kind, share));
        let model = Some(ModelHead::new(sight, model, kind));
        panels.push(ModelPanel { model, latency: latency(kind), lines: lines.collect() });
    }
    let by_name = sight.rows.iter().filter(|row| row.models.is_empty()).take(room);
    let by_name: Vec<&TargetRow> = by_name.collect();
    if !by_name.is_empty() {
        let kind = main_kind(&by_name);
        let lines = by_name.iter().map(|row| TargetLine::new(sight, row, kind, row.kinds.get(kind).share));
        panels.push(ModelPanel { model: None, latency: latency(kind), lines: lines.collect() });
    }
    panels
}

/// The kind of latency to show for a model: streams, unless only whole answers were ever measured.
fn main_kind(rows: &[&TargetRow]) -> LatencyKind {
    let known = rows.iter().find(|row| row.kinds.stream.p50.or(row.kinds.whole.p50).is_some());
    let streams = rows.iter().any(|row| row.kinds.stream.p50.is_some());
    if known.is_some() && !streams { LatencyKind::Whole } else { LatencyKind::Stream }
}

impl<'a> ModelHead<'a> {
    fn new(sight: &PageData<'a>, model: &'a Arc<Model>, kind: LatencyKind) -> Self {
        let inner = explain::explain(sight.snapshot, model, RequestNeed { kind, tokens: 0 }, sight.at);
        let path = format!("/admin/explain?model={}&stream={}", encoded(&inner.model), inner.stream);
        Self {
            name: &model.config.name,
            alias: &model.config.alias,
            fallbacks: &model.config.fallbacks,
            strategy: match model.strategy() {
                Strategy::Score => "by score",
                Strategy::Priority => "by priority",
                Strategy::Weighted => "by weight",
                Strategy::RoundRobin => "in turn",
            },
            explanation: Explained { inner, path },
        }
    }
}

impl<'a> TargetLine<'a> {
    fn new(sight: &PageData<'_>, row: &'a TargetRow, kind: LatencyKind, share: f64) -> Self {
        let of_kind = row.kinds.get(kind);
        Self {
            row,
            path: encoded(&row.id),
            state: state(row),
            score: format!("{:.1}", of_kind.score),
            parts: parts(row.success_rate, of_kind),
            share: format::percent(share),
            bar: format!("{:.1}", (100.0 * share).clamp(0.0, 100.0)),
            chart: Chart::new(&sight.history.samples(&row.id), kind),
            percentiles: percentiles(of_kind),
            success: format::percent(row.success_rate),
            calls: format!(
                "{} ok · {} failed",
                format::count(row.success_count),
                format::count(row.failure_count)
            ),
            limits: row.headroom.iter().map(|window| LimitLine::new(window, sight.at.wall)).collect(),
            deadline: format::seconds(row.first_token_timeout),
            next: row.retry_at.as_deref().map(|at| PageTime::new(at, sight.at.wall)),
        }
    }
}

fn encoded(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

fn state(row: &TargetRow) -> String {
    match row.state {
        ReportedState::Closed => "in service".to_owned(),
        other @ (ReportedState::HalfOpen
        | ReportedState::RateLimited
        | ReportedState::Open
        | ReportedState::Misconfigured
        | ReportedState::Drained) => other.as_str().replace('_', " "),
    }
}

fn latency(kind: LatencyKind) -> &'static str {
    match kind {
        LatencyKind::Stream => "First token",
        LatencyKind::Whole => "Whole answer",
    }
}

/// The formula of the score with its numbers.
fn parts(success_rate: f64, of_kind: &KindScore) -> String {
    let (seconds, what) = match of_kind.silence > of_kind.avg_latency {
        true => (of_kind.silence, "s silent"),
        false => (of_kind.avg_latency, "s"),
    };
    format!("100 × {success_rate:.3} − 10 × {seconds:.2} {what}")
}

fn percentiles(of_kind: &KindScore) -> String {
    match (of_kind.p50, of_kind.p95) {
        (Some(p50), Some(p95)) => format!("{} · {}", format::seconds(p50), format::seconds(p95)),
        _ => "not measured yet".to_owned(),
    }
}

impl LimitLine {
    fn new(window: &HeadroomRow, now: SystemTime) -> Self {
        let HeadroomRow { unit, window: name, limit, remaining, reset_at } = window;
        let of = limit.map_or(String::new(), |limit| format!(" of {}", format::count(limit)));
        // Most headers repeat the unit in the name of the window.
        let name = name.trim_start_matches(unit).trim_start_matches("req").trim_start_matches('-');
        let per = if name.is_empty() { String::new() } else { format!(" per {name}") };
        let left = format!("{}{of} {unit}{per}", format::count(*remaining));
        Self { left, full: PageTime::new(reset_at, now) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_limit_is_told_in_words() {
        let tell = |unit, window: &str, limit| {
            let reset_at = "1970-01-01T00:00:11.5Z".to_owned();
            let window = HeadroomRow { unit, window: window.into(), limit, remaining: 5900, reset_at };
            let LimitLine { left, full } = LimitLine::new(&window, UNIX_EPOCH);
            format!("{left}, full {}", full.words)
        };
        assert_eq!(tell("requests", "requests", Some(6000)), "5,900 of 6,000 requests, full in 12 s");
        assert_eq!(tell("tokens", "tokens-minute", None), "5,900 tokens per minute, full in 12 s");
        assert_eq!(tell("requests", "req-day", None), "5,900 requests per day, full in 12 s");
        assert_eq!(tell("tokens", "", None), "5,900 tokens, full in 12 s");
    }
}
