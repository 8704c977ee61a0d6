//! One probe for all gateways: the one that may send it holds a key in Redis for as long as it takes.
//!
//! The key runs out by itself a few seconds after its holder has died. It is no lock that anything depends on: should two
//! gateways hold it, a provider that is down is asked once more.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use redis::Script;
use tokio::time::Instant;

use crate::{
    cluster::{RedisClient, RedisUnavailable},
    upstream::health::peer_evidence::PeerId,
};

/// A holder that does not renew it has died.
const LEASE: Duration = Duration::from_secs(3);
/// A lease that no request uses goes to another gateway.
pub(crate) const UNUSED: Duration = Duration::from_secs(2);

/// Takes the key, or holds it for longer: 1, or 0 if another gateway has it.
static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
         if holder and holder ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         return 1",
    )
});

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    )
});

/// The leases that this gateway holds, and since when.
#[derive(Default)]
pub(crate) struct ProbeLeases(HashMap<String, Instant>);

impl ProbeLeases {
    /// Whether this gateway has the lease for the probe of `target`. One that it has already is renewed.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn acquire(
        &mut self,
        redis: &RedisClient,
        me: PeerId,
        target: &str,
    ) -> Result<bool, RedisUnavailable> {
        let lease = LEASE.as_millis() as u64;
        let taken = redis.run::<u8>(ACQUIRE.key(key(target)).arg(me.to_string()).arg(lease)).await? == 1;
        if taken {
            self.0.insert(target.to_owned(), Instant::now());
        }
        Ok(taken)
    }

    /// Those that are held, by target, and whether they are to be renewed soon.
    pub(crate) fn held(&self, now: Instant) -> Vec<(String, bool)> {
        let old = |since: &Instant| now.saturating_duration_since(*since) > LEASE / 3;
        self.0.iter().map(|(target, since)| (target.clone(), old(since))).collect()
    }

    /// Another gateway may take it.
    pub(crate) async fn release(&mut self, redis: &RedisClient, me: PeerId, target: &str) {
        self.0.remove(target);
        // It runs out by itself if this does not arrive.
        redis.run::<u8>(RELEASE.key(key(target)).arg(me.to_string())).await.ok();
    }

    /// Redis is away: what was held is lost.
    pub(crate) fn lose(&mut self) {
        self.0.clear();
    }
}

fn key(target: &str) -> String {
    format!("concierge:probe:{target}")
}
