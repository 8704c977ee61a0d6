//! Several gateways that count together: is the limit one, what happens without Redis, and what does it cost?
//!
//! Real gateways, a real Redis on a free port, one provider that counts what it is asked at once. It must never look into
//! Redis to judge a limit: what the provider saw is what counts.

mod bound;
mod cost;
mod outage;

use std::time::Duration;

use concierge_testkit::{ConfigFile, FakeProvider, Gateway, RedisServer, eventually, ms, openai};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    setup,
    storm::{self, figures::Figure},
    wire::{Line, chat},
};

/// How long gateways may need to find each other.
const MEETING: Duration = Duration::from_secs(20);

/// Measures everything, or only the parts named as arguments (then nothing is saved). True if every limit is kept.
pub async fn run() -> bool {
    let load = setup::load_average();
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let mut figures = Vec::new();
    if wanted("bound") {
        figures.extend(bound::run().await);
    }
    if wanted("outage") {
        figures.extend(outage::run().await);
    }
    if wanted("cost") {
        figures.extend(cost::run().await);
    }
    storm::print(&figures);
    let all: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    if only.is_empty() {
        setup::save("shared", json!({ "load_average_before": load, "limits": all }));
    }
    !figures.is_empty() && figures.iter().all(Figure::holds)
}

/// Gateways alike, on one Redis.
struct Fleet {
    redis: RedisServer,
    provider: FakeProvider,
    gateways: Vec<Gateway>,
}

impl Fleet {
    /// `count` of them, with `[slots]` for one user and this rule; the provider answers after `pause`. Panics without a
    /// redis-server: there is nothing to measure.
    async fn start(count: usize, per_user: usize, on_error: &str, pause: Duration) -> Self {
        let redis = RedisServer::start().await.unwrap_or_else(|| panic!("install redis-server"));
        let provider = FakeProvider::start().await;
        provider.script(move |request| openai::sane(request, "blue").head_after(pause));
        let config = config(&provider, per_user).set("redis", "url", &format!("{:?}", redis.url())).set(
            "redis",
            "on_error",
            &format!("{on_error:?}"),
        );
        let mut gateways = Vec::new();
        for _ in 0..count {
            gateways.push(setup::launch().start(config.toml()).await);
        }
        let fleet = Self { redis, provider, gateways };
        fleet.meet().await;
        fleet
    }

    /// Waits until every gateway knows of all.
    async fn meet(&self) {
        for gateway in &self.gateways {
            let client = gateway.client();
            eventually("the gateways know each other", MEETING, || async {
                let page = client.get("/metrics").await;
                let text = String::from_utf8_lossy(&page.body).into_owned();
                let value = |name| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                    line.trim().parse::<f64>().ok()
                };
                let known = value("concierge_gateways ") == Some(self.gateways.len() as f64);
                (known && value("concierge_redis_up ") == Some(1.0)).then_some(())
            })
            .await;
        }
    }
}

/// One user's slots and limits, which are never in the way of a minute.
fn config(provider: &FakeProvider, per_user: usize) -> ConfigFile {
    ConfigFile::new()
        .provider("a", provider)
        .model("m", &["a/m"])
        .set("slots", "operations", &format!("{{ chat = {per_user} }}"))
        .set("slots", "queue", "1000")
        .set("slots", "queue_timeout", "\"60s\"")
        .set("limits", "requests_per_minute", "10000000")
        .set("limits", "tokens_per_minute", "1000000000")
}

/// One request of a load.
#[derive(Clone, Debug)]
struct Asked {
    /// Since the beginning of the load.
    at: Duration,
    took: Duration,
    /// 0: the connection broke.
    status: u16,
}

/// Asks on one connection until `length` is over, one request after the other, but no faster than `every`.
async fn lane(addr: String, user: String, length: Duration, every: Duration) -> Vec<Asked> {
    let (begun, request) = (Instant::now(), chat(&user, &Value::Null));
    let (mut line, mut asked) = (None, Vec::new());
    while begun.elapsed() < length {
        let sent = Instant::now();
        let status = match ask(&mut line, &addr, &request).await {
            Ok(status) => status,
            Err(_) => {
                line = None;
                0
            }
        };
        asked.push(Asked { at: sent - begun, took: sent.elapsed(), status });
        let least = if status == 0 { ms(100) } else { every };
        sleep_until(sent + least).await;
    }
    asked
}

async fn ask(line: &mut Option<Line>, addr: &str, request: &[u8]) -> std::io::Result<u16> {
    let line = match line {
        Some(line) => line,
        None => line.insert(Line::open(addr).await?),
    };
    Ok(line.ask(request).await?.status)
}
