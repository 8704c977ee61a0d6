//! Memory: what a user said before is recalled and put into the prompt.
//!
//! It is a step of every call, between the slot and the attempts. A call never fails for want of memory: past the
//! budget, or with the store away, it goes on as it came.

mod blocking;
pub mod capture_queue;
pub mod embedding;
pub mod engine;
pub mod errors;
pub(crate) mod fast_path;
pub mod index;
pub mod prompt;
pub mod ranking;
pub(crate) mod recent_turns;
mod retention;
pub mod service;
pub mod stats;
pub mod store;
pub mod text;
pub mod transfer;
pub mod types;
