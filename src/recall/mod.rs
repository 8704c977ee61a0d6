//! Memory: what a user said before is recalled and put into the prompt.
//!
//! It is a step of every call, between the slot and the attempts. A call never fails for want of memory: past the
//! budget, or with the store away, it goes on as it came.

mod describe;
pub mod embed;
mod enrich;
pub mod index;
pub mod inject;
pub mod kinds;
pub mod matrix;
pub mod pack;
pub mod pending;
pub mod postings;
pub mod rank;
pub mod remember;
pub mod remote;
pub mod secrets;
pub mod seen;
pub mod service;
pub mod signals;
pub mod store;
pub mod terms;
pub mod text;
pub mod transfer;

pub use enrich::{Enriched, enrich};
