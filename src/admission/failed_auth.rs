//! How many wrong keys an address may try.
//!
//! Beyond [`PER_ADDRESS`] a wrong key is answered "too many" instead of "wrong", and is not logged. A right key is never
//! asked how many wrong ones came before it: behind a proxy all clients have one address, and nobody may lock out the
//! others by guessing. What keeps a key from being guessed is its length; this keeps guessing from filling the log.
//!
//! Nothing is remembered of an address: there is a table of a fixed size, and a hash with a secret of this process says
//! which of its cells counts. Two addresses may share one.

use std::{
    collections::hash_map::RandomState, hash::BuildHasher, net::IpAddr, num::NonZeroU32, time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::local::governor_clock::{SinceStart, in_whole_millis};

/// Wrong keys a minute from one address, or from one network of IPv6 (/64).
pub(crate) const PER_ADDRESS: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// Wrong keys a minute from all addresses.
const FROM_ALL: NonZeroU32 = NonZeroU32::MIN.saturating_add(2999);
/// Cells of the table: less than a megabyte.
const MAX_ADDRESSES: usize = 4096;

type Cell = RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>;

/// Counts wrong keys.
pub(crate) struct FailedAuthLimiter {
    cells: Vec<Cell>,
    all: Cell,
    secret: RandomState,
}

impl Default for FailedAuthLimiter {
    fn default() -> Self {
        let cell = |limit| RateLimiter::direct_with_clock(Quota::per_minute(limit), SinceStart::default());
        Self {
            cells: std::iter::repeat_with(|| cell(PER_ADDRESS)).take(MAX_ADDRESSES).collect(),
            all: cell(FROM_ALL),
            secret: RandomState::new(),
        }
    }
}

impl FailedAuthLimiter {
    /// A wrong key came from `address`.
    ///
    /// # Errors
    /// When the next one would not be too many.
    pub(crate) fn record(&self, address: IpAddr) -> Result<(), Duration> {
        let place = self.secret.hash_one(network(address)) as usize % MAX_ADDRESSES;
        let cells = self.cells.get(place).into_iter().chain([&self.all]);
        cells.into_iter().try_for_each(|cell| {
            cell.check().map_err(|full| in_whole_millis(full.wait_time_from(cell.clock().now())))
        })
    }
}

/// Whoever has one address of IPv6 has 2⁶⁴ of them.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn knocks(failed_auth: &FailedAuthLimiter, address: IpAddr, count: u32) -> usize {
        (0..count).filter(|_| failed_auth.record(address).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_may_be_wrong_so_often_and_then_slowly() {
        let (failed_auth, one) = (FailedAuthLimiter::default(), address("192.0.2.1"));
        assert_eq!(knocks(&failed_auth, one, 100), PER_ADDRESS.get() as usize);
        let wait = failed_auth.record(one).unwrap_err();
        assert_eq!(wait, Duration::from_secs(2));
        advance(wait).await;
        assert_eq!(knocks(&failed_auth, one, 100), 1);
        advance(Duration::from_secs(60)).await;
        assert_eq!(knocks(&failed_auth, one, 100), PER_ADDRESS.get() as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_is_one_address_however_it_is_written() {
        let failed_auth = FailedAuthLimiter::default();
        assert_eq!(knocks(&failed_auth, address("2001:db8::1"), 100), PER_ADDRESS.get() as usize);
        assert_eq!(knocks(&failed_auth, address("2001:db8::ffff:2"), 100), 0);
        assert_eq!(network(address("::ffff:192.0.2.1")), network(address("192.0.2.1")));
        assert_ne!(network(address("2001:db8:0:1::1")), network(address("2001:db8::1")));
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_share_a_limit_and_no_memory() {
        let failed_auth = FailedAuthLimiter::default();
        let from = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        let allowed = (0..1_000_000).filter(|n| failed_auth.record(from(*n)).is_ok()).count();
        assert_eq!(allowed, FROM_ALL.get() as usize);
        let cells = MAX_ADDRESSES * size_of::<Cell>();
        assert!(cells < 1 << 20, "{cells} bytes");
    }
}
