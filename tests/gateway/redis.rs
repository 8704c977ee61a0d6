//! Several gateways on one Redis: what they know of each other and of Redis, and what they report of it.
//!
//! Without `redis-server` these tests, and those of `redis_*`, are skipped with a message.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, FakeProvider, Gateway, RedisServer, Reply, eventually, tls::Authority,
};

use super::setup::{gateway, launch};

/// Limit for a recovery: 5 s are promised, the rest is for a busy machine.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// Some gateways on one Redis, in front of one provider.
pub struct Several {
    /// The Redis they share.
    pub redis: RedisServer,
    /// The provider behind all of them.
    pub provider: FakeProvider,
    /// The gateways, configured alike.
    pub gateways: Vec<Gateway>,
    config: ConfigFile,
}

impl Several {
    /// `count` gateways that know of each other; `None` without a Redis.
    pub async fn start(
        count: usize,
        on_error: &str,
        change: impl Fn(ConfigFile) -> ConfigFile,
    ) -> Option<Self> {
        let redis = RedisServer::start().await?;
        let provider = FakeProvider::start().await;
        // Answers may take as long as a test likes.
        let config = on(ConfigFile::single(&provider), &redis, on_error).set(
            "resilience",
            "answer_timeout",
            "\"60s\"",
        );
        let config = change(config);
        let mut several = Self { redis, provider, gateways: Vec::new(), config };
        for _ in 0..count {
            several.gateways.push(gateway(&several.config).await);
        }
        several.know_each_other().await;
        Some(several)
    }

    /// Waits until all are connected, and count each other.
    pub async fn know_each_other(&self) {
        for gateway in &self.gateways {
            let client = gateway.client();
            eventually("they know each other", RECOVERY, || async {
                let known = metric(&client, "concierge_gateways").await == self.gateways.len() as f64;
                (known && readiness(&client).await == (200, "up".to_owned())).then_some(())
            })
            .await;
        }
    }

    /// A client of one gateway, with changes to its headers.
    pub fn of(&self, gateway: usize, user: &str) -> Client {
        self.gateways[gateway].client().header("x-user-id", user)
    }

    /// The configuration of all of them.
    pub fn config(&self) -> ConfigFile {
        self.config.clone()
    }

    /// Waits until Redis holds no lease and no waiter.
    pub async fn all_free(&self, limit: Duration) {
        eventually("no lease is held", limit, || async {
            let mut left = 0;
            for key in ["held", "waiting", "seen"] {
                left += self.redis.count(&format!("ZCARD concierge:total:{key}")).await;
            }
            (left == 0).then_some(())
        })
        .await;
    }
}

/// `config` with this Redis.
pub fn on(config: ConfigFile, redis: &RedisServer, on_error: &str) -> ConfigFile {
    config.set("redis", "url", &format!("{:?}", redis.url())).set(
        "redis",
        "on_error",
        &format!("{on_error:?}"),
    )
}

/// What `/readyz` says of Redis, and its status.
pub async fn readiness(client: &Client) -> (u16, String) {
    let reply = client.get("/readyz").await;
    (reply.code(), reply.json()["redis"].as_str().unwrap_or_default().to_owned())
}

/// Waits until readiness has this status and state of Redis.
pub async fn is(client: &Client, code: u16, redis: &str) {
    eventually(&format!("{code} {redis}"), RECOVERY, || async {
        (readiness(client).await == (code, redis.to_owned())).then_some(())
    })
    .await;
}

/// One sample of `/metrics`.
pub async fn metric(client: &Client, name: &str) -> f64 {
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

/// The password of `redis.url` is in no line of the log and in no answer, even if it is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let Some(redis) = RedisServer::start().await else { return };
    redis.say("CONFIG SET requirepass the-right-one-1").await;
    let provider = FakeProvider::start().await;
    let url = redis.url().replace("redis://", "redis://:hunter2-hunter2@");
    let config = ConfigFile::single(&provider).set("redis", "url", &format!("{url:?}"));
    let gw: Gateway = launch().env("RUST_LOG", "trace").start(config.toml()).await;
    let said = gw.wait_log("Redis is unavailable").await;
    assert!(said.to_lowercase().contains("password"), "{said}");
    let page: Reply = gw.client().get("/admin/config").await;
    let right =
        config.set("redis", "url", &format!("{:?}", url.replace("hunter2-hunter2", "the-right-one-1")));
    is(&gateway(&right).await.client(), 200, "up").await;
    assert!(!gw.logs().contains("hunter2") && !String::from_utf8_lossy(&page.body).contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_certificates_are_verified() {
    let Some(redis) = RedisServer::start().await else { return };
    let authority = Authority::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.unwrap().port();
    let set = format!(
        "CONFIG SET tls-cert-file {} tls-key-file {} tls-ca-cert-file {} tls-auth-clients no tls-port {port}",
        authority.cert_file().display(),
        authority.key_file().display(),
        authority.root_file().display(),
    );
    let said = redis.say(&set).await;
    if said != "+OK" {
        return eprintln!("skipped: this redis-server has no TLS: {said}");
    }
    let provider = FakeProvider::start().await;
    let url = format!("\"rediss://localhost:{port}\"");
    let config = ConfigFile::single(&provider).set("redis", "url", &url);
    let root = authority.root_file().display().to_string();
    let trusting = launch().env("SSL_CERT_FILE", &root).start(config.toml()).await;
    is(&trusting.client(), 200, "up").await;
    let strict = gateway(&config).await;
    strict.wait_log("Redis is unavailable").await;
    assert_eq!(readiness(&strict.client()).await, (200, "away".to_owned()));
}
