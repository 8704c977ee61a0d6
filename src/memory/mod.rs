//! Memory: what a user said before is recalled and put into the prompt.
//!
//! This is the engine, behind a wall: it knows no call, no provider and no HTTP, and `architecture_tests` lists the few
//! modules that it may use. [`service::MemoryService`] is its face; `recall` is the gateway's side of it. A call never
//! fails for want of memory: past the budget, or with the store away, it goes on as it came.

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
