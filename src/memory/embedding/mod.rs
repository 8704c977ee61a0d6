//! Texts as vectors: where they come from, and what is still without one.

pub mod backlog;
pub mod backlog_worker;
pub mod embedder;
pub mod static_table;
pub mod vectors;
