//! Why a breaker is not closed.

use std::fmt;

use crate::upstream::exchange::outcome::Outcome;

/// Why the breaker is not closed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OpenCause {
    /// So many hard failures in a row; the last one.
    InARow(u32, Outcome),
    /// So many of so many requests in the window succeeded.
    Ratio(u32, u32),
    /// The probe failed like this.
    Probe(Outcome),
}

impl fmt::Display for OpenCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(n, last) => write!(f, "{n} consecutive failures, the last: {last}"),
            Self::Ratio(good, all) => write!(f, "only {good} of the last {all} requests succeeded"),
            Self::Probe(outcome) => write!(f, "the probe failed: {outcome}"),
        }
    }
}
