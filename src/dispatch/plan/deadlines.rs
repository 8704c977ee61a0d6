//! How long an attempt may take to its first content.
//!
//! It must never cut off the only answer by what was merely learned.

use std::time::Duration;

use super::{Candidate, Plan};
use crate::{config::Timeout, upstream::health::score::LatencyKind};

impl Plan {
    /// How long `candidate` usually takes at most to its first content or whole answer, and how long it gets of the
    /// time that is `left` to the call. A `rescue` never gets more than the usual: a client is reading.
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
        // Nobody else is there: what is learned must not cut off the only answer.
        let alone = configured == Timeout::Auto && !others && !rescue;
        (usual, if alone { left.max(usual) } else { usual })
    }
}
