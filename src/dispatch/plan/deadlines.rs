//! How long an attempt may take to its first content.
//!
//! A learned deadline must never cut off the only possible answer.

use std::time::Duration;

use super::{Candidate, Plan};
use crate::{config::Timeout, upstream::health::score::LatencyKind};

impl Plan {
    /// The usual upper bound of `candidate`'s time to its first content or whole answer, and how much of the time `left` to
    /// the call it gets. A `rescue` never gets more than the usual: a client is waiting in mid-answer.
    pub fn deadlines(&self, candidate: &Candidate, left: Duration, rescue: bool) -> (Duration, Duration) {
        let Candidate { target, model, others, .. } = candidate;
        let (configured, usual) = match self.need.kind {
            LatencyKind::Stream => {
                let configured = model.config.first_token_timeout.unwrap_or(self.rules.first_token_timeout);
                (configured, target.state.first_token_deadline(configured, self.need.tokens))
            }
            LatencyKind::Whole => {
                let (configured, total) = (self.rules.answer_timeout, self.rules.total_timeout);
                (configured, target.state.answer_deadline(configured, total))
            }
        };
        // There is no other target: a learned deadline must not cut off the only answer.
        let alone = configured == Timeout::Auto && !others && !rescue;
        (usual, if alone { left.max(usual) } else { usual })
    }
}
