//! Memory: what a user said before is recalled and put into the prompt.
//!
//! It is a step of every call, between the slot and the attempts. Nothing is remembered yet, so nothing is
//! recalled, and the call goes on as it came.

pub mod store;

use crate::call::Call;

/// The call with what was recalled for it.
pub async fn enrich(call: Box<Call>) -> Box<Call> {
    call
}
