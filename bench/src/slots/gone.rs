//! A hundred thousand requests that are given up at any moment: is anything still held afterwards?
//!
//! Half-sent heads and bodies, in the queue, before the head, in mid-stream; half of the callers say farewell, half
//! reset. One request in ten asks for a panic as well, which a gateway with the feature `failpoints` grants.

use std::time::Duration;

use concierge_testkit::{FakeProvider, Gateway, Request, Script, ms, openai};
use fastrand::Rng;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    setup::scaled,
    storm::figures::Figure,
    wire::{Line, chat},
};

const REQUESTS: u64 = 100_000;
/// Callers at once.
const LANES: u64 = 100;
/// Patience of a caller, in milliseconds.
const PATIENCE_MS: u64 = 80;
/// Ids of requests that ask for a panic.
const PANICS: [&str; 4] = ["panic-in-handler", "panic-in-slot", "panic-in-search", "panic-in-stream"];
/// What is still held after this is lost.
const LEAK: Duration = Duration::from_secs(5);

/// All of it.
pub async fn run() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    provider.script(slow);
    let settings = [("per_user", "3"), ("queue", "20"), ("total", "30")];
    let gateway = super::gateway(&provider, &settings).await;
    let each = scaled(REQUESTS) / LANES;
    let begun = Instant::now();
    let lanes = (0..LANES).map(|seed| lane(gateway.addr().to_owned(), seed, each)).collect::<JoinSet<_>>();
    let sent: u64 = lanes.join_all().await.into_iter().sum();
    println!(
        "Given up: {sent} requests in {:.0} s, {} seen by the provider.",
        begun.elapsed().as_secs_f64(),
        provider.calls().len()
    );
    sleep(LEAK).await;
    println!("Panics among them: {}.", panics(&gateway));
    vec![
        Figure::at_least("requests given up at random moments", (each * LANES) as f64, sent as f64),
        Figure::at_most("… slots and places in the queue lost", 0.0, held(&gateway).await),
        Figure::at_most("… calls left at the provider", 0.0, provider.in_flight() as f64),
    ]
}

/// A stream of 60 ms, or an answer after up to 30.
fn slow(request: &Request) -> Script {
    let script = openai::sane(request, "red orange yellow green blue violet");
    if request.streams() {
        script.every(ms(10))
    } else {
        script.head_after(ms(request.body.len() as u64 % 30))
    }
}

async fn lane(addr: String, seed: u64, count: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let mut sent = 0;
    for _ in 0..count {
        sent += u64::from(give_up(&addr, &mut rng).await.is_ok());
    }
    sent
}

async fn give_up(addr: &str, rng: &mut Rng) -> std::io::Result<()> {
    let pad = "x".repeat(rng.usize(0..30));
    let user = format!("user-{}", rng.u8(..20));
    let id = if rng.u8(..10) == 0 { PANICS[rng.usize(..PANICS.len())] } else { "calm" };
    let mut request = chat(&user, &json!({"stream": rng.bool(), "pad": pad}));
    let head = request.windows(2).position(|two| two == b"\r\n").unwrap_or_default();
    request.splice(head..head, format!("\r\nx-request-id: {id}").into_bytes());
    if rng.u8(..8) == 0 {
        request.truncate(rng.usize(1..request.len()));
    }
    let mut line = Line::open(addr).await?;
    line.send(&request).await?;
    sleep(Duration::from_micros(rng.u64(..PATIENCE_MS * 1000))).await;
    if rng.bool() {
        line.reset();
    }
    Ok(())
}

/// How many the gateway has counted; none without the feature `failpoints`.
fn panics(gateway: &Gateway) -> u64 {
    let logs = gateway.logs();
    let counts = logs.split("panics=").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok());
    counts.max().unwrap_or(0)
}

/// Everything that the operator's views still show.
async fn held(gateway: &Gateway) -> f64 {
    let slots = gateway.client().get("/admin/slots").await.json();
    let calls = gateway.client().get("/admin/requests").await.json();
    let shown = |value: &serde_json::Value| value.as_array().map_or(1, Vec::len) as f64;
    let counted = |name: &str| slots["total"][name].as_f64().unwrap_or(1.0);
    counted("in_use") + counted("waiting") + shown(&slots["users"]) + shown(&calls["requests"])
}
