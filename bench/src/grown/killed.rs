//! `kill -9` of gateways, and then of the server, under writes: is every write that was acknowledged there, once?

use std::{io, time::Duration};

use concierge_testkit::{ConfigFile, Gateway};
use fastrand::Rng;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::server;
use crate::{
    durability::{
        self, Home, Wrong, inspect,
        ledger::Ledger,
        writers::{self, Mortal},
    },
    setup::{self, scaled},
    storm::figures::Figure,
    wire::{Line, post},
};

const GATEWAYS: u64 = 100;
const SERVERS: u64 = 20;
/// From the server's return to the next write that is acknowledged.
const RECOVERY: f64 = 5.0;
/// How long a server lives, in milliseconds.
const LIFE: std::ops::Range<u64> = 300..1200;

/// Both kinds of death.
///
/// # Panics
/// If a gateway does not start or a write is refused for another reason.
pub async fn run() -> Vec<Figure> {
    let home = Home::Database(server::database());
    let totals = durability::kill_all(&home, scaled(GATEWAYS)).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{} gateways killed, {} writes acknowledged", totals.kills, totals.writes);
    let mut figures =
        vec![Figure::at_least("gateways killed with SIGKILL", scaled(GATEWAYS) as f64, totals.kills as f64)];
    figures.extend(limits(totals.wrong));
    let (writes, wrong, slowest) = kill_servers(scaled(SERVERS)).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{} servers killed, {writes} writes acknowledged", scaled(SERVERS));
    figures.push(Figure::at_least(
        "PostgreSQL killed with SIGKILL, fsync on",
        scaled(SERVERS) as f64,
        scaled(SERVERS) as f64,
    ));
    figures.extend(limits(wrong));
    figures.push(Figure::at_most(
        "… slowest next write after its return, seconds",
        RECOVERY,
        slowest.as_secs_f64(),
    ));
    figures
}

fn limits(wrong: Wrong) -> [Figure; 3] {
    [
        Figure::at_most("… acknowledged memories lost", 0.0, wrong.lost as f64),
        Figure::at_most("… acknowledged changes of a context lost", 0.0, wrong.contexts as f64),
        Figure::at_most("… memories there twice or by half", 0.0, (wrong.twice + wrong.torn) as f64),
    ]
}

/// Writes acknowledged, what was wrong, and the slowest recovery.
async fn kill_servers(kills: u64) -> io::Result<(u64, Wrong, Duration)> {
    let url = server::database();
    assert_eq!(server::said(&url, "SHOW fsync"), "on");
    let config = server::on(ConfigFile::new().set("slots", "per_user", "50"), &url);
    let gateway = setup::launch().start(config.set("health", "interval", "\"0s\"").toml()).await;
    let (mut ledger, mut rng) = (Ledger::default(), Rng::with_seed(4));
    let (mut writes, mut wrong, mut slowest) = (0, Wrong::default(), Duration::ZERO);
    for round in 0..kills {
        let writing = writers::start(gateway.addr(), round, 0, Mortal::Store);
        sleep(Duration::from_millis(rng.u64(LIFE))).await;
        server::control("kill");
        writes += ledger.enter(writing.join_all().await);
        server::control("start");
        slowest = slowest.max(back(&gateway).await?);
        wrong += inspect::users(&gateway, &ledger).await?;
        writers::repeat(gateway.addr(), ledger.open_ends()).await?;
    }
    wrong += inspect::users(&gateway, &ledger).await?;
    println!("{}", json!({ "slowest_recovery_seconds": slowest.as_secs_f64() }));
    Ok((writes, wrong, slowest))
}

/// Writes until a write is acknowledged; how long that took.
pub async fn back(gateway: &Gateway) -> io::Result<Duration> {
    let begun = Instant::now();
    loop {
        let mut line = Line::open(gateway.addr()).await?;
        let answer = line.ask(&post("/v1/memories", "watcher", &json!({ "text": "It is back." }))).await?;
        if answer.status == 201 {
            return Ok(begun.elapsed());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
