//! What is known of how well a target does: pure, on a clock that the caller brings.

pub mod breaker;
pub mod cooldown;
pub mod headroom;
pub mod latency;
pub mod peer_evidence;
pub mod score;
