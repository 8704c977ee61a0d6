//! Why a breaker is open, in the words of the wire.
//!
//! They are the names of the variants of [`OpenCause`] and [`Outcome`] and may not change when those do. A new variant there
//! does not compile until it has a word here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::upstream::{
    exchange::outcome::{BrokenKind, HardKind, MissingFeature, Outcome},
    health::breaker::OpenCause,
};

/// A cause as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CauseMsg(#[serde(with = "WireCause")] pub OpenCause);

#[derive(Serialize, Deserialize)]
#[serde(remote = "OpenCause")]
enum WireCause {
    InARow(u32, #[serde(with = "WireOutcome")] Outcome),
    Ratio(u32, u32),
    Probe(#[serde(with = "WireOutcome")] Outcome),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome")]
enum WireOutcome {
    Success,
    Hard(#[serde(with = "WireHardKind")] HardKind),
    Throttled { rest: Option<Duration> },
    KeyRefused,
    NotServed(#[serde(with = "WireMissingFeature")] MissingFeature),
    TooBig,
    ClientFault,
    Cancelled,
    Broken(#[serde(with = "WireBrokenKind")] BrokenKind),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HardKind")]
enum WireHardKind {
    Connect,
    Reset,
    Silent,
    Status(u16),
    Malformed,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "MissingFeature")]
enum WireMissingFeature {
    Model,
    Route,
    Field,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BrokenKind")]
enum WireBrokenKind {
    Cut,
    Stalled,
    Error,
    Malformed,
}
