//! The measured health of a target: pure functions on a clock that the caller passes in.

pub mod breaker;
pub mod cooldown;
pub mod headroom;
pub mod latency;
pub mod peer_evidence;
pub mod score;
