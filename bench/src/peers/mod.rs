//! What a second gateway learns of a provider that dies: two gateways, 100 requests per second on each, and a provider that
//! half of them go to; over and over.
//!
//! What is counted is what callers saw: a request that took a second attempt had asked the dead provider. The same is done
//! without a Redis, where each gateway has to find it out by itself.

mod load;

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Gateway, RedisServer, Script, eventually, openai::error_body,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use self::load::{Asked, Load};
use crate::{
    setup,
    storm::{self, figures::Figure},
};

/// Deaths with a Redis, and without.
const DEATHS: u64 = 20;
const DEATHS_ALONE: u64 = 5;
/// From an operator's reset to a death: both gateways ask both providers again.
const CALM: Duration = Duration::from_millis(1500);
/// How long it stays dead once both leave it alone: one rest ends in this time, and not a second one, which would be 4.8 s
/// after the first began at the earliest.
const DEAD: Duration = Duration::from_millis(4500);
/// For a breaker to open or close.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one death cost.
struct Death {
    /// Failed requests of the gateway that had fewer of them, and of the other.
    failed: [usize; 2],
    /// Seconds until the former asked no more.
    stopped: f64,
    /// Probes of both together.
    probes: usize,
    /// Seconds until both asked it again.
    back: f64,
    /// Requests whose callers got an error.
    errors: usize,
}

/// Measures. True if every limit is kept.
///
/// # Errors
/// There is no Redis on this machine.
pub async fn run() -> Result<bool, String> {
    let load = setup::load_average();
    let redis = RedisServer::start().await.ok_or("this needs redis-server")?;
    let told = deaths(Some(&redis), setup::scaled(DEATHS)).await;
    let alone = deaths(None, setup::scaled(DEATHS_ALONE).max(1)).await;
    let (told, alone) = (Summary::of(&told), Summary::of(&alone));
    println!("\n{:<64} {:>10} {:>10}", "", "Redis", "none");
    for ((name, told), (_, alone)) in told.rows().iter().zip(alone.rows()) {
        println!("{name:<64} {told:>10.2} {alone:>10.2}");
    }
    let figures = [
        Figure::at_most("the second gateway stops asking, seconds, longest", 1.0, told.stopped),
        Figure::at_most("failed requests of its own, most", 1.0, told.failed),
        Figure::at_most("probes of both gateways in an outage of one rest, most", 1.0, told.probes),
        Figure::at_most("errors that callers saw", 0.0, told.errors),
    ];
    storm::print(&figures);
    let limits: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    let figures_of =
        |summary: &Summary| summary.rows().map(|(name, got)| json!({ "name": name, "got": got }));
    let measured = json!({ "redis": figures_of(&told), "none": figures_of(&alone) });
    setup::save("peers", json!({ "load_average_before": load, "limits": limits, "measured": measured }));
    Ok(figures.iter().all(Figure::holds))
}

/// Lets the provider die `times` times, by errors and by refused connections in turn.
async fn deaths(redis: Option<&RedisServer>, times: u64) -> Vec<Death> {
    let (a, b) = (FakeProvider::start().await, FakeProvider::start().await);
    let config = ConfigFile::new().provider("a", &a).provider("b", &b).model("m", &["a/m", "b/m"]);
    let config = config.set("health", "interval", "\"0s\"").set("slots", "per_user", "1000");
    let config = match redis {
        Some(redis) => config.set("redis", "url", &format!("{:?}", redis.url())),
        None => config,
    };
    let gateways = [start(&config).await, start(&config).await];
    // What the later one asks the earlier one is answered by then.
    sleep(CALM).await;
    let mut deaths = Vec::new();
    for number in 0..times {
        deaths.push(die(&a, &gateways, number.is_multiple_of(2)).await);
    }
    deaths
}

async fn start(config: &ConfigFile) -> Gateway {
    setup::launch().start(config.toml()).await
}

async fn die(provider: &FakeProvider, gateways: &[Gateway; 2], by_errors: bool) -> Death {
    for gateway in gateways {
        gateway.client().post_bytes("/admin/providers/a%2Fm/reset", "").await;
    }
    let loads = gateways.each_ref().map(|gateway| Load::start(gateway.url()));
    sleep(CALM).await;
    let died = Instant::now();
    if by_errors {
        provider.always(Script::status(500, error_body("boom", "server_error", None)));
    } else {
        provider.refuse().await;
    }
    // Without a Redis scores can fall so far before the row is full that nobody asks it any more.
    timeout(PATIENCE / 2, wait(gateways, "open")).await.ok();
    let open = Instant::now();
    sleep(DEAD).await;
    let healed = Instant::now();
    if by_errors {
        provider.heal()
    } else {
        provider.accept_again().await
    }
    wait(gateways, "closed").await;
    let back = healed.elapsed().as_secs_f64();
    let [one, other] = loads.map(Load::stop);
    let (one, other) = tokio::join!(one, other);
    Death::of([one, other], [died, open, healed], back)
}

/// Waits until the breakers of both are in this state.
async fn wait(gateways: &[Gateway; 2], state: &str) {
    for gateway in gateways {
        let look = || async { (gateway.target("a/m").await["state"] == state).then_some(()) };
        eventually(&format!("it is {state}"), PATIENCE, look).await;
    }
}

impl Death {
    fn of(mut asked: [Vec<Asked>; 2], [died, open, healed]: [Instant; 3], back: f64) -> Self {
        let hit = |asked: &[Asked], from: Instant, to: Instant| -> Vec<Instant> {
            asked
                .iter()
                .filter(|one| one.attempts > 1 && one.sent >= from && one.sent < to)
                .map(|one| one.sent)
                .collect()
        };
        let failed = |asked: &Vec<Asked>| hit(asked, died, open);
        asked.sort_by_key(|asked| failed(asked).len());
        let [second, first] = asked.each_ref().map(failed);
        let probes = asked.iter().map(|asked| hit(asked, open, healed).len()).sum();
        Self {
            failed: [second.len(), first.len()],
            stopped: second.last().map_or(0.0, |last| (*last - died).as_secs_f64()),
            probes,
            back,
            errors: asked.iter().flatten().filter(|one| !one.answered).count(),
        }
    }
}

/// Of many deaths.
struct Summary {
    stopped: f64,
    failed: f64,
    failed_on_average: f64,
    failed_first: f64,
    probes: f64,
    back: f64,
    errors: f64,
}

impl Summary {
    fn of(deaths: &[Death]) -> Self {
        let most = |of: fn(&Death) -> f64| deaths.iter().map(of).fold(0.0, f64::max);
        let sum = |of: fn(&Death) -> f64| deaths.iter().map(of).sum::<f64>();
        Self {
            stopped: most(|death| death.stopped),
            failed: most(|death| death.failed[0] as f64),
            failed_on_average: sum(|death| death.failed[0] as f64) / deaths.len() as f64,
            failed_first: most(|death| death.failed[1] as f64),
            probes: most(|death| death.probes as f64),
            back: most(|death| death.back),
            errors: sum(|death| death.errors as f64),
        }
    }

    fn rows(&self) -> [(&'static str, f64); 7] {
        [
            ("the second gateway stops asking after, seconds, longest", self.stopped),
            ("failed requests of the second, most in one death", self.failed),
            ("… on average", self.failed_on_average),
            ("failed requests of the first, most in one death", self.failed_first),
            ("probes of both in an outage of one rest, most", self.probes),
            ("both ask it again after, seconds, longest", self.back),
            ("errors that callers saw", self.errors),
        ]
    }
}
