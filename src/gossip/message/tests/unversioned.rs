//! The messages of gateways from before there were versions: a copy of their types, which may never change.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OldEnvelope {
    #[serde(rename = "g")]
    pub gateway: u64,
    #[serde(rename = "n")]
    pub number: u64,
    #[serde(rename = "q", default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    #[serde(rename = "t", default)]
    pub reports: Vec<OldReport>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OldReport {
    #[serde(rename = "i")]
    pub target: String,
    #[serde(rename = "e", default)]
    pub state: u64,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub row: Option<OldStreak>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub outage: Option<OldOutage>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub back: Option<u64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<OldHold>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub full: Option<OldHold>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<OldDrain>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<OldReset>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<OldSample>,
    #[serde(rename = "k", default)]
    pub kinds: [OldFigures; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct OldFigures {
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<OldSample>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OldSample {
    pub m: f64,
    pub n: f64,
    pub a: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldStreak {
    pub n: u32,
    pub a: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OldOutage {
    pub a: u64,
    pub l: u64,
    pub r: u32,
    pub c: OldCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldHold {
    pub a: u64,
    pub l: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldDrain {
    pub n: u64,
    pub d: bool,
    pub a: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OldReset {
    pub n: u64,
    pub a: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum OldCause {
    InARow(u32, OldOutcome),
    Ratio(u32, u32),
    Probe(OldOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OldOutcome {
    Success,
    Hard(OldHardKind),
    Throttled { rest: Option<Duration> },
    KeyRefused,
    NotServed(OldMissingFeature),
    TooBig,
    ClientFault,
    Cancelled,
    Broken(OldBrokenKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OldHardKind {
    Connect,
    Reset,
    Silent,
    Status(u16),
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OldMissingFeature {
    Model,
    Route,
    Field,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OldBrokenKind {
    Cut,
    Stalled,
    Error,
    Malformed,
}
