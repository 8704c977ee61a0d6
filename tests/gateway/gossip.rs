//! Two gateways on one Redis: what one observes of a provider, the other knows.
//!
//! Without `redis-server` these tests are skipped with a message.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Gateway, RedisServer, Reply, Script, eventually, ms,
    openai::{ask, error_body},
};
use tokio::time::sleep;

use super::setup::{Load, errors, gateway};

/// Timeout for what normally happens at once, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Two providers, and gateways in front of both that share a Redis.
struct Fleet {
    redis: RedisServer,
    a: FakeProvider,
    _b: FakeProvider,
    config: ConfigFile,
    gateways: Vec<Gateway>,
}

impl Fleet {
    /// `None` if this machine has no Redis.
    async fn start(change: impl FnOnce(ConfigFile) -> ConfigFile) -> Option<Self> {
        let redis = RedisServer::start().await?;
        let (a, b) = (FakeProvider::start().await, FakeProvider::start().await);
        let config = change(ConfigFile::pair(&a, &b)).set("redis", "url", &format!("{:?}", redis.url()));
        let mut fleet = Self { redis, a, _b: b, config, gateways: Vec::new() };
        fleet.join().await;
        fleet.join().await;
        Some(fleet)
    }

    /// Starts one more gateway and waits until it is connected to Redis.
    async fn join(&mut self) {
        let gateway = gateway(&self.config).await;
        gateway.wait_log("connected to Redis").await;
        self.gateways.push(gateway);
        // The first reports it then receives are replies to its own request.
        sleep(ms(200)).await;
    }

    async fn chat(&self, gateway: usize) -> Reply {
        self.gateways[gateway].client().chat(&ask("m")).await
    }

    async fn state(&self, gateway: usize) -> String {
        let target = self.gateways[gateway].target("a/m").await;
        target["state"].as_str().unwrap_or_default().to_owned()
    }

    async fn wait_state(&self, gateway: usize, state: &str) {
        let look = || async { (self.state(gateway).await == state).then_some(()) };
        eventually(&format!("a/m is {state} at gateway {gateway}"), SOON, look).await;
    }
}

fn broken() -> Script {
    Script::status(500, error_body("boom", "server_error", None))
}

/// Cooldowns longer than the test.
fn long_rests(config: ConfigFile) -> ConfigFile {
    config.set("breaker", "open_min", "\"60s\"").set("breaker", "open_max", "\"60s\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_is_left_alone_by_who_never_asked_it() {
    let Some(mut fleet) = Fleet::start(long_rests).await else { return };
    fleet.a.always(broken());
    for _ in 0..5 {
        assert_eq!(fleet.chat(0).await.code(), 200);
    }
    fleet.wait_state(1, "open").await;
    fleet.a.clear();
    for _ in 0..10 {
        assert_eq!(fleet.chat(1).await.header("x-concierge-target"), "b/m");
    }
    assert_eq!(fleet.a.calls().len(), 0, "not one failure of its own");
    let (first, second) = (fleet.gateways[0].target("a/m").await, fleet.gateways[1].target("a/m").await);
    assert_eq!(first["told_by"], serde_json::Value::Null, "{first}");
    let told_by = &second["told_by"];
    assert_eq!(told_by["gateway"].as_str().unwrap().len(), 16, "{second}");
    assert!(told_by["seconds_ago"].as_f64().unwrap() < 60.0, "{second}");
    assert!(second["reason"].as_str().unwrap().contains("reported by gateway"), "{second}");
    assert_eq!(second["failure_count"], 0, "counts are its own");
    let explained = fleet.gateways[1].client().get("/admin/explain?model=m").await.json();
    assert_eq!(explained["not_asked"][0]["told_by"]["gateway"], told_by["gateway"], "{explained}");
    let metrics = fleet.gateways[1].client().get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("concierge_peer_messages_heard_total"), "{metrics}");
    // A later gateway gets the report from running ones, or from their copies once they are gone.
    fleet.join().await;
    fleet.wait_state(2, "open").await;
    sleep(ms(2500)).await;
    fleet.gateways.clear();
    fleet.join().await;
    fleet.wait_state(0, "open").await;
}

/// Both are under load when the provider dies, and both have been using it.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_dies_under_load_costs_the_second_gateway_no_row_of_failures() {
    let Some(fleet) = Fleet::start(long_rests).await else { return };
    let loads: Vec<Load> =
        fleet.gateways.iter().map(|gateway| Load::start(&gateway.client(), 1, ms(20))).collect();
    fleet.a.wait_calls(20).await;
    fleet.a.always(broken());
    fleet.wait_state(0, "open").await;
    fleet.wait_state(1, "open").await;
    for load in loads {
        assert!(errors(&load.stop().await).is_empty());
    }
    let mut failed = Vec::new();
    for gateway in &fleet.gateways {
        failed.push(gateway.target("a/m").await["failure_count"].as_u64().unwrap());
    }
    assert!(failed.iter().sum::<u64>() < 10, "each has found it out by itself: {failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_probe_is_made_for_all_and_recovery_is_for_all() {
    let rests = |c: ConfigFile| c.set("breaker", "open_min", "\"1s\"").set("breaker", "open_max", "\"1s\"");
    let Some(fleet) = Fleet::start(rests).await else { return };
    fleet.a.always(broken());
    let loads: Vec<Load> =
        fleet.gateways.iter().map(|gateway| Load::start(&gateway.client(), 2, ms(10))).collect();
    fleet.wait_state(0, "open").await;
    fleet.wait_state(1, "open").await;
    // Long enough that a second probe would be sent while the first is in flight.
    fleet.a.always(broken().head_after(ms(500)));
    fleet.a.clear();
    fleet.a.wait_calls(3).await;
    assert_eq!(fleet.a.high_water(), 1, "probes at once");
    fleet.a.heal();
    fleet.wait_state(0, "closed").await;
    fleet.wait_state(1, "closed").await;
    for load in loads {
        assert!(errors(&load.stop().await).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_is_on_its_own_and_with_it_again_they_agree() {
    let Some(mut fleet) = Fleet::start(|c| c).await else { return };
    fleet.redis.kill();
    fleet.gateways[0].wait_log("Redis is unavailable").await;
    fleet.gateways[1].wait_log("Redis is unavailable").await;
    fleet.a.always(broken());
    for gateway in [0, 1] {
        for _ in 0..5 {
            assert_eq!(fleet.chat(gateway).await.code(), 200);
        }
        fleet.wait_state(gateway, "open").await;
        assert_eq!(fleet.gateways[gateway].target("a/m").await["failure_count"], 5);
    }
    fleet.a.heal();
    let probing = |gateway: usize| {
        let fleet = &fleet;
        async move {
            fleet.chat(gateway).await;
            (fleet.state(gateway).await == "closed").then_some(())
        }
    };
    eventually("the first is back by its own probe", SOON, || probing(0)).await;
    assert_ne!(fleet.state(1).await, "closed", "and tells nobody");
    fleet.redis.start_again().await;
    fleet.wait_state(1, "closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_sent_also_while_redis_hangs() {
    let Some(fleet) = Fleet::start(|c| c).await else { return };
    fleet.a.always(broken());
    for _ in 0..5 {
        fleet.chat(0).await;
    }
    fleet.wait_state(1, "open").await;
    fleet.redis.freeze();
    fleet.a.heal();
    let load = Load::start(&fleet.gateways[1].client(), 1, ms(20));
    fleet.wait_state(1, "closed").await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    fleet.redis.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_drain_is_for_the_fleet() {
    let Some(fleet) = Fleet::start(|c| c).await else { return };
    let order = |gateway: usize, what: &str| {
        let path = format!("/admin/providers/a%2Fm/{what}");
        let client = fleet.gateways[gateway].client();
        async move { assert_eq!(client.post_bytes(&path, "").await.code(), 200) }
    };
    order(0, "drain").await;
    fleet.wait_state(1, "drained").await;
    assert_eq!(fleet.chat(1).await.header("x-concierge-target"), "b/m");
    order(1, "resume").await;
    fleet.wait_state(0, "closed").await;
}
