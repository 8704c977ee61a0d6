//! A user's memories in main memory, ready to be searched.

pub(crate) mod cache;
pub(crate) mod postings;
pub(crate) mod user_index;
