//! Ten thousand times a write on one gateway in a race with cached recalls on both: is anything stale ever recalled?
//!
//! Two gateways on one PostgreSQL and one Redis. Each round of a user forgets, adds or changes the context on one of the
//! gateways while recalls of the same question run on both, and asks both again when the write is acknowledged. Meanwhile
//! Redis is emptied, hung, killed and cut off from one gateway. What counts is what was acknowledged before a recall
//! began; a recall that was under way may see either.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use concierge_testkit::{
    ConfigFile, Gateway,
    redis::RedisServer,
    store::{State, Wire},
};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{join, task::JoinSet, time::sleep};

use super::server;
use crate::{
    recall::desk::good,
    setup::{self, scaled},
    storm::{self, figures::Figure},
    wire::{Line, post, send},
};

const ROUNDS: u64 = 10_000;
const USERS: u64 = 8;
/// Between two troubles of Redis.
const CALM: Duration = Duration::from_secs(2);
/// How long one lasts; some are longer than the gateway's patience.
const TROUBLE: Duration = Duration::from_millis(700);
/// What is asked: so few that what is asked was mostly asked before.
const QUESTIONS: [&str; 3] = ["lantern", "harbour", "lantern harbour"];
/// Memories of a user from which on some are forgotten.
const MANY: usize = 5;

/// What all users came to.
#[derive(Default)]
struct Counts {
    rounds: u64,
    recalls: u64,
    cached: u64,
    stale: u64,
}

/// All of it. True if nothing stale was recalled.
///
/// # Panics
/// Without PostgreSQL or Redis, or if a gateway breaks off.
pub async fn run() -> bool {
    let load = setup::load_average();
    let redis = RedisServer::start().await.unwrap_or_else(|| panic!("no redis-server"));
    let wire = Wire::to(&redis.url(), State::Whole).await;
    let url = server::database();
    let gateways = [start(&url, &wire.url(&redis.url())).await, start(&url, &redis.url()).await];
    let mut lanes = JoinSet::new();
    for user in 0..USERS {
        let rounds = scaled(ROUNDS).div_ceil(USERS);
        let addrs = gateways.each_ref().map(|gateway| Arc::from(gateway.addr()));
        lanes.spawn(async move { User::new(addrs, user).await?.live(rounds).await });
    }
    let (total, troubles) = meanwhile(lanes, redis, &wire).await;
    println!("{troubles} troubles of Redis; {} of {} recalls from a cache", total.cached, total.recalls);
    let figures = [
        Figure::at_least(
            "writes and forgets in a race with recalls on two gateways",
            scaled(ROUNDS) as f64,
            total.rounds as f64,
        ),
        Figure::at_least("… recalls from a cache", total.rounds as f64, total.cached as f64),
        Figure::at_least("… times Redis was emptied, hung, killed or cut off", 4.0, f64::from(troubles)),
        Figure::at_most("… stale recalls", 0.0, total.stale as f64),
    ];
    storm::print(&figures);
    let limits: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    setup::save(
        "interleave",
        json!({ "load_average_before": load, "recalls": total.recalls, "limits": limits }),
    );
    figures.iter().all(Figure::holds)
}

async fn start(url: &str, redis: &str) -> Gateway {
    let config = server::on(ConfigFile::new(), url).set("redis", "url", &format!("{redis:?}"));
    setup::launch().start(config.set("slots", "per_user", "50").toml()).await
}

/// Troubles Redis until all users are done.
async fn meanwhile(
    mut lanes: JoinSet<io::Result<Counts>>,
    mut redis: RedisServer,
    wire: &Wire,
) -> (Counts, u32) {
    let (mut total, mut troubles) = (Counts::default(), 0);
    loop {
        tokio::select! {
            lane = lanes.join_next() => {
                let Some(lane) = lane else { return (total, troubles) };
                let counts = lane.unwrap_or_else(|why| panic!("{why}")).unwrap_or_else(|why| panic!("{why}"));
                total.rounds += counts.rounds;
                total.recalls += counts.recalls;
                total.cached += counts.cached;
                total.stale += counts.stale;
            }
            () = sleep(CALM) => {
                trouble(troubles, &mut redis, wire).await;
                troubles += 1;
            }
        }
    }
}

async fn trouble(number: u32, redis: &mut RedisServer, wire: &Wire) {
    match number % 4 {
        0 => redis.flush().await,
        1 => {
            wire.set(State::Cut);
            sleep(TROUBLE).await;
            wire.set(State::Whole);
        }
        2 => {
            redis.freeze();
            sleep(TROUBLE).await;
            redis.thaw();
        }
        _ => {
            redis.kill();
            sleep(TROUBLE).await;
            redis.start_again().await;
        }
    }
}

/// A user with a connection to each gateway for writes, and one for recalls.
struct User {
    name: String,
    writes: [Line; 2],
    recalls: [Line; 2],
    rng: Rng,
    /// What must be recalled: ids and texts.
    there: Vec<(String, String)>,
    counts: Counts,
}

impl User {
    async fn new(addrs: [Arc<str>; 2], number: u64) -> io::Result<Self> {
        let [one, other] = &addrs;
        Ok(Self {
            name: format!("user-{number}"),
            writes: [Line::open(one).await?, Line::open(other).await?],
            recalls: [Line::open(one).await?, Line::open(other).await?],
            rng: Rng::with_seed(number),
            there: Vec::new(),
            counts: Counts::default(),
        })
    }

    async fn live(mut self, rounds: u64) -> io::Result<Counts> {
        for round in 0..rounds {
            let asked = post(
                "/v1/memories/search",
                &self.name,
                &json!({ "query": self.rng.choice(QUESTIONS), "limit": 50 }),
            );
            let before: BTreeSet<String> = self.there.iter().map(|(_, text)| text.clone()).collect();
            let (write, forgotten) = self.next(round);
            let [one, other] = &mut self.recalls;
            let writer = &mut self.writes[self.rng.usize(0..2)];
            let (here, there, written) = join!(one.ask(&asked), other.ask(&asked), writer.ask(&write));
            self.enter(good(written?)?, forgotten);
            let after: BTreeSet<String> = self.there.iter().map(|(_, text)| text.clone()).collect();
            for racing in [here?, there?] {
                self.judge(&good(racing)?, &[&before, &after]);
            }
            // Once more, for by then both may have it from a cache.
            for _ in 0..2 {
                let [one, other] = &mut self.recalls;
                let (here, there) = join!(one.ask(&asked), other.ask(&asked));
                for later in [here?, there?] {
                    self.judge(&good(later)?, &[&after]);
                }
            }
            self.counts.rounds += 1;
        }
        Ok(self.counts)
    }

    /// A write, and the place of the memory that it forgets.
    fn next(&mut self, round: u64) -> (Vec<u8>, Option<usize>) {
        let headers = [("x-user-id", self.name.as_str())];
        match self.rng.u8(0..8) {
            0 => {
                let change = json!({ "round": round }).to_string();
                (send("PATCH", "/v1/context", &headers, change.as_bytes()), None)
            }
            1..=4 if self.there.len() >= MANY => {
                let place = self.rng.usize(0..self.there.len());
                let path = format!("/v1/memories/{}", self.there[place].0);
                (send("DELETE", &path, &headers, b""), Some(place))
            }
            _ => {
                let text = format!("the lantern of the harbour, number {round}");
                (post("/v1/memories", &self.name, &json!({ "text": text })), None)
            }
        }
    }

    /// Notes what a write has changed.
    fn enter(&mut self, written: Value, forgotten: Option<usize>) {
        if let Some(place) = forgotten {
            self.there.swap_remove(place);
        } else if let (Some(id), Some(text)) = (written["id"].as_str(), written["text"].as_str()) {
            self.there.push((id.to_owned(), text.to_owned()));
        }
    }

    /// Counts a recall, and whether it is none of what it may be.
    fn judge(&mut self, found: &Value, right: &[&BTreeSet<String>]) {
        self.counts.recalls += 1;
        self.counts.cached += u64::from(found["cache"] == "hit");
        let hits = found["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: BTreeSet<String> =
            hits.iter().filter_map(|hit| Some(hit["text"].as_str()?.to_owned())).collect();
        if !right.iter().any(|right| **right == texts) {
            self.counts.stale += 1;
            println!("{}: stale, cache {}: {texts:?}, not {right:?}", self.name, found["cache"]);
        }
    }
}
