//! The targets and what we know of them.

mod body;
pub mod breaker;
pub mod client;
pub mod headroom;
pub mod histogram;
pub mod outcome;
pub mod quirks;
pub mod retry_after;
pub mod score;
mod tls;

pub use body::Parts;
