//! What counting costs: processor time per request with `telemetry.metrics` on and off, in turns, at log level info.
//!
//! The same binary serves both, so nothing differs but the switch. The load is the one that shows it most: short whole
//! answers on connections that stay open. Turns are so short that what disturbs one disturbs its neighbours, and the
//! median of the pairs is what counts. It must never be run against a debug build.

use std::fs;

use concierge_testkit::{Client, ConfigFile, FakeProvider, Gateway, gateway::Launch, ms};
use serde_json::json;
use tokio::task::JoinSet;

use crate::setup;

/// The most that counting may cost, of the processor time of a request.
const LIMIT: f64 = 0.03;
/// Connections at once.
const LANES: usize = 8;
/// Requests on one connection in one turn.
const REQUESTS: usize = 250;

/// Nanoseconds per request in one pair of turns.
struct Pair {
    off: f64,
    on: f64,
}

impl Pair {
    fn added(&self) -> f64 {
        self.on / self.off - 1.0
    }
}

/// Measures, prints, saves; whether the limit holds.
pub async fn run() -> bool {
    let load = setup::load_average();
    let provider = FakeProvider::saying("Red.").await;
    let (off, on) = (start(&provider, false).await, start(&provider, true).await);
    let pairs = if setup::fast() { 5 } else { 60 };
    // Connections, pools and branch predictors, which belong to neither.
    for gateway in [&off, &on, &off, &on] {
        turn(gateway).await;
    }
    let mut measured = Vec::new();
    for number in 0..pairs {
        // Whoever comes second finds a warmer machine: that takes turns, too.
        let (first, second) = if number % 2 == 0 { (&off, &on) } else { (&on, &off) };
        let (first, second) = (turn(first).await, turn(second).await);
        let (off, on) = if number % 2 == 0 { (first, second) } else { (second, first) };
        measured.push(Pair { off, on });
    }
    report(&measured, load)
}

fn report(pairs: &[Pair], load: f64) -> bool {
    let off = median(pairs.iter().map(|pair| pair.off));
    let on = median(pairs.iter().map(|pair| pair.on));
    let added = median(pairs.iter().map(Pair::added));
    println!("| processor time per request | µs |\n| --- | --- |");
    println!("| metrics off | {:.1} |\n| metrics on | {:.1} |", off / 1000.0, on / 1000.0);
    println!(
        "\nAdded: {:+.2} % (median of {} pairs; limit {:.0} %)",
        100.0 * added,
        pairs.len(),
        100.0 * LIMIT
    );
    let requests = LANES * REQUESTS * pairs.len();
    let figures = json!({"off_ns": off, "on_ns": on, "added": added, "limit": LIMIT, "pairs": pairs.len(),
        "requests_each": requests, "load_average": load});
    setup::save("telemetry", figures);
    added <= LIMIT
}

async fn start(provider: &FakeProvider, metrics: bool) -> Gateway {
    let config = ConfigFile::single(provider)
        .set("memory", "enabled", "false")
        .set("resilience", "answer_timeout", "\"60s\"")
        .set("telemetry", "metrics", &metrics.to_string());
    Launch::new(setup::binary()).env("RUST_LOG", "info").start(config.toml()).await
}

/// Nanoseconds of processor time per request of one turn.
async fn turn(gateway: &Gateway) -> f64 {
    let before = processor_time(gateway.pid());
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let client = gateway.client();
        lanes.spawn(async move { lane(&client).await });
    }
    let answered: usize = lanes.join_all().await.into_iter().sum();
    assert_eq!(answered, LANES * REQUESTS, "every request is answered");
    (processor_time(gateway.pid()) - before) as f64 / answered as f64
}

/// How many requests of one connection were answered with 200.
async fn lane(client: &Client) -> usize {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "A colour?"}]}).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let asks = |more: &str| format!("{head}\r\n{more}content-length: {}\r\n\r\n{body}", body.len());
    let all = asks("").repeat(REQUESTS - 1) + &asks("connection: close\r\n");
    let said = client.raw(all, ms(30_000)).await;
    String::from_utf8_lossy(&said).matches("HTTP/1.1 200").count()
}

/// Nanoseconds that the threads of a process have run: finer than the ticks of `/proc/PID/stat`.
fn processor_time(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs, on Linux");
    let files = threads.flatten().map(|thread| thread.path().join("schedstat"));
    let times =
        files.filter_map(|file| fs::read_to_string(file).ok()?.split(' ').next()?.parse::<u64>().ok());
    times.sum()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
