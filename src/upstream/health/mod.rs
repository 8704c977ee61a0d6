//! The measured health of a target: pure functions on a clock that the caller passes in.

pub(crate) mod breaker;
pub(crate) mod cooldown;
pub(crate) mod headroom;
pub(crate) mod latency;
pub(crate) mod peer_evidence;
pub mod score;
