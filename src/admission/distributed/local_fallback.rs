//! This gateway's share of the limits, for while Redis is away.
//!
//! Every limit is divided by the number of gateways last known and rounded up, so all of them together exceed it by less
//! than one for each gateway; beside that runs what was admitted before. To know what runs here, leases that Redis has granted
//! have their places in it as well.

use parking_lot::Mutex;

use super::limit_policy::LimitPolicy;
use crate::{
    admission::{
        local::{
            rate::RateLimits,
            slots::{LocalSlot, Slots},
        },
        request::Operation,
    },
    user::UserId,
};

/// The divided slots and limits.
pub(crate) struct LocalFallback {
    slots: Slots,
    limits: RateLimits,
    /// What is in force: this policy, shared by so many.
    share: Mutex<(LimitPolicy, usize)>,
}

impl LocalFallback {
    /// Everything, as long as nobody else is known.
    pub(crate) fn new(policy: &LimitPolicy) -> Self {
        let share = local_share(policy, 1);
        Self {
            slots: Slots::new(&share.slots),
            limits: RateLimits::new(&share.limits),
            share: Mutex::new((policy.clone(), 1)),
        }
    }

    /// A place for a request that may run whatever the share is.
    pub(crate) fn occupy(&self, user: &UserId, operation: Operation) -> LocalSlot {
        self.slots.occupy(user, operation)
    }

    /// The share of the slots.
    pub(crate) fn slots(&self, policy: &LimitPolicy, gateways: usize) -> &Slots {
        self.fit(policy, gateways);
        &self.slots
    }

    /// The share of what may be asked in a minute.
    pub(crate) fn limits(&self, policy: &LimitPolicy, gateways: usize) -> &RateLimits {
        self.fit(policy, gateways);
        &self.limits
    }

    fn fit(&self, policy: &LimitPolicy, gateways: usize) {
        let mut share = self.share.lock();
        if (&share.0, share.1) != (policy, gateways) {
            *share = (policy.clone(), gateways);
            let divided = local_share(policy, gateways);
            self.slots.reconfigure(&divided.slots);
            self.limits.reconfigure(&divided.limits);
        }
    }
}

/// The share of one of `gateways`. Its queue refuses nobody: a request that comes has a place in this gateway's own.
fn local_share(policy: &LimitPolicy, gateways: usize) -> LimitPolicy {
    let by = u32::try_from(gateways).unwrap_or(u32::MAX).max(1);
    let mut share = policy.clone();
    share.slots.queue = u32::MAX;
    share.slots.per_user = policy.slots.per_user.div_ceil(by);
    share.slots.total = policy.slots.total.div_ceil(by);
    share.slots.operations.values_mut().for_each(|limit| *limit = limit.div_ceil(by));
    share.limits.requests_per_minute = policy.limits.requests_per_minute.map(|limit| limit.div_ceil(by));
    share.limits.tokens_per_minute = policy.limits.tokens_per_minute.map(|limit| limit.div_ceil(by));
    share
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::config::Config;

    fn policy(per_user: u32, requests: Option<u32>) -> LimitPolicy {
        let mut config = Config::default();
        config.slots.per_user = per_user;
        config.slots.operations.clear();
        config.limits.requests_per_minute = requests;
        LimitPolicy::from(&config)
    }

    #[test]
    fn shares_together_are_the_limit_and_less_than_one_more_for_each_gateway() {
        for limit in 0..50 {
            for gateways in 1..=7 {
                let share = local_share(&policy(limit, Some(limit)), gateways);
                let sum = share.slots.per_user * gateways as u32;
                assert!((limit..limit + gateways as u32).contains(&sum), "{limit} by {gateways}: {sum}");
                assert_eq!(share.limits.requests_per_minute, Some(share.slots.per_user));
                assert_eq!(share.slots.per_user == 0, limit == 0, "whoever may run runs");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_here_already_takes_from_the_share() {
        let (policy, user) = (policy(4, None), UserId::anonymous());
        let fallback = LocalFallback::new(&policy);
        let leased: Vec<LocalSlot> = (0..3).map(|_| fallback.occupy(&user, Operation::Chat)).collect();
        let take = || fallback.slots(&policy, 2).acquire(&user, Operation::Chat, 0).now_or_never();
        assert!(take().is_none(), "two may run here, and three do");
        drop(leased);
        let taken = [take(), take()];
        assert!(taken.iter().all(|slot| matches!(slot, Some(Ok(_)))));
        assert!(take().is_none());
    }
}
