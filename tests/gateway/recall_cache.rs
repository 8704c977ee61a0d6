//! Two gateways on one PostgreSQL and one Redis: each uses what the other has recalled, and it is never stale.
//!
//! Without the servers (`tests/postgres/with-server`, `redis-server`) these tests are skipped with a message.

use std::time::Duration;

use bytes::Bytes;
use concierge_testkit::{
    Client, ConfigFile, FakeProvider, Gateway, eventually, ms,
    redis::RedisServer,
    store::{self, State, Wire},
};
use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::setup::launch;

/// Timeout for background work, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// One database and one Redis.
struct Fleet {
    database: String,
    redis: RedisServer,
    provider: FakeProvider,
}

impl Fleet {
    /// `None`, with a message, if a server is missing.
    async fn new() -> Option<Self> {
        if store::server().is_none() {
            eprintln!("skipped: CONCIERGE_TEST_POSTGRES names no server");
            return None;
        }
        let redis = RedisServer::start().await?;
        Some(Self { database: store::new_database(), redis, provider: FakeProvider::start().await })
    }

    fn config(&self) -> ConfigFile {
        ConfigFile::single(&self.provider)
            .set("memory", "store", "\"postgres\"")
            .set("memory", "url", &format!("{:?}", self.database))
            // A budget for both that is never exceeded, even on a slow machine.
            .set("memory", "recall_budget", "\"5s\"")
    }

    async fn gateway(&self) -> Gateway {
        self.gateway_by(&self.redis.url()).await
    }

    /// A gateway with another URL of the Redis.
    async fn gateway_by(&self, redis: &str) -> Gateway {
        let gateway = launch().start(self.config().set("redis", "url", &format!("{redis:?}")).toml()).await;
        gateway.wait_log("connected to Redis").await;
        gateway
    }

    /// Entries of all users in Redis.
    async fn told(&self) -> u64 {
        let script = "local n = 0 for _, k in ipairs(redis.call('KEYS', 'concierge:recall:*')) do \
                      n = n + redis.call('HLEN', k) - 1 end return n";
        self.redis.count(&format!("EVAL \"{script}\" 0")).await
    }

    async fn is_told(&self, entries: u64) {
        eventually(&format!("{entries} entries in Redis"), SOON, || async {
            (self.told().await == entries).then_some(())
        })
        .await;
    }

    /// All recall data in Redis, keys included.
    async fn words(&self) -> String {
        let script = "local out = '' for _, k in ipairs(redis.call('KEYS', '*recall*')) do \
                      out = out .. k .. table.concat(redis.call('HGETALL', k), ' ') end return out";
        self.redis.say(&format!("EVAL \"{script}\" 0")).await
    }
}

fn of(gateway: &Gateway, user: &str) -> Client {
    gateway.client().header("x-user-id", user)
}

async fn add(client: &Client, text: &str) -> String {
    let reply = client.post("/v1/memories", &json!({ "text": text })).await;
    assert_eq!(reply.code(), 201, "{reply:?}");
    reply.json()["id"].as_str().unwrap().to_owned()
}

async fn delete(client: &Client, path: &str) {
    let reply = client.send(Method::DELETE, path, Bytes::new()).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
}

/// The items found, and whether they came from the cache.
async fn search(client: &Client, query: &str) -> (Value, bool) {
    let found = client.post("/v1/memories/search", &json!({ "query": query, "limit": 50 })).await.json();
    assert!(found["data"].is_array(), "{found}");
    (found["data"].clone(), found["cache"] == "hit")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_recalled_serves_the_other() {
    let Some(fleet) = Fleet::new().await else { return };
    let (one, other) = (fleet.gateway().await, fleet.gateway().await);
    let (ann, ann_there, bob_there) = (of(&one, "ann"), of(&other, "ann"), of(&other, "bob"));
    for text in ["My dog is called Ottoline", "I like tea \u{1f980}", "The dog barks\0"] {
        add(&ann, text).await;
    }
    let (found, cached) = search(&ann, "dog").await;
    assert!(!cached && !found.as_array().unwrap().is_empty());
    fleet.is_told(1).await;
    assert_eq!(search(&ann_there, "dog").await, (found, true));
    let state = other.client().get("/admin/users/ann/context").await.json()["state"].clone();
    assert_eq!(
        (&state["index_bytes"], &state["recalls"]["store_reads"]),
        (&Value::Null, &json!(0)),
        "no index"
    );
    assert_eq!(search(&bob_there, "dog").await, (json!([]), false), "it is ann's alone");
    assert!(!search(&ann_there, "Dog").await.1, "another question");

    // A chat's block uses the same entry.
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "dog"}]});
    let noted = async |client: &Client| {
        let reply = client.clone().header("x-concierge-memory", "read").chat(&chat).await;
        let body = fleet.provider.calls().last().unwrap().request.body.clone();
        let sent = String::from_utf8_lossy(&body).into_owned();
        // Without the fence around them, which differs in each request.
        let lines = sent.split("\\n").filter(|line| line.starts_with("- [")).map(str::to_owned);
        let lines: Vec<String> = lines.collect();
        (reply.header("x-concierge-memory").to_owned(), lines)
    };
    let (here, there) = (noted(&ann).await, noted(&ann_there).await);
    assert!(here.1.len() >= 2 && here.0.ends_with("cache=hit"), "{here:?}");
    assert_eq!(here, there);
}

/// Writes and deletes on either gateway race with recalls on both, in any order, while Redis is emptied, hangs, dies
/// and is cut off from one of them: whatever was acknowledged before a recall began is in that recall.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stale_is_ever_recalled() {
    let Some(mut fleet) = Fleet::new().await else { return };
    let wire = Wire::to(&fleet.redis.url(), State::Whole).await;
    let gateways = [fleet.gateway_by(&wire.url(&fleet.redis.url())).await, fleet.gateway().await];
    let (mut lanes, mut hits) = (JoinSet::new(), 0);
    for lane in 0..4 {
        let clients = [0, 1].map(|n: usize| of(&gateways[n], &format!("user {lane}")));
        lanes.spawn(interleave(clients, Rng::with_seed(lane), 60));
    }
    for trouble in 0..8 {
        tokio::time::sleep(ms(400)).await;
        match trouble % 4 {
            0 => fleet.redis.flush().await,
            1 => wire.set(State::Cut),
            2 => {
                wire.set(State::Whole);
                fleet.redis.freeze();
                tokio::time::sleep(ms(400)).await;
                fleet.redis.thaw();
            }
            _ => {
                fleet.redis.kill();
                fleet.redis.start_again().await;
            }
        }
    }
    while let Some(lane) = lanes.join_next().await {
        hits += lane.unwrap();
    }
    assert!(hits > 0, "nothing was ever recalled from a cache");
}

/// `rounds` writes of one user, each in a race with recalls of both gateways; returns how many recalls were cached.
async fn interleave(clients: [Client; 2], mut rng: Rng, rounds: usize) -> usize {
    let (mut there, mut hits): (Vec<(String, String)>, usize) = (Vec::new(), 0);
    for round in 0..rounds {
        let query = ["dog", "tea", "dog tea"][rng.usize(0..3)];
        let mut racing = JoinSet::new();
        for client in clients.clone().into_iter().chain(clients.clone()) {
            racing.spawn(async move { search(&client, query).await.1 });
        }
        let writer = &clients[rng.usize(0..2)];
        if there.len() > 3 && rng.bool() {
            let (id, _) = there.swap_remove(rng.usize(0..there.len()));
            delete(writer, &format!("/v1/memories/{id}")).await;
        } else {
            let text = format!("a dog and a tea, number {round}");
            there.push((add(writer, &text).await, text));
        }
        for client in &clients {
            let (found, cached) = search(client, query).await;
            let mut found: Vec<&str> =
                found.as_array().unwrap().iter().map(|hit| hit["text"].as_str().unwrap()).collect();
            let mut expected: Vec<&str> = there.iter().map(|(_, text)| text.as_str()).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "round {round}, cached: {cached}");
            hits += usize::from(cached);
        }
        hits += racing.join_all().await.into_iter().filter(|cached| *cached).count();
    }
    hits
}

/// A gateway cut off from Redis cannot notify the others, and its write is visible to them all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_one_that_is_cut_off_is_known_to_the_other() {
    let Some(fleet) = Fleet::new().await else { return };
    let wire = Wire::to(&fleet.redis.url(), State::Whole).await;
    let (alone, other) = (fleet.gateway_by(&wire.url(&fleet.redis.url())).await, fleet.gateway().await);
    let (ann, ann_there) = (of(&alone, "ann"), of(&other, "ann"));
    let id = add(&ann, "My dog is called Ottoline").await;
    search(&ann, "dog").await;
    fleet.is_told(1).await;
    wire.set(State::Cut);
    alone.wait_log("Redis is unavailable").await;
    delete(&ann, &format!("/v1/memories/{id}")).await;
    assert_eq!(fleet.told().await, 1, "it lies there still");
    assert_eq!(search(&ann_there, "dog").await.0, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_or_cleared_is_gone_from_redis() {
    let Some(fleet) = Fleet::new().await else { return };
    let (one, other) = (fleet.gateway().await, fleet.gateway().await);
    let ann = of(&one, "ann@example.org");
    add(&ann, "My dog is called Ottoline").await;
    search(&ann, "Who is Ottoline?").await;
    fleet.is_told(1).await;
    let words = fleet.words().await;
    assert!(words.contains("My dog is called Ottoline"), "{words}");
    assert!(!words.contains("ann@") && !words.contains("Who is"), "{words}");
    delete(&ann, "/v1/memories").await;
    assert!(!fleet.words().await.contains("Ottoline"));

    for path in ["/admin/cache/ann%40example.org", "/admin/cache"] {
        add(&ann, "My dog is called Ottoline").await;
        search(&ann, "Ottoline").await;
        fleet.is_told(1).await;
        let reply = other.client().send(Method::DELETE, path, Bytes::new()).await;
        assert_eq!(reply.json()["cleared"], 1, "{path}");
        assert!(!fleet.words().await.contains("Ottoline"));
        eventually("the other's own cache is cleared, too", SOON, || async {
            (!search(&ann, "Ottoline").await.1).then_some(())
        })
        .await;
        delete(&ann, "/v1/memories").await;
    }
    let lives = fleet.redis.count("EVAL \"return redis.call('DBSIZE')\" 0").await;
    let key =
        "for _, k in ipairs(redis.call('KEYS', '*recall*')) do return redis.call('PTTL', k) end return 1";
    let left = fleet.redis.count(&format!("EVAL \"{key}\" 0")).await;
    assert!(lives < 20 && (1..=300_000).contains(&left), "{lives} keys, {left} ms");
}

/// Leases and limits share the Redis, which evicts nothing, so a nearly full one is left to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_nearly_full_is_left_to_what_needs_it() {
    let Some(fleet) = Fleet::new().await else { return };
    let gateway = fleet.gateway().await;
    let ann = of(&gateway, "ann");
    add(&ann, "My dog is called Ottoline").await;
    let used = "return tonumber(redis.call('INFO', 'memory'):match('used_memory:(%d+)'))";
    let used = fleet.redis.count(&format!("EVAL \"{used}\" 0")).await;
    assert_eq!(fleet.redis.say(&format!("CONFIG SET maxmemory {}", used * 10 / 9)).await, "+OK");
    for n in 0..20 {
        search(&ann, &format!("dog {n}")).await;
    }
    tokio::time::sleep(ms(200)).await;
    assert_eq!(fleet.told().await, 0);
    assert_eq!(fleet.redis.say("CONFIG SET maxmemory 0").await, "+OK");
    search(&ann, "dog").await;
    fleet.is_told(1).await;
}

/// With a file each gateway has its own memories; that is logged, and nothing of them goes to Redis.
#[tokio::test(flavor = "multi_thread")]
async fn memories_in_a_file_are_not_shared() {
    if store::is_postgres() {
        return;
    }
    let Some(redis) = RedisServer::start().await else { return };
    let config = ConfigFile::quick().set("redis", "url", &format!("{:?}", redis.url()));
    let gateway = launch().start(config.toml()).await;
    gateway.wait_log("each gateway has memories of its own").await;
    gateway.wait_log("connected to Redis").await;
    let ann = of(&gateway, "ann");
    add(&ann, "My dog is called Ottoline").await;
    assert_eq!([search(&ann, "dog").await.1, search(&ann, "dog").await.1], [false, true]);
    assert_eq!(redis.count("EVAL \"return #redis.call('KEYS', '*recall*')\" 0").await, 0);
}
