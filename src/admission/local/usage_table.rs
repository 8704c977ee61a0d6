//! What every user has used of the limits: without a lock, and with governor as the only one who looks at a clock.
//!
//! Nobody is remembered longer than a minute after the last request and the last token, and never more than
//! [`MAX_USERS`] are: user ids can be invented, memory cannot.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use foldhash::quality::RandomState;
use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::{
    admission::{
        local::{
            governor_clock::{SinceStart, in_whole_millis},
            token_bucket::TokenBucket,
        },
        rate_limit_headers::{RateHeaders, RateLimitState},
        request::TokenCost,
    },
    config,
    user::UserId,
};

/// Users remembered at once, some 60 MB of them: those who asked within the last minute.
pub(crate) const MAX_USERS: usize = 250_000;
/// Below this nobody looks for idle users.
const FIRST_SWEEP: usize = 1024;
/// A full table is not searched again for everybody who does not fit in.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After this long without a request all requests of a minute are left.
const MINUTE: Duration = Duration::from_secs(60);

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
}

/// All users.
#[derive(Debug)]
pub(crate) struct UsageTable {
    limits: config::LimitsConfig,
    users: HashMap<UserId, UserUsage, RandomState>,
    sweep_at: usize,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct UserUsage {
    requests: Option<RequestLimiter>,
    /// When all requests of a minute are left again.
    rested: Instant,
    tokens: TokenBucket,
    last: Instant,
}

type RequestLimiter = RateLimiter<NotKeyed, InMemoryState, SinceStart, StateInformationMiddleware>;

impl UsageTable {
    /// Nobody has used anything.
    pub(crate) fn new(limits: config::LimitsConfig) -> Self {
        Self { limits, users: HashMap::default(), sweep_at: FIRST_SWEEP, swept: None }
    }

    /// Other limits from now on.
    pub(crate) fn reconfigure(&mut self, limits: config::LimitsConfig) {
        if limits.requests_per_minute != self.limits.requests_per_minute {
            self.users.values_mut().for_each(|usage| usage.requests = None);
        }
        self.limits = limits;
    }

    /// Counts a request and holds back its tokens; answers how many, if tokens are limited at all.
    pub(crate) fn check(
        &mut self,
        user: &UserId,
        cost: impl Into<Option<TokenCost>>,
        now: Instant,
    ) -> (Result<Option<u64>, RateRefusal>, RateHeaders) {
        if self.limits == config::LimitsConfig::default() {
            return (Ok(None), RateHeaders::default());
        }
        if !self.has_room_for(user, now) {
            let full = RateRefusal::Requests { retry_after: SWEEP_EVERY };
            return (Err(full), RateHeaders::default());
        }
        let usage = self.users.entry(user.clone()).or_insert_with(|| UserUsage::new(now));
        usage.last = now;
        let mut headers = RateHeaders::default();
        let mut verdict = Ok(None);
        if let Some(limit) = self.limits.requests_per_minute.and_then(NonZeroU32::new) {
            let (allowed, left) = usage.request(limit);
            usage.rested = now + left.reset;
            headers.requests = Some(left);
            verdict = allowed.map(|()| None);
        }
        if let Some(limit) = self.limits.tokens_per_minute.map(u64::from) {
            if let (true, Some(cost)) = (verdict.is_ok(), cost.into()) {
                let reserved = usage.tokens.reserve(cost.reserved(limit), limit, now);
                verdict = reserved
                    .map(Some)
                    .map_err(|wait| RateRefusal::Tokens { retry_after: in_whole_millis(wait) });
            }
            headers.tokens = Some(usage.tokens_left(limit, now));
        }
        (verdict, headers)
    }

    /// What `user` has left, for an answer to a request that does not count. Nobody is remembered for it.
    pub(crate) fn remaining(&mut self, user: &UserId, now: Instant) -> RateHeaders {
        let mut unknown = UserUsage::new(now);
        let usage = self.users.get_mut(user).unwrap_or(&mut unknown);
        let requests = self.limits.requests_per_minute.and_then(NonZeroU32::new);
        let tokens = self.limits.tokens_per_minute.map(u64::from);
        RateHeaders {
            requests: requests.map(|limit| usage.requests_left(limit, now)),
            tokens: tokens.map(|limit| usage.tokens_left(limit, now)),
        }
    }

    /// Gives `held` tokens of `user` back and counts what was `spent`.
    pub(crate) fn settle(&mut self, user: &UserId, held: u64, spent: u64, now: Instant) {
        let limit = token_limit(&self.limits);
        if let Some(usage) = self.users.get_mut(user) {
            usage.tokens.settle(held, spent, limit, now);
        }
    }

    /// Whoever is known has room; for others idle users are forgotten, if it is time.
    fn has_room_for(&mut self, user: &UserId, now: Instant) -> bool {
        let (limit, known) = (token_limit(&self.limits), self.users.len());
        let rested = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if known >= self.sweep_at && rested {
            self.users.retain(|_, usage| !usage.is_idle(limit, now));
            self.sweep_at = (2 * self.users.len()).clamp(FIRST_SWEEP, MAX_USERS);
            self.swept = Some(now);
        }
        self.users.len() < MAX_USERS || self.users.contains_key(user)
    }
}

impl UserUsage {
    fn new(now: Instant) -> Self {
        Self { requests: None, rested: now, tokens: TokenBucket::new(now), last: now }
    }

    fn request(&mut self, limit: NonZeroU32) -> (Result<(), RateRefusal>, RateLimitState) {
        let quota = Quota::per_minute(limit);
        let limiter = self.requests.get_or_insert_with(|| {
            RateLimiter::direct_with_clock(quota, SinceStart::default())
                .with_middleware::<StateInformationMiddleware>()
        });
        let (verdict, remaining, extra) = match limiter.check() {
            Ok(state) => (Ok(()), state.remaining_burst_capacity(), Duration::ZERO),
            Err(not_until) => {
                let wait = in_whole_millis(not_until.wait_time_from(limiter.clock().now()));
                (Err(RateRefusal::Requests { retry_after: wait }), 0, wait)
            }
        };
        // Governor tells whole requests only, so this is up to one of them late, never early.
        let reset = quota.replenish_interval() * (limit.get() - remaining) + extra;
        (
            verdict,
            RateLimitState {
                limit: limit.get().into(),
                remaining: remaining.into(),
                reset: reset.min(MINUTE),
            },
        )
    }

    /// Governor tells nothing without counting; this is what its last word means now.
    fn requests_left(&self, limit: NonZeroU32, now: Instant) -> RateLimitState {
        let reset =
            self.requests.as_ref().map_or(Duration::ZERO, |_| self.rested.saturating_duration_since(now));
        let each = Quota::per_minute(limit).replenish_interval();
        let used = reset.as_nanos().div_ceil(each.as_nanos().max(1));
        let limit = u64::from(limit.get());
        let remaining = limit.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
        RateLimitState { limit, remaining, reset }
    }

    fn tokens_left(&mut self, limit: u64, now: Instant) -> RateLimitState {
        let (remaining, reset) = (self.tokens.remaining(limit, now), self.tokens.full_in(limit, now));
        RateLimitState { limit, remaining, reset }
    }

    fn is_idle(&mut self, limit: u64, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= MINUTE && self.tokens.is_idle(limit, now)
    }
}

/// Without a limit nothing has to be remembered: what is not held fades at once.
fn token_limit(limits: &config::LimitsConfig) -> u64 {
    limits.tokens_per_minute.map_or(u64::MAX, u64::from)
}
