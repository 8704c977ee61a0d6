//! What one gateway tells the others of its targets, as it travels.
//!
//! A report holds what its gateway knows *by itself*, and all of it. One that is lost costs nothing once the next has come,
//! one that comes twice changes nothing, and no gateway gets its own observations back. Times travel as ages, because clocks
//! of machines differ. Numbers without sense are dropped, never repaired.
//!
//! During an upgrade gateways of two versions share a channel. So the name and the form of a field stay, and what is new
//! gets a new field. Whatever a reader does not understand costs that field alone ([`Lenient`]).

mod cause;
mod lenient;
mod observations;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::{cause::CauseMsg, observations::Remaining};
pub(crate) use self::{
    lenient::{Lenient, LenientList},
    observations::{Age, CooldownMsg, DrainMsg, OutageMsg, ResetMsg, SampleMsg, StreakMsg},
};

/// Grows when a field gets another meaning; gateways from before there were versions send none. A reader takes what it
/// understands of any version.
pub(crate) const VERSION: u32 = 1;

/// What a gateway publishes. Only who speaks and in which order must be understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// See [`VERSION`].
    #[serde(rename = "v", default)]
    pub version: Lenient<u32>,
    /// The gateway's number.
    #[serde(rename = "g")]
    pub gateway: u64,
    /// Grows with each of its messages; of two, the higher one is the newer.
    #[serde(rename = "n")]
    pub number: u64,
    /// `true`: it has just come, and asks what the others know.
    #[serde(rename = "q", default, skip_serializing_if = "Lenient::is_none")]
    pub asks: Lenient<bool>,
    /// What it knows of those targets that have news.
    #[serde(rename = "t", default)]
    pub reports: LenientList<TargetReport>,
}

/// All that a gateway knows by itself of one target. The names are short because they travel often.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TargetReport {
    /// `provider/model`
    #[serde(rename = "i")]
    pub target: String,
    /// Tells one state of the breaker from the next.
    #[serde(rename = "e")]
    pub state: Lenient<u64>,
    /// Failures in a row, if there are any and the breaker is closed.
    #[serde(rename = "f", skip_serializing_if = "Lenient::is_none")]
    pub streak: Lenient<StreakMsg>,
    /// Its breaker is not closed.
    #[serde(rename = "o", skip_serializing_if = "Lenient::is_none")]
    pub outage: Lenient<OutageMsg>,
    /// Since its own probe closed the breaker.
    #[serde(rename = "b", skip_serializing_if = "Lenient::is_none")]
    pub recovered: Lenient<Age>,
    /// The provider asked it to wait.
    #[serde(rename = "w", skip_serializing_if = "Lenient::is_none")]
    pub cooldown: Lenient<CooldownMsg>,
    /// The provider's rate limit has no room.
    #[serde(rename = "h", skip_serializing_if = "Lenient::is_none")]
    pub exhausted: Lenient<CooldownMsg>,
    /// An operator took it out, or in.
    #[serde(rename = "d", skip_serializing_if = "Lenient::is_none")]
    pub drain: Lenient<DrainMsg>,
    /// An operator had everything forgotten.
    #[serde(rename = "z", skip_serializing_if = "Lenient::is_none")]
    pub reset: Lenient<ResetMsg>,
    /// Success rate.
    #[serde(rename = "r", skip_serializing_if = "Lenient::is_none")]
    pub rate: Lenient<SampleMsg>,
    /// Of streams, and of whole answers.
    #[serde(rename = "k")]
    pub kinds: LenientList<Figures>,
}

/// What is measured of requests of one kind. `l` was their latency once; it is free for no other meaning.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// How long requests have been waiting without a sign of life.
    #[serde(rename = "s", skip_serializing_if = "Lenient::is_none")]
    pub silence: Lenient<Age>,
}

impl TargetReport {
    /// What was measured of requests of the kind with this number.
    pub(crate) fn figures(&self, kind: usize) -> Figures {
        let kinds = self.kinds.0.as_ref();
        kinds.and_then(|kinds| kinds.get(kind)?.0).unwrap_or_default()
    }
}
