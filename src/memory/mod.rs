//! Memory: what a user said before is recalled and put into the prompt.
//!
//! This is the engine, behind a wall: it knows no call, no provider and no HTTP, and `architecture_tests` lists the few
//! modules that it may use. [`service::MemoryService`] is its face; `recall` is the gateway's side of it. A call never
//! fails for want of memory: past the budget, or with the store away, it goes on as it came.

mod blocking;
pub(crate) mod capture_queue;
pub(crate) mod embedding;
pub(crate) mod engine;
pub(crate) mod errors;
pub(crate) mod fast_path;
pub(crate) mod index;
pub(crate) mod prompt;
pub(crate) mod ranking;
pub(crate) mod recent_turns;
mod retention;
pub(crate) mod service;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod text;
pub mod transfer;
pub(crate) mod types;
