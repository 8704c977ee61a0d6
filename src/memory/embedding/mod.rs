//! Texts as vectors: where they come from, and what is still without one.

pub(crate) mod backlog;
pub(crate) mod backlog_worker;
pub(crate) mod embedder;
pub(crate) mod static_table;
pub(crate) mod vectors;
