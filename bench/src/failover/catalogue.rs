//! The sixteen scenarios of the public Failover Bench, as data: which fault, what is checked, what would be ideal.
//!
//! Facts (faults, thresholds, severities) follow its catalogue, methodology v0.1; code and wording are our own.
//! This file must never hold a measurement or a rule of judgement: those are `verdict`.

use self::{Kind::*, Severity::*};

/// What the caller should get in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ideal {
    /// The whole canonical answer.
    Answer,
    /// A clean error: going round the refusal would be wrong.
    Error,
}

/// How much a failed check weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Its failure fails the scenario.
    Required,
    /// Its failure makes a rescue a partial one.
    Advisory,
    /// It is printed and never counts.
    Informational,
}

/// One machine check. Times are in seconds; attempts are those the provider saw on the primary model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The call ended inside the scenario's `max_wall`.
    NoHang,
    /// A success whose text is the canonical answer.
    Complete,
    /// Fails only on a success with another text.
    NoTruncatedSuccess,
    /// At least this many attempts.
    AttemptsAtLeast(usize),
    /// At most this many attempts.
    AttemptsAtMost(usize),
    /// This much time between the first two attempts; no second attempt fails.
    GapAtLeast(f64),
    /// At most `.1` attempts in the first `.0` seconds.
    AttemptsWithin(f64, usize),
    /// The whole call took at most this long.
    EndedWithin(f64),
    /// A healthy call through the same gateway succeeds afterwards.
    AliveAfter,
    /// The fallback model was asked.
    FallbackUsed,
    /// The answer's `model` names the fallback (not applicable if it was never asked).
    ReportsFallback,
    /// The answer carried a usage block.
    UsagePresent,
    /// Not both: an error for the caller, and a prefill that the provider had refused.
    NoPrefillMasking,
    /// No request of the sequence hung.
    NoneHung,
    /// Every request sent during the outage was answered.
    ServedDuringOutage,
    /// The primary answered again within this time after it was well.
    RecoveredWithin(f64),
    /// During the outage, no more attempts on the primary than requests.
    ProbeDiscipline,
}

/// A named check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in the published catalogue.
    pub id: &'static str,
    /// What is compared.
    pub kind: Kind,
    /// What a failure means.
    pub severity: Severity,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// `S01` to `S16`.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// The primary model; its name selects the fault.
    pub model: &'static str,
    /// The model to fall back to.
    pub fallback: &'static str,
    /// What would be best for the caller.
    pub ideal: Ideal,
    /// Seconds after which one call counts as hung.
    pub max_wall: f64,
    /// Twenty paced requests over an outage instead of one call.
    pub sequence: bool,
    /// What is checked.
    pub checks: &'static [Check],
}

const fn required(id: &'static str, kind: Kind) -> Check {
    Check { id, kind, severity: Required }
}

const fn advisory(id: &'static str, kind: Kind) -> Check {
    Check { id, kind, severity: Advisory }
}

const fn informational(id: &'static str, kind: Kind) -> Check {
    Check { id, kind, severity: Informational }
}

const NO_HANG: Check = required("no_hang", NoHang);
const BOUNDED: Check = required("bounded_attempts", AttemptsAtMost(6));
const ONE_ATTEMPT: Check = required("no_same_model_retry", AttemptsAtMost(1));
const NO_TRUNCATED: Check = required("no_truncated_success", NoTruncatedSuccess);
const ALIVE: Check = required("alive_after", AliveAfter);

/// A scenario with one call, the usual fallback and an answer as its ideal.
const fn one(
    id: &'static str,
    title: &'static str,
    model: &'static str,
    max_wall: f64,
    checks: &'static [Check],
) -> Scenario {
    Scenario { id, title, model, fallback: "fb-ok", ideal: Ideal::Answer, max_wall, sequence: false, checks }
}

/// All sixteen, in the published order.
pub const SCENARIOS: [Scenario; 16] = [
    one(
        "S01",
        "429 with Retry-After: 2",
        "fb-s01-429-retry-after",
        20.0,
        &[
            advisory("retried", AttemptsAtLeast(2)),
            advisory("retry_after_honoured", GapAtLeast(1.8)),
            required("no_hammer", AttemptsWithin(1.5, 2)),
        ],
    ),
    one(
        "S02",
        "429 for ever, no Retry-After",
        "fb-s02-429-persistent",
        40.0,
        &[required("no_hammer", AttemptsWithin(3.0, 4)), BOUNDED, NO_HANG],
    ),
    one(
        "S03",
        "500 once, then well",
        "fb-s03-500-then-200",
        20.0,
        &[NO_HANG, advisory("same_provider_retry", AttemptsAtLeast(2))],
    ),
    one("S04", "503 for ever", "fb-s04-503-persistent", 40.0, &[BOUNDED, NO_HANG]),
    one("S05", "TCP reset before the head", "fb-s05-reset", 20.0, &[NO_HANG]),
    one(
        "S06",
        "no answer at all",
        "fb-s06-no-response",
        130.0,
        &[
            required("within_budget", EndedWithin(100.0)),
            NO_HANG,
            advisory("silent_route_not_retried", AttemptsAtMost(1)),
        ],
    ),
    one(
        "S07",
        "first token after 20 s",
        "fb-s07-slow-ttft",
        60.0,
        &[NO_HANG, advisory("ttft_limit", EndedWithin(15.0))],
    ),
    one("S08", "stream cut after 40 of 60 tokens", "fb-s08-stream-cut", 40.0, &[NO_TRUNCATED, NO_HANG]),
    one(
        "S09",
        "stream silent for 30 s after 20 tokens",
        "fb-s09-stream-stall",
        70.0,
        &[required("bounded", EndedWithin(45.0)), NO_TRUNCATED, ALIVE, NO_HANG],
    ),
    one(
        "S10",
        "one chunk that is not JSON",
        "fb-s10-malformed-chunk",
        30.0,
        &[
            ALIVE,
            required("no_garbage", NoTruncatedSuccess),
            NO_HANG,
            advisory("recovered_in_place", Complete),
        ],
    ),
    one(
        "S11",
        "stream without [DONE]",
        "fb-s11-no-done",
        30.0,
        &[required("prompt_finalise", EndedWithin(8.0)), advisory("usage_reported", UsagePresent)],
    ),
    one("S12", "context length exceeded", "fb-s12-context-length", 20.0, &[ONE_ATTEMPT, NO_HANG]),
    Scenario {
        ideal: Ideal::Error,
        ..one(
            "S13",
            "content filter refuses",
            "fb-s13-content-filter",
            20.0,
            &[ONE_ATTEMPT, NO_HANG, informational("fallback_attempted", FallbackUsed)],
        )
    },
    Scenario {
        fallback: "fb-ok-noprefill",
        ..one(
            "S14",
            "stream cut; the fallback refuses prefill",
            "fb-s14-stream-cut",
            40.0,
            &[required("no_prefill_masking", NoPrefillMasking), NO_TRUNCATED],
        )
    },
    Scenario {
        sequence: true,
        ..one(
            "S15",
            "60 s outage, 20 requests at 1/4 s",
            "fb-s15-flap",
            30.0,
            &[
                required("no_hang", NoneHung),
                required("served_during_outage", ServedDuringOutage),
                required("recovered", RecoveredWithin(30.0)),
                informational("probe_discipline", ProbeDiscipline),
            ],
        )
    },
    one(
        "S16",
        "who answered, and what it cost",
        "fb-s16-503-persistent",
        40.0,
        &[
            required("reports_fallback_model", ReportsFallback),
            advisory("usage_present", UsagePresent),
            BOUNDED,
        ],
    ),
];
