//! Requests and tokens per minute and user.
//!
//! Requests are counted by governor (the generic cell rate algorithm: a user may have a minute's requests at once, and
//! gets them back evenly). Tokens are reserved before a call and settled after it, in a leaky bucket. A request is
//! counted when it is made, also if it is then refused for its tokens or waits for a slot in vain, as OpenAI does.
//!
//! The lock is held for one look into the book and never across an await.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::usage_table::UsageTable;
use crate::{
    admission::{distributed::TokenHold, rate_limit_headers::RateHeaders},
    clock, config,
    user::UserId,
};

/// Reserved for an answer whose length the client leaves open, but never more than a tenth of the limit.
const DEFAULT_COMPLETION_TOKENS: u64 = 1024;

/// The limits, and how much of them each user has left.
#[derive(Debug)]
pub struct RateLimits {
    book: Arc<Mutex<UsageTable>>,
}

/// What a call may cost in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCost {
    /// To read.
    pub prompt: u64,
    /// To write at most; `None` if the client leaves it open.
    pub answer: Option<u64>,
}

/// Whether a request may go on, and what is left after it.
#[derive(Debug)]
pub struct RateCheck {
    /// Its tokens, or why not.
    pub verdict: Result<Reservation, RateRefusal>,
    /// What the user is told.
    pub headers: RateHeaders,
}

/// Which limit is used up, and when it is worth coming back: at the very moment when there is room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateRefusal {
    /// Too many requests in the last minute, or too many users at once.
    #[error("the user's requests per minute are used up")]
    Requests {
        /// When to come back.
        retry_after: Duration,
    },
    /// Too many tokens in the last minute and in calls that still run.
    #[error("the user's tokens per minute are used up")]
    Tokens {
        /// When to come back.
        retry_after: Duration,
    },
    /// Redis, which counts for all gateways, is away.
    #[error("nobody can tell what is left: Redis is away")]
    Away,
}

/// Tokens that are held back for one call. Dropped without [`Reservation::settle`], all of them are given back.
#[derive(Debug, Default)]
pub struct Reservation {
    cost: TokenCost,
    held: Option<HeldTokens>,
}

#[derive(Debug)]
enum HeldTokens {
    /// In our own book.
    Here { book: Arc<Mutex<UsageTable>>, user: UserId, tokens: u64 },
    /// In the one that all gateways share.
    Shared(TokenHold),
}

impl RateLimits {
    /// The limits of `config`; nothing is used.
    pub fn new(config: &config::Limits) -> Self {
        Self { book: Arc::new(Mutex::new(UsageTable::new(config.clone()))) }
    }

    /// Other limits from now on. Tokens that were spent stay spent; requests are counted anew if their limit is another.
    pub fn reconfigure(&self, config: &config::Limits) {
        self.book.lock().reconfigure(config.clone());
    }

    /// What `user` has left; counts nothing.
    pub fn standing(&self, user: &UserId) -> RateHeaders {
        self.book.lock().standing(user, clock::now())
    }

    /// Counts a request of `user` and holds back the tokens that it may cost; `None` if no model reads it.
    pub fn check(&self, user: &UserId, cost: impl Into<Option<TokenCost>>) -> RateCheck {
        let cost = cost.into();
        let (verdict, headers) = self.book.lock().check(user, cost, clock::now());
        let held = |tokens| HeldTokens::Here { book: self.book.clone(), user: user.clone(), tokens };
        let verdict =
            verdict.map(|tokens| Reservation { cost: cost.unwrap_or_default(), held: tokens.map(held) });
        RateCheck { verdict, headers }
    }
}

impl Reservation {
    /// For a call that is thought to cost `cost`, with tokens that are held back for it over all gateways.
    pub(crate) fn shared(cost: TokenCost, hold: Option<TokenHold>) -> Self {
        Self { cost, held: hold.map(HeldTokens::Shared) }
    }

    /// What the call was thought to cost.
    pub fn cost(&self) -> TokenCost {
        self.cost
    }

    /// Tokens held back; 0 without a limit.
    pub fn tokens(&self) -> u64 {
        match &self.held {
            None => 0,
            Some(HeldTokens::Here { tokens, .. }) => *tokens,
            Some(HeldTokens::Shared(hold)) => hold.tokens,
        }
    }

    /// The call is over and has cost `spent` tokens: more than was reserved is owed, less is given back.
    pub fn settle(&mut self, spent: u64) {
        match self.held.take() {
            None => {}
            Some(HeldTokens::Here { book, user, tokens }) => {
                book.lock().settle(&user, tokens, spent, clock::now());
            }
            Some(HeldTokens::Shared(hold)) => hold.settle(spent),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.settle(0);
    }
}

impl TokenCost {
    /// What to hold back where `limit` tokens a minute are allowed.
    pub(crate) fn reserved(self, limit: u64) -> u64 {
        let answer = self.answer.unwrap_or_else(|| DEFAULT_COMPLETION_TOKENS.min(limit / 10));
        self.prompt.saturating_add(answer)
    }
}

#[cfg(test)]
mod tests;
