//! The OpenAI wire: types and bytes, no I/O.

pub mod answer;
pub mod chunk;
pub mod error;
pub mod multipart;
pub mod request;
pub mod sse;
