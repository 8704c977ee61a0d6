//! May this user go now?
//!
//! [`crate::admission::local::slots`] bounds what runs at once and [`crate::admission::local::rate`] what is asked per minute; [`process_limits`] bounds what the process takes on from
//! all of them together. The first two count per user, and a user comes
//! only from authentication; neither knows what is asked of whom, nor how a refusal looks on the wire. [`failed_auth`] counts
//! those that are nobody's, and [`distributed`] counts over several gateways.

pub mod distributed;
pub mod failed_auth;
pub mod local;
pub mod process_limits;
pub mod rate_limit_headers;

pub use crate::config::Operation;
