//! C7 and promise 3: several gateways on one Redis, and Redis away, hung, flapping and emptied.
//!
//! Without `redis-server` these tests do nothing and say so.

use std::time::Duration;

use concierge_testkit::{Client, ConfigFile, FakeProvider, Gateway, RedisServer, Reply, eventually};

use super::stage::{gateway, launch};

/// How long recovery may take: 5 s are promised, the rest is for a busy machine.
const RECOVERY: Duration = Duration::from_secs(10);

fn on(config: ConfigFile, redis: &RedisServer, on_error: &str) -> ConfigFile {
    config.set("redis", "url", &format!("{:?}", redis.url())).set(
        "redis",
        "on_error",
        &format!("{on_error:?}"),
    )
}

/// What `/readyz` says of Redis, and its status.
async fn readiness(client: &Client) -> (u16, String) {
    let reply = client.get("/readyz").await;
    (reply.code(), reply.json()["redis"].as_str().unwrap_or_default().to_owned())
}

async fn is(client: &Client, code: u16, redis: &str) {
    eventually(&format!("{code} {redis}"), RECOVERY, || async {
        (readiness(client).await == (code, redis.to_owned())).then_some(())
    })
    .await;
}

/// One sample of `/metrics`.
async fn metric(client: &Client, name: &str) -> f64 {
    let page = client.get("/metrics").await;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let line =
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_the_truth() {
    let Some(mut redis) = RedisServer::start().await else { return };
    let provider = FakeProvider::start().await;
    let local = gateway(&on(ConfigFile::single(&provider), &redis, "local")).await;
    let closed = gateway(&on(ConfigFile::single(&provider), &redis, "closed")).await;
    let (local, closed) = (local.client(), closed.client());
    for round in 0..3 {
        is(&local, 200, "up").await;
        is(&closed, 200, "up").await;
        assert_eq!(metric(&local, "concierge_redis_up").await, 1.0);
        // Killed, hung, killed.
        if round == 1 {
            redis.freeze()
        } else {
            redis.kill()
        }
        is(&local, 200, "away").await;
        is(&closed, 503, "away").await;
        assert_eq!(metric(&local, "concierge_redis_up").await, 0.0);
        if round == 1 { redis.thaw() } else { redis.start_again().await }
    }
    is(&closed, 200, "up").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_know_of_each_other() {
    let Some(redis) = RedisServer::start().await else { return };
    let provider = FakeProvider::start().await;
    let config = on(ConfigFile::single(&provider), &redis, "local");
    let (first, mut second) = (gateway(&config).await, gateway(&config).await);
    let counts = |count: f64| {
        let client = first.client();
        eventually("the count of gateways", Duration::from_secs(30), move || {
            let client = client.clone();
            async move { (metric(&client, "concierge_gateways").await == count).then_some(()) }
        })
    };
    counts(2.0).await;
    redis.flush().await;
    assert_eq!(metric(&first.client(), "concierge_gateways").await, 2.0, "an emptied Redis proves nothing");
    counts(2.0).await;
    second.signal("TERM");
    second.wait_exit(RECOVERY).await;
    counts(1.0).await;
}

/// The password of `redis.url` is in no line of the log and in no answer, also when it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(redis) = RedisServer::start().await else { return };
    redis.say("CONFIG SET requirepass the-right-one-1").await;
    let provider = FakeProvider::start().await;
    let url = redis.url().replace("redis://", "redis://:hunter2-hunter2@");
    let config = ConfigFile::single(&provider).set("redis", "url", &format!("{url:?}"));
    let gw: Gateway = launch().env("RUST_LOG", "trace").start(config.toml()).await;
    let said = gw.wait_log("Redis is away").await;
    assert!(said.to_lowercase().contains("password"), "{said}");
    let page: Reply = gw.client().get("/admin/config").await;
    assert!(!gw.logs().contains("hunter2") && !String::from_utf8_lossy(&page.body).contains("hunter2"));
}
