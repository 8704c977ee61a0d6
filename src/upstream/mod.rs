//! The targets and what we know of them.

pub mod breaker;
pub mod headroom;
pub mod histogram;
pub mod outcome;
pub mod quirks;
pub mod retry_after;
pub mod score;
