//! A user's memories in main memory, ready to be searched.

pub(crate) mod cache;
pub mod postings;
pub mod user_index;
