//! What a request asks Redis for, and the reply: `acquire.lua` in types.

use std::{sync::LazyLock, time::Duration};

use redis::Script;

use super::lease_table::{LEASE, LeaseTable};
use crate::{
    admission::{
        local::{queue::Limit, rate::RateRefusal},
        rate_limit_headers::{RateHeaders, RateLimitState},
        request::Operation,
    },
    cluster::{RedisUnavailable, UserKey},
    config,
};

/// Beyond it a priority is no higher: it is a part of a number that must stay exact.
const MOST_URGENT: i64 = 100;

static ACQUIRE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("generation.lua"), include_str!("acquire.lua"))));

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct AcquireRequest {
    /// Of the request, in this gateway.
    pub number: u64,
    /// The user that it belongs to.
    pub user: UserKey,
    /// It counts as a request.
    pub counts: bool,
    /// Requests a minute; 0: as many as one likes.
    pub requests: u32,
    /// Tokens a minute; 0: the same.
    pub tokens: u32,
    /// Tokens to hold back; `None`: it needs none.
    pub hold: Option<u64>,
    /// It wants a slot.
    pub slot: Option<SlotRequest>,
}

/// A slot that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotRequest {
    /// For what.
    pub operation: Operation,
    /// Slots of the user for it.
    pub own: u32,
    /// Slots of all users.
    pub all: u32,
    /// How many of the user's requests may wait.
    pub queue: u32,
    /// When it came, in the server's milliseconds; 0: now.
    pub arrival: i64,
    /// A higher one goes first.
    pub priority: i64,
}

/// What Redis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcquireReply {
    /// Whether the request is within the limits of a minute.
    pub verdict: AcquireVerdict,
    /// What became of the slot.
    pub slot: SlotReply,
    /// The server's milliseconds.
    pub now: i64,
    /// When its generation began; 0 if no slot was asked for.
    pub began: i64,
    requests: (u64, Duration),
    tokens: (u64, Duration),
}

/// Whether a request is within the limits of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcquireVerdict {
    /// It is, and was counted.
    Fine,
    /// It is not; nothing is held for it.
    Refused(RateRefusal),
}

/// What became of a slot that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotReply {
    /// None was asked for.
    Nothing,
    /// It is ours.
    Granted,
    /// We are among the waiters.
    Waits(Limit, usize),
    /// Too many wait; we do not.
    Full(Limit, usize),
    /// Redis has forgotten what is held, and grants nothing until all gateways have renewed it.
    Shut,
}

type RawReply = (u8, u64, u64, u64, u64, u64, u8, usize, i64, i64);

/// `LATE` of the script.
const DEADLINE: u8 = 1;

impl AcquireRequest {
    /// `slot` for the request `number` of `user`, which counts for nothing else.
    pub(crate) fn for_slot(user: UserKey, number: u64, slot: SlotRequest) -> Self {
        Self { number, slot: Some(slot), ..Self::for_limits(user, &config::LimitsConfig::default()) }
    }

    /// What `user` has left of `limits`; counts nothing.
    pub(crate) fn for_limits(user: UserKey, limits: &config::LimitsConfig) -> Self {
        let requests = limits.requests_per_minute.unwrap_or(0);
        let tokens = limits.tokens_per_minute.unwrap_or(0);
        Self { number: 0, user, counts: false, requests, tokens, hold: None, slot: None }
    }
}

impl LeaseTable {
    /// Asks, and asks again if the server's clock was set in between.
    pub(crate) async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireReply, RedisUnavailable> {
        for _ in 0..2 {
            let raw = self.acquire_once(request).await?;
            if raw.0 != DEADLINE {
                let reply = AcquireReply::from(raw);
                self.observe_generation(reply.began);
                return Ok(reply);
            }
            self.redis.set_clock(raw.8);
        }
        Err(RedisUnavailable)
    }

    async fn acquire_once(&self, request: &AcquireRequest) -> Result<RawReply, RedisUnavailable> {
        let AcquireRequest { number, user, counts, requests, tokens, hold, slot } = request;
        let run_id = self.redis.run_id().ok_or(RedisUnavailable)?;
        let user_key = format!("concierge:u:{user}");
        let wanted = slot.as_ref();
        let operation = wanted.map_or("none", |wanted| wanted.operation.as_str());
        let mut call = ACQUIRE.key("concierge:era");
        call.key("concierge:total").key(format!("{user_key}:{operation}"));
        call.key(&user_key).key(format!("{user_key}:requests:{requests}"));
        call.arg(self.id(*number)).arg(&*run_id).arg(self.redis.latest());
        call.arg(u8::from(*counts)).arg(requests).arg(tokens);
        call.arg(hold.map_or(-1, |tokens| tokens as i64));
        call.arg(u8::from(slot.is_some()));
        call.arg(wanted.map_or(0, |wanted| wanted.own)).arg(wanted.map_or(0, |wanted| wanted.all));
        call.arg(wanted.map_or(0, |wanted| wanted.queue)).arg(wanted.map_or(0, |wanted| wanted.arrival));
        call.arg(wanted.map_or(0, |wanted| wanted.priority.clamp(-MOST_URGENT, MOST_URGENT)));
        call.arg(LEASE.as_millis() as u64);
        self.redis.run(&call).await
    }
}

impl AcquireReply {
    /// What is left of `limits`.
    pub(crate) fn headers(&self, limits: &config::LimitsConfig) -> RateHeaders {
        let left = |limit: Option<u32>, (remaining, reset)| {
            limit.map(|limit| RateLimitState { limit: limit.into(), remaining, reset })
        };
        RateHeaders {
            requests: left(limits.requests_per_minute, self.requests),
            tokens: left(limits.tokens_per_minute, self.tokens),
        }
    }
}

impl From<RawReply> for AcquireReply {
    fn from((verdict, left, reset, tokens, tokens_reset, retry, slot, ahead, now, began): RawReply) -> Self {
        let retry_after = Duration::from_millis(retry.max(1));
        Self {
            verdict: match verdict {
                2 => AcquireVerdict::Refused(RateRefusal::Requests { retry_after }),
                3 => AcquireVerdict::Refused(RateRefusal::Tokens { retry_after }),
                _ => AcquireVerdict::Fine,
            },
            slot: match slot {
                1 => SlotReply::Granted,
                2 => SlotReply::Waits(Limit::User, ahead),
                3 => SlotReply::Waits(Limit::Total, ahead),
                4 => SlotReply::Full(Limit::User, ahead),
                5 => SlotReply::Full(Limit::Total, ahead),
                6 => SlotReply::Shut,
                _ => SlotReply::Nothing,
            },
            now,
            began,
            requests: (left, Duration::from_millis(reset)),
            tokens: (tokens, Duration::from_millis(tokens_reset)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_script_mean_what_they_say() {
        let answer = |verdict, slot| AcquireReply::from((verdict, 7, 1500, 90, 250, 40, slot, 3, 1000, 900));
        assert_eq!(answer(0, 1).verdict, AcquireVerdict::Fine);
        let retry_after = Duration::from_millis(40);
        assert_eq!(answer(2, 0).verdict, AcquireVerdict::Refused(RateRefusal::Requests { retry_after }));
        assert_eq!(answer(3, 0).verdict, AcquireVerdict::Refused(RateRefusal::Tokens { retry_after }));
        let said = [
            SlotReply::Nothing,
            SlotReply::Granted,
            SlotReply::Waits(Limit::User, 3),
            SlotReply::Waits(Limit::Total, 3),
            SlotReply::Full(Limit::User, 3),
            SlotReply::Full(Limit::Total, 3),
            SlotReply::Shut,
        ];
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|slot| answer(0, slot).slot), said);
    }

    #[test]
    fn only_limits_that_exist_are_told() {
        let answer = AcquireReply::from((0, 7, 1500, 90, 250, 0, 0, 0, 1000, 900));
        let limits = config::LimitsConfig { requests_per_minute: Some(10), tokens_per_minute: None };
        let headers = answer.headers(&limits);
        let left = RateLimitState { limit: 10, remaining: 7, reset: Duration::from_millis(1500) };
        assert_eq!(headers, RateHeaders { requests: Some(left), tokens: None });
    }
}
