//! Turns, as Redis keeps them: on a real server, one call after the other. Without `redis-server` it says so.

use std::time::Duration;

use concierge_testkit::{RedisServer, eventually};

use super::{acquire_script::SlotReply, *};
use crate::{
    admission::{local::queue::Limit, request::Operation},
    config::{self, Secret},
};

/// One slot for each user, and two may wait.
fn config(redis: &RedisServer) -> Config {
    let mut config = Config::default();
    config.slots.per_user = 1;
    config.slots.operations.clear();
    config.slots.queue = 2;
    config.redis = config::Redis { url: Some(Secret::new(redis.url())), on_error: OnError::Local };
    config
}

async fn distributed(redis: &RedisServer, tasks: &Tasks) -> DistributedLimits {
    let config = config(redis);
    let redis = RedisClient::open(&config.redis, || Err(rustls::Error::General("no TLS".to_owned())), tasks);
    let distributed = DistributedLimits::new(&config, redis.unwrap().unwrap(), tasks);
    eventually("Redis gives slots", Duration::from_secs(10), || async {
        let mut first = lease(&distributed, "somebody");
        (ask(&distributed, &mut first, 0).await == Some(SlotReply::Granted)).then_some(())
    })
    .await;
    distributed
}

fn lease(distributed: &DistributedLimits, user: &str) -> Lease {
    let user = UserKey::new(&UserId::authenticated(user).unwrap());
    Lease::new(&distributed.table, LeaseKey { user, operation: Operation::Chat })
}

async fn ask(distributed: &DistributedLimits, lease: &mut Lease, priority: i64) -> Option<SlotReply> {
    let user = lease.user();
    let slot = lease.slot_request(&distributed.policy.load(), priority);
    let request = AcquireRequest::for_slot(user, lease.number, slot);
    let reply = distributed.table.acquire(&request).await.ok()?;
    lease.apply_reply(reply.slot, reply.now);
    lease.last_reply.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_slot_is_for_whose_turn_it_is() {
    let Some(redis) = RedisServer::start().await else { return };
    let tasks = Tasks::new();
    let distributed = distributed(&redis, &tasks).await;
    let [mut first, mut second, mut urgent, mut late] = [(); 4].map(|()| lease(&distributed, "u"));
    assert_eq!(ask(&distributed, &mut first, 0).await, Some(SlotReply::Granted));
    assert_eq!(ask(&distributed, &mut second, 0).await, Some(SlotReply::Waits(Limit::User, 0)));
    assert_eq!(ask(&distributed, &mut urgent, 5).await, Some(SlotReply::Waits(Limit::User, 1)));
    assert_eq!(ask(&distributed, &mut late, 0).await, Some(SlotReply::Full(Limit::User, 2)));
    drop(first);
    // Nobody overtakes: not who waits behind, not who has just come. They ask on, for who is silent has left.
    for _ in 0..500 {
        assert!(matches!(ask(&distributed, &mut second, 0).await, Some(SlotReply::Waits(Limit::User, _))));
        assert_ne!(ask(&distributed, &mut late, 0).await, Some(SlotReply::Granted));
        if ask(&distributed, &mut urgent, 5).await == Some(SlotReply::Granted) {
            return tasks.shutdown().cancel();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("whose turn it is gets nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_ask_again_has_left() {
    let Some(redis) = RedisServer::start().await else { return };
    let tasks = Tasks::new();
    let distributed = distributed(&redis, &tasks).await;
    let [mut first, mut silent, mut next] = [(); 3].map(|()| lease(&distributed, "u"));
    assert_eq!(ask(&distributed, &mut first, 0).await, Some(SlotReply::Granted));
    assert_eq!(ask(&distributed, &mut silent, 0).await, Some(SlotReply::Waits(Limit::User, 0)));
    drop(first);
    // As if its gateway had died: the other's turn comes when its place is stale.
    let granted = async {
        while ask(&distributed, &mut next, 0).await != Some(SlotReply::Granted) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), granted).await.unwrap();
    tasks.shutdown().cancel();
}
