//! Requests and tokens per minute and user.
//!
//! Requests are counted by governor (the generic cell rate algorithm: a user may have a minute's requests at once, and
//! gets them back evenly). Tokens are reserved before a call and settled after it, in a leaky bucket. A request is
//! counted when it is made, also if it is then refused for its tokens or waits for a slot in vain, as OpenAI does.
//!
//! The lock is held for one look into the table and never across an await.

use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use super::usage_table::RateRefusal;
use super::usage_table::UsageTable;
use crate::{
    admission::{rate_limit_headers::RateHeaders, request::TokenCost},
    clock, config,
    refusal::{AdmissionError, Refusal},
    user::UserId,
};

/// The limits, and how much of them each user has left.
#[derive(Debug)]
pub(crate) struct RateLimits {
    usage: Arc<Mutex<UsageTable>>,
}

/// Whether a request may go on, and what is left after it.
#[derive(Debug)]
pub(crate) struct RateCheck {
    /// Its tokens, or why not.
    pub verdict: Result<LocalReservation, RateRefusal>,
    /// What is left of the limits.
    pub headers: RateHeaders,
}

/// Tokens that are held back in the table, if they are limited. Dropped without [`LocalReservation::settle`], all of them are
/// given back.
#[derive(Debug, Default)]
pub(crate) struct LocalReservation(Option<ReservedTokens>);

#[derive(Debug)]
struct ReservedTokens {
    usage: Arc<Mutex<UsageTable>>,
    user: UserId,
    tokens: u64,
}

impl RateLimits {
    /// The limits of `config`; nothing is used.
    pub(crate) fn new(config: &config::LimitsConfig) -> Self {
        Self { usage: Arc::new(Mutex::new(UsageTable::new(config.clone()))) }
    }

    /// Other limits from now on. Tokens that were spent stay spent; requests are counted anew if their limit is another.
    pub(crate) fn reconfigure(&self, config: &config::LimitsConfig) {
        self.usage.lock().reconfigure(config.clone());
    }

    /// What `user` has left; counts nothing.
    pub(crate) fn remaining(&self, user: &UserId) -> RateHeaders {
        self.usage.lock().remaining(user, clock::now())
    }

    /// Counts a request of `user` and holds back the tokens that it may cost; `None` if no model reads it.
    pub(crate) fn check(&self, user: &UserId, cost: impl Into<Option<TokenCost>>) -> RateCheck {
        let (verdict, headers) = self.usage.lock().check(user, cost, clock::now());
        let reserved = |tokens| ReservedTokens { usage: self.usage.clone(), user: user.clone(), tokens };
        RateCheck { verdict: verdict.map(|tokens| LocalReservation(tokens.map(reserved))), headers }
    }
}

impl LocalReservation {
    /// Tokens held back; 0 without a limit.
    pub(crate) fn tokens(&self) -> u64 {
        self.0.as_ref().map_or(0, |reserved| reserved.tokens)
    }

    /// The call is over and has cost `spent` tokens.
    pub(crate) fn settle(mut self, spent: u64) {
        self.give_back(spent);
    }

    fn give_back(&mut self, spent: u64) {
        if let Some(ReservedTokens { usage, user, tokens }) = self.0.take() {
            usage.lock().settle(&user, tokens, spent, clock::now());
        }
    }
}

impl Drop for LocalReservation {
    fn drop(&mut self) {
        self.give_back(0);
    }
}

impl From<RateRefusal> for Refusal {
    fn from(refusal: RateRefusal) -> Self {
        Self::Admission(match refusal {
            RateRefusal::Requests { retry_after } => AdmissionError::RateLimit { retry_after },
            RateRefusal::Tokens { retry_after } => AdmissionError::TokenLimit { retry_after },
        })
    }
}

#[cfg(test)]
mod tests;
