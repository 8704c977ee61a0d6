//! What a policy is: asked whom to ask, told what came of it.
//!
//! A policy sees what a gateway sees: its own calls and the outcomes of its own attempts. Never the trace.

use std::time::Duration;

use concierge::upstream::exchange::outcome::Outcome;
use tokio::time::Instant;

use super::world::Room;

/// One call that has no answer yet.
#[derive(Debug, Clone)]
pub struct Call {
    /// Counts from 0 in the order of arrival.
    pub id: u64,
    /// When its caller gives up.
    pub deadline: Instant,
    /// Whom it has asked so far, in vain.
    pub tried: Vec<usize>,
}

/// What to do with a call now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// Ask this target, and wait for its first token so long.
    Ask(usize, Duration),
    /// Ask me again then.
    Wait(Instant),
    /// The caller gets an error.
    GiveUp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Who was asked.
    pub target: usize,
    /// How; `Cancelled`: its caller gave up.
    pub outcome: Outcome,
    /// After how long.
    pub elapsed: Duration,
    /// What the answer said about the rate limit.
    pub room: Option<Room>,
}

/// How a gateway chooses.
pub trait Policy {
    /// What to do with `call`. An `Ask` is always done.
    fn next(&mut self, call: &Call, now: Instant) -> Choice;

    /// An attempt has its first content, or failed.
    fn ended(&mut self, call: &Call, ended: &Ended, now: Instant);

    /// The stream that `call` got from `target` is over, whole or not.
    fn streamed(&mut self, _call: u64, _target: usize, _whole: bool) {}

    /// `call` got an error.
    fn refused(&mut self, _call: u64) {}
}
