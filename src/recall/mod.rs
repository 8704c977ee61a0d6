//! Where the gateway meets its memory: recall before a call, capture after it, and vectors from a provider.

pub mod capture;
pub(crate) mod enrich;
pub mod remote_embedder;

pub use enrich::{Enriched, enrich};
