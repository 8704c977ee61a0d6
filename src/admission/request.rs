//! What a request asks of admission: for whom, a slot for what, and what it may cost.

pub use crate::config::Operation;
use crate::user::UserId;

/// Reserved for an answer whose length the client leaves open, but never more than a tenth of the limit.
const DEFAULT_COMPLETION_TOKENS: u64 = 1024;

/// A request that wants to be admitted.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionRequest<'a> {
    /// The user whose slots and limits it uses.
    pub user: &'a UserId,
    /// What it needs a slot for.
    pub operation: Operation,
    /// A higher one leaves the queue first.
    pub priority: i64,
    /// What it may cost in tokens; `None` if no model reads it.
    pub cost: Option<TokenCost>,
}

/// What a call may cost in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCost {
    /// To read.
    pub prompt: u64,
    /// To write at most; `None` if the client leaves it open.
    pub answer: Option<u64>,
}

impl TokenCost {
    /// What to hold back where `limit` tokens a minute are allowed.
    pub(super) fn reserved(self, limit: u64) -> u64 {
        let answer = self.answer.unwrap_or_else(|| DEFAULT_COMPLETION_TOKENS.min(limit / 10));
        self.prompt.saturating_add(answer)
    }
}
