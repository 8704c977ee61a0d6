//! Memory: what a user said before is recalled and put into the prompt.
//!
//! It is a step of every call, between the slot and the attempts. Nothing is remembered yet, so nothing is
//! recalled, and the call goes on as it came.

pub mod embed;
pub mod index;
pub mod inject;
pub mod matrix;
pub mod pack;
pub mod postings;
pub mod rank;
pub mod secrets;
pub mod service;
pub mod signals;
pub mod store;
pub mod terms;
pub mod text;

use crate::call::Call;

/// The call with what was recalled for it.
pub async fn enrich(call: Box<Call>) -> Box<Call> {
    call
}
