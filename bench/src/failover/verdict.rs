//! From what was seen to a verdict: pure, so that every rule has a test.
//!
//! The rules are those of the public Failover Bench, methodology v0.1. It must never look at the gateway, only at
//! what the caller got and what the provider saw.

use super::catalogue::{Check, Ideal, Kind, Scenario, Severity};

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A stream that ended without an error event or a broken connection.
    Success,
    /// An error status, an error event, or a broken connection.
    Error,
    /// Nothing within the limit.
    Hang,
}

/// What a sequence of requests over an outage showed.
#[derive(Clone, Debug, Default)]
pub struct Outage {
    /// Requests that hung.
    pub hung: usize,
    /// Requests sent while the primary was down.
    pub sent: usize,
    /// Of these, the ones answered.
    pub served: usize,
    /// Attempts on the primary while it was down.
    pub primary_attempts: usize,
    /// Seconds from the end of the outage to the primary's first good answer.
    pub recovered_after: Option<f64>,
}

/// What one scenario showed, from both ends. Times are in seconds.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How the call ended (of a sequence: the worst).
    pub ended: Ended,
    /// The text is the canonical answer (of a sequence: every text).
    pub complete: bool,
    /// What the caller was told.
    pub error: Option<String>,
    /// From the request to the end.
    pub elapsed: f64,
    /// From the request to the first content.
    pub first_token: Option<f64>,
    /// The last `model` an event named.
    pub model: Option<String>,
    /// A usage block came.
    pub usage: bool,
    /// When attempts on the primary model reached the provider.
    pub primary: Vec<f64>,
    /// When attempts on the fallback model did.
    pub fallback: Vec<f64>,
    /// How often the provider refused a prefill.
    pub prefill_refused: usize,
    /// A healthy call afterwards succeeded.
    pub alive_after: bool,
    /// Sequences only.
    pub outage: Option<Outage>,
}

/// The published scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rescued, every check clean.
    Pass,
    /// Rescued, an advisory check failed.
    Partial,
    /// Not rescued, but a clean and bounded error.
    Safe,
    /// A hang, a cut answer shown as whole, or a required check failed.
    Fail,
}

impl Verdict {
    /// The word in the scorecard.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Safe => "safe",
            Self::Fail => "fail",
        }
    }
}

/// A verdict with the checks that failed, informational ones marked by a question mark.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Names of failed checks.
    pub failed: Vec<String>,
}

/// Judges what was seen in a scenario.
pub fn judge(scenario: &Scenario, seen: &Seen) -> Judged {
    let failed: Vec<&Check> =
        scenario.checks.iter().filter(|check| !holds(check.kind, scenario, seen)).collect();
    let any = |severity| failed.iter().any(|check| check.severity == severity);
    let rescued = match scenario.ideal {
        Ideal::Answer => seen.ended == Ended::Success && seen.complete,
        Ideal::Error => seen.ended == Ended::Error,
    };
    let truncated = scenario.ideal == Ideal::Answer && seen.ended == Ended::Success && !seen.complete;
    let verdict = if seen.ended == Ended::Hang || truncated || any(Severity::Required) {
        Verdict::Fail
    } else if scenario.ideal == Ideal::Error && seen.ended == Ended::Success {
        Verdict::Partial
    } else if !rescued {
        Verdict::Safe
    } else if any(Severity::Advisory) {
        Verdict::Partial
    } else {
        Verdict::Pass
    };
    Judged { verdict, failed: failed.iter().filter_map(|check| label(check)).collect() }
}

/// The name of a failed check; a fallback that was not asked is no failure worth a word.
fn label(check: &Check) -> Option<String> {
    match check.severity {
        Severity::Informational if check.kind == Kind::FallbackUsed => None,
        Severity::Informational => Some(format!("{}?", check.id)),
        _ => Some(check.id.to_owned()),
    }
}

/// Whether one check holds.
fn holds(kind: Kind, scenario: &Scenario, seen: &Seen) -> bool {
    let attempts = seen.primary.len();
    match kind {
        Kind::NoHang => seen.ended != Ended::Hang,
        Kind::Complete => seen.ended == Ended::Success && seen.complete,
        Kind::NoTruncatedSuccess => seen.ended != Ended::Success || seen.complete,
        Kind::AttemptsAtLeast(least) => attempts >= least,
        Kind::AttemptsAtMost(most) => attempts <= most,
        Kind::GapAtLeast(gap) => matches!(seen.primary[..], [a, b, ..] if b - a >= gap),
        Kind::AttemptsWithin(window, most) => within(&seen.primary, window) <= most,
        Kind::EndedWithin(limit) => seen.ended != Ended::Hang && seen.elapsed <= limit,
        Kind::AliveAfter => seen.alive_after,
        Kind::FallbackUsed => !seen.fallback.is_empty(),
        Kind::ReportsFallback => seen.fallback.is_empty() || names(seen.model.as_deref(), scenario.fallback),
        Kind::UsagePresent => seen.usage,
        Kind::NoPrefillMasking => seen.ended != Ended::Error || seen.prefill_refused == 0,
        Kind::NoneHung | Kind::ServedDuringOutage | Kind::RecoveredWithin(_) | Kind::ProbeDiscipline => {
            seen.outage.as_ref().is_some_and(|outage| outage_holds(kind, outage))
        }
    }
}

/// The checks of a sequence.
fn outage_holds(kind: Kind, outage: &Outage) -> bool {
    match kind {
        Kind::NoneHung => outage.hung == 0,
        Kind::ServedDuringOutage => outage.sent > 0 && outage.served == outage.sent,
        Kind::RecoveredWithin(limit) => outage.recovered_after.is_some_and(|after| after <= limit),
        Kind::ProbeDiscipline => outage.primary_attempts <= outage.sent,
        _ => false,
    }
}

/// Attempts in the first `window` seconds after the first one.
fn within(times: &[f64], window: f64) -> usize {
    let Some(first) = times.first() else { return 0 };
    times.iter().filter(|&&at| at - first < window).count()
}

/// Whether `model`, perhaps with a provider's prefix, is `wanted`.
fn names(model: Option<&str>, wanted: &str) -> bool {
    model.and_then(|name| name.rsplit('/').next()) == Some(wanted)
}

#[cfg(test)]
mod tests;
