//! The tokens of one user: what was spent in the last minute, and what is held back for calls in flight.
//!
//! A leaky bucket, in whole numbers, so that it never drifts. Governor's algorithm keeps one time instead of two sums,
//! and that cannot be refunded rightly: a reservation would melt away while its call runs, and the refund at the end
//! would then forgive what other calls have spent meanwhile. Here a reservation stands still until it is settled, and
//! only what was really spent fades. So `spent + held` never passes the limit, hence no stretch of `t` minutes ever
//! sees more than `limit × (1 + t)` tokens, and a call that used less gives all of the rest back.

use std::time::Duration;

use tokio::time::Instant;

/// One token, counted in the smallest amount that fades in a nanosecond at one token per minute.
const TOKEN: u128 = 60_000_000_000;

/// One user's tokens. `limit` is in tokens per minute everywhere, and may be another one at every call.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    /// In [`TOKEN`]s; it fades.
    spent: u128,
    /// In tokens; it stands still.
    held: u64,
    at: Instant,
}

impl TokenBucket {
    /// Nothing spent, nothing held.
    pub(crate) fn new(now: Instant) -> Self {
        Self { spent: 0, held: 0, at: now }
    }

    /// Holds back `amount`, or the whole limit if that is less: a call that may be larger than a minute's tokens can
    /// still be made when none are in use. Answers what was held back, which is what [`TokenBucket::settle`] must get.
    ///
    /// # Errors
    /// How long until there is room, if nothing else is asked for.
    pub(crate) fn reserve(&mut self, amount: u64, limit: u64, now: Instant) -> Result<u64, Duration> {
        self.decay(limit, now);
        let amount = amount.min(limit);
        // Even a call that costs nothing waits until a debt is paid.
        let needed = self.in_use() + u128::from(amount.max(1)) * TOKEN;
        let over = needed.saturating_sub(u128::from(limit) * TOKEN);
        if over > 0 {
            return Err(time_to_decay(over, limit));
        }
        self.held += amount;
        Ok(amount)
    }

    /// Gives `held` back and counts what was `spent` instead.
    pub(crate) fn settle(&mut self, held: u64, spent: u64, limit: u64, now: Instant) {
        self.decay(limit, now);
        self.held = self.held.saturating_sub(held);
        self.spent += u128::from(spent) * TOKEN;
    }

    /// Whole tokens left.
    pub(crate) fn remaining(&mut self, limit: u64, now: Instant) -> u64 {
        self.decay(limit, now);
        let left = (u128::from(limit) * TOKEN).saturating_sub(self.in_use()) / TOKEN;
        u64::try_from(left).unwrap_or(limit)
    }

    /// How long until all are left, if all that is held will be spent.
    pub(crate) fn full_in(&mut self, limit: u64, now: Instant) -> Duration {
        self.decay(limit, now);
        time_to_decay(self.in_use(), limit)
    }

    /// Whether it is as good as new.
    pub(crate) fn is_idle(&mut self, limit: u64, now: Instant) -> bool {
        self.decay(limit, now);
        self.in_use() == 0
    }

    fn in_use(&self) -> u128 {
        self.spent + u128::from(self.held) * TOKEN
    }

    fn decay(&mut self, limit: u64, now: Instant) {
        let nanos = now.saturating_duration_since(self.at).as_nanos();
        self.spent = self.spent.saturating_sub(nanos.saturating_mul(u128::from(limit)));
        self.at = self.at.max(now);
    }
}

fn time_to_decay(amount: u128, limit: u64) -> Duration {
    let nanos = amount.div_ceil(u128::from(limit.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
