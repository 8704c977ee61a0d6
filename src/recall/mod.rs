//! Where the gateway meets its memory: recall before a call, capture after it, and vectors from a provider.

pub(crate) mod capture;
pub(crate) mod enrich;
pub(crate) mod remote_embedder;

pub(crate) use enrich::{Enriched, enrich};
