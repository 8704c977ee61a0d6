//! What the gateway costs, beside what people would use instead, in one run.
//!
//! The gateway under test has one CPU; the fake provider and the load have the other. `bench/run overhead` compares with
//! nginx; `--peers all` or `--peers haproxy,litellm` adds others. A peer that cannot be had on this machine is a line
//! that says why, and never a failure: only our own figures can miss a limit.

mod machine;
mod peer;
mod report;
mod rows;

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

pub use self::{
    machine::Ground,
    peer::{OURS, Peer, REMEMBERING, Ready, Running},
    rows::median,
};
use self::{
    peer::{NGINX, OTHERS},
    report::{Footprint, Footprints},
};
use crate::{
    setup,
    traffic::{Pace, Shape, exchange, wire},
};

/// Pairs of stretches.
const ROUNDS: usize = 12;
/// Streams that are open together.
const HELD: usize = 1_000;
/// Starts that are timed.
const STARTS: usize = 10;
/// Time in which no more starts of one peer are begun.
const STARTS_FOR_MS: f64 = 20_000.0;
/// How often, and how long apart, something is asked until its recall is cached.
const RECALLS: usize = 50;
const RECALL_AGAIN: Duration = Duration::from_millis(100);
/// What a peer is given to become quiet before its memory is read.
const QUIET: Duration = Duration::from_secs(1);

/// Runs everything, prints the tables and saves the figures. True if every limit is kept.
pub async fn run() -> Result<bool, String> {
    let load = setup::load_average();
    let ground = Ground::start().await?;
    let (ready, unavailable) = prepare(&ground).await;
    let mut footprints = Footprints::new();
    for peer in &ready {
        println!("{}: memory and starts", peer.peer.name);
        footprints.insert(peer.peer, footprint(&ground, peer).await?);
    }
    let mut running = Vec::new();
    for peer in &ready {
        running.push(peer.start().await?);
    }
    if let Some(remembering) = running.iter().find(|of| of.peer == REMEMBERING) {
        remember(remembering).await?;
    }
    running.push(Running::direct(ground.port));
    let rounds = if setup::fast() { 2 } else { ROUNDS };
    let samples = rows::measure(&ground, &running, rounds).await?;
    sleep(2 * QUIET).await;
    for of in &running {
        footprints.entry(of.peer).and_modify(|footprint| footprint.after_mb = of.memory_mb());
    }

    let figures = report::figures(&samples, &footprints);
    let comparison = report::comparison(&samples, &footprints);
    report::print_comparison(&comparison);
    samples.errors().chain(unavailable.iter().cloned()).for_each(|line| println!("{line}"));
    report::print_figures(&figures);
    let document = json!({
        "load_average_before": load, "rounds": rounds, "limits": report::to_json(&figures), "side_by_side": comparison,
        "errors": samples.errors().collect::<Vec<_>>(), "not_available": unavailable,
    });
    setup::save("overhead", document);
    Ok(figures.iter().all(report::Figure::holds))
}

/// Everybody who takes part, and a line for everybody who cannot.
async fn prepare(ground: &Ground) -> (Vec<Ready>, Vec<String>) {
    let (mut ready, mut unavailable) = (Vec::new(), Vec::new());
    for peer in [OURS, REMEMBERING, NGINX].into_iter().chain(others()) {
        match Ready::prepare(peer, ground.port).await {
            Ok(peer) => ready.push(peer),
            Err(why) => unavailable.push(format!("{}: not available: {why}", peer.name)),
        }
    }
    (ready, unavailable)
}

/// Whom `--peers` names.
fn others() -> Vec<Peer> {
    let arguments: Vec<String> = std::env::args().collect();
    let named = arguments.iter().position(|arg| arg == "--peers").and_then(|at| arguments.get(at + 1));
    let Some(named) = named else { return Vec::new() };
    OTHERS
        .into_iter()
        .filter(|peer| named == "all" || named.split(',').any(|name| name == peer.name))
        .collect()
}

/// What one peer needs besides CPU time. Each start is a new process.
async fn footprint(ground: &Ground, ready: &Ready) -> Result<Footprint, String> {
    let mut starts = Vec::new();
    while starts.len() < STARTS && starts.iter().sum::<f64>() < STARTS_FOR_MS {
        let running = ready.start().await?;
        starts.push(running.start_ms);
        running.stop().await;
    }
    let running = ready.start().await?;
    sleep(QUIET).await;
    let idle_mb = running.memory_mb();
    let held = if setup::fast() { HELD / 10 } else { HELD };
    let measured = ground.load(&running.plan(Shape::Slow, Pace::Hold, held), false).await?;
    running.stop().await;
    let grown = measured.pss_held.saturating_sub(measured.pss_before) as f64 / 1024.0 / held as f64;
    let stream_kib = if measured.errors == 0 { grown } else { f64::NAN };
    let disk_mb = ready.size as f64 / 1e6;
    Ok(Footprint { idle_mb, stream_kib, start_ms: median(starts), disk_mb, ..Footprint::UNKNOWN })
}

/// Gives the user memories, and sees to it that they are recalled from the cache.
pub async fn remember(of: &Running) -> Result<(), String> {
    let headers = of.peer.headers(0);
    let stored = asked(of, &wire::memory(of.addr(), &headers)).await?;
    let chat = wire::request(of.addr(), Shape::Plain, &headers);
    let is_cached = |noted: &str| {
        noted.lines().any(|line| line.starts_with("x-concierge-memory: items=") && line.contains("cache=hit"))
    };
    let mut noted = String::new();
    // A question that is remembered itself is a write: until that is done the recall is made anew.
    for _ in 0..RECALLS {
        noted = asked(of, &chat).await?;
        if is_cached(&noted) {
            return Ok(());
        }
        sleep(RECALL_AGAIN).await;
    }
    Err(format!("nothing is recalled from the cache:\n{stored}\n{noted}"))
}

async fn asked(of: &Running, request: &[u8]) -> Result<String, String> {
    exchange(of.addr(), request).await.map_err(|error| format!("{}: {error}", of.peer.name))
}
