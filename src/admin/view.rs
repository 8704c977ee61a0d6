//! `/admin/providers` as data: every target, best first.
//!
//! The score and the share are the ones used for routing; nothing is computed anew here. This module has no access to
//! keys, and failure messages have been redacted for the target's provider.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;

use super::{Moment, reason, rfc3339};
use crate::upstream::{
    Model, ReportedState, RequestNeed, Snapshot, Target, TargetView,
    health::{
        headroom::{self, QuotaUnit},
        score::{LatencyKind, Score},
    },
};

const KINDS: [LatencyKind; 2] = [LatencyKind::Stream, LatencyKind::Whole];

/// One target. The field names are part of the public API.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TargetRow {
    /// `provider/model`
    pub id: String,
    /// The name of its provider.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// The configured models it serves; empty for an ad-hoc target, which was requested by name.
    pub models: Vec<String>,
    /// Whether it receives requests.
    pub state: ReportedState,
    /// Why it is in this state, in one sentence.
    pub reason: String,
    /// `stream` or `whole`: the kind of the latest attempt. The figures below are of this kind.
    pub kind: &'static str,
    /// The score used for routing.
    pub score: f64,
    /// 0..1, decayed over time.
    pub success_rate: f64,
    /// Seconds, decayed over time.
    pub avg_latency: f64,
    /// The chance that the next request for the first of `models` goes here first.
    pub share: f64,
    /// Successes since start.
    pub success_count: u64,
    /// Failures since start.
    pub failure_count: u64,
    /// Attempts since start.
    pub total_calls: u64,
    /// Seconds since start, successes only.
    pub total_latency: f64,
    /// The last attempt, as RFC 3339.
    pub last_used: Option<String>,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Percentiles and speed.
    pub latency: LatencyRow,
    /// Failures since start, by kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// RFC 3339: when it is tried next, if that is known.
    pub retry_at: Option<String>,
    /// Seconds: the timeout of the first content now in force.
    pub first_token_timeout: f64,
    /// The score of streams and of whole answers.
    pub kinds: ScoresByKind,
    /// The rate-limit windows that the provider has reported.
    pub headroom: Vec<HeadroomRow>,
    /// The last failure, in one sentence.
    pub last_failure: Option<String>,
    /// The gateway whose report put it out or behind others; `null` if this gateway has seen the cause itself.
    pub told_by: Option<ReportedByRow>,
}

/// A peer's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReportedByRow {
    /// Its id as in its log: sixteen hexadecimal digits.
    pub gateway: String,
    /// Seconds since the peer observed it.
    pub seconds_ago: f64,
}

/// Percentiles of the latency behind `avg_latency`, in seconds; `null` before the first answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyRow {
    /// Median, in seconds.
    pub p50: Option<f64>,
    /// 95th percentile, in seconds.
    pub p95: Option<f64>,
    /// 99th percentile, in seconds.
    pub p99: Option<f64>,
    /// Output tokens per second of one answer.
    pub tokens_per_second: Option<f64>,
}

/// Scores by kind of request, which are independent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ScoresByKind {
    /// Streams: latency to the first content.
    pub stream: KindScore,
    /// Whole answers: latency to the end.
    pub whole: KindScore,
}

/// The score for requests of one kind.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct KindScore {
    /// `100 × success_rate − 10 × max(avg_latency, silence)`
    pub score: f64,
    /// Seconds, times `crowding`.
    pub avg_latency: f64,
    /// Waiting requests relative to the usual number; at least 1.
    pub crowding: f64,
    /// Seconds that requests have been waiting without any content.
    pub silence: f64,
    /// The share of traffic, 0..1.
    pub share: f64,
    /// Seconds: the median of the first content, or of the whole answer.
    pub p50: Option<f64>,
    /// Seconds: the 95th percentile of the same.
    pub p95: Option<f64>,
}

/// One rate-limit window of a provider.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeadroomRow {
    /// `requests` or `tokens`
    pub unit: &'static str,
    /// Its name in the provider's headers (`minute`, `tokens-day`); empty if it has none.
    pub window: String,
    /// Its limit, if reported.
    pub limit: Option<u64>,
    /// What remains in the window.
    pub remaining: u64,
    /// RFC 3339: when it is full again.
    pub reset_at: String,
}

/// Every target of `snapshot`, best first: by state, then by score.
pub(crate) fn rows(snapshot: &Snapshot, at: Moment) -> Vec<TargetRow> {
    let targets = snapshot.targets_in_models();
    let pools = targets.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b));
    let mut rows: Vec<TargetRow> = pools.flat_map(|pool| rows_of_pool(snapshot, pool, at)).collect();
    rows.sort_by(|a, b| {
        a.state.cmp(&b.state).then(b.score.total_cmp(&a.score)).then_with(|| a.id.cmp(&b.id))
    });
    rows
}

/// The targets whose first model is the same.
fn rows_of_pool(snapshot: &Snapshot, pool: &[(Arc<Model>, Arc<Target>)], at: Moment) -> Vec<TargetRow> {
    let Some((model, _)) = pool.first() else { return Vec::new() };
    let priors = KINDS.map(|kind| model.prior(kind));
    let shares =
        KINDS.map(|kind| model.shares(&model.eligibilities(&RequestNeed { kind, tokens: 0 }, at.now)));
    let views: Vec<TargetView> = pool.iter().map(|(_, target)| target.view(priors, at.now)).collect();
    // One kind for the whole pool, or the shares would not add up to 1.
    let latest =
        views.iter().max_by_key(|view| view.counters.last_used).map_or(LatencyKind::default(), |v| v.kind);
    let rows = pool.iter().zip(views).map(|((_, target), view)| {
        let place = model.targets.iter().position(|other| other.id == target.id);
        let share =
            |kind: LatencyKind| place.and_then(|i| shares[kind as usize].get(i)).copied().unwrap_or(0.0);
        let mut row = TargetRow::new(snapshot, target, &view, at);
        row.share = share(latest);
        row.kinds.stream.share = share(LatencyKind::Stream);
        row.kinds.whole.share = share(LatencyKind::Whole);
        row.first_token_timeout = first_token_timeout(snapshot, model, target).as_secs_f64();
        row
    });
    rows.collect()
}

impl TargetRow {
    fn new(snapshot: &Snapshot, target: &Target, view: &TargetView, at: Moment) -> Self {
        let serves = |model: &&Arc<Model>| model.targets.iter().any(|other| other.id == target.id);
        let score = view.score();
        let counters = &view.counters;
        Self {
            id: target.id.to_string(),
            provider: target.name.provider.clone(),
            model: target.name.model.clone(),
            models: snapshot.models().filter(serves).map(|model| model.config.name.clone()).collect(),
            state: view.state,
            reason: reason::sentence(view),
            kind: match view.kind {
                LatencyKind::Stream => "stream",
                LatencyKind::Whole => "whole",
            },
            score: score.score,
            success_rate: score.success_rate,
            avg_latency: score.avg_latency,
            share: 0.0,
            success_count: counters.success_count,
            failure_count: counters.failure_count,
            total_calls: counters.total_calls,
            total_latency: counters.total_latency.as_secs_f64(),
            last_used: counters.last_used.map(rfc3339),
            in_flight: view.in_flight,
            latency: LatencyRow::new(view),
            failures: counters.failures().map(|(kind, count)| (kind.as_str(), count)).collect(),
            retry_at: view.retry_at.map(|retry| at.date(retry)),
            first_token_timeout: 0.0,
            kinds: ScoresByKind {
                stream: KindScore::new(view, LatencyKind::Stream),
                whole: KindScore::new(view, LatencyKind::Whole),
            },
            headroom: view.headroom.iter().map(|window| HeadroomRow::new(window, at)).collect(),
            last_failure: view.last_failure.clone(),
            told_by: ReportedByRow::new(view, at),
        }
    }
}

impl ReportedByRow {
    /// The gateway whose report put the target of `view` out or under suspicion.
    pub(crate) fn new(view: &TargetView, at: Moment) -> Option<Self> {
        let told = view.told_by.or(view.doubted_by)?;
        let seconds_ago = at.now.saturating_duration_since(told.at).as_secs_f64();
        Some(Self { gateway: told.peer.to_string(), seconds_ago })
    }
}

impl ScoresByKind {
    /// The score for requests of `kind`.
    pub(crate) fn get(&self, kind: LatencyKind) -> &KindScore {
        match kind {
            LatencyKind::Stream => &self.stream,
            LatencyKind::Whole => &self.whole,
        }
    }
}

impl LatencyRow {
    fn new(view: &TargetView) -> Self {
        let [p50, p95, p99] = seconds(view, view.kind);
        Self { p50, p95, p99, tokens_per_second: view.tokens_per_second }
    }
}

impl KindScore {
    fn new(view: &TargetView, kind: LatencyKind) -> Self {
        let Score { score, avg_latency, crowding, silence, .. } = view.scores[kind as usize];
        let [p50, p95, _] = seconds(view, kind);
        Self { score, avg_latency, crowding, silence, share: 0.0, p50, p95 }
    }
}

/// The percentiles of the latency of `kind`.
fn seconds(view: &TargetView, kind: LatencyKind) -> [Option<f64>; 3] {
    view.quantiles[kind as usize].map(|quantile| quantile.map(|time| time.as_secs_f64()))
}

impl HeadroomRow {
    fn new(window: &headroom::HeadroomView, at: Moment) -> Self {
        Self {
            unit: match window.unit {
                QuotaUnit::Requests => "requests",
                QuotaUnit::Tokens => "tokens",
            },
            window: window.window.trim_start_matches('-').to_owned(),
            limit: window.limit,
            remaining: window.remaining,
            reset_at: at.date(window.reset_at),
        }
    }
}

/// The timeout for a short prompt: a long one gets more.
fn first_token_timeout(snapshot: &Snapshot, model: &Model, target: &Target) -> Duration {
    let configured =
        model.config.first_token_timeout.unwrap_or(snapshot.config.resilience.first_token_timeout);
    target.state.first_token_deadline(configured, 0)
}

#[cfg(test)]
mod tests;
