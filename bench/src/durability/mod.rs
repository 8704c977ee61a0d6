//! `kill -9` again and again under 500 writes a second: is every write that was acknowledged there, once?
//!
//! In reading order: [`ledger`] knows what must be there, [`writers`] write until the gateway dies, [`inspect`] looks
//! at what the next gateway shows and at the file itself. It must never count a write as acknowledged whose answer was
//! not read to its end.
//!
//! A power loss is another matter, for a killed process leaves its writes to the system: see `bench/crash-images`.

pub mod inspect;
pub mod ledger;
pub mod writers;

use std::{io, path::PathBuf, time::Duration};

use concierge_testkit::{ConfigFile, Gateway};
use fastrand::Rng;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub use self::inspect::Wrong;
use self::{ledger::Ledger, writers::Mortal};
use crate::{
    grown::server,
    setup::{self, scaled},
    storm::{self, figures::Figure, figures::round},
};

const KILLS: u64 = 200;
/// Kills after which the users are new ones: what was found is compared one by one.
const GENERATION: u64 = 20;
/// How long a gateway lives, in milliseconds.
const LIFE: std::ops::Range<u64> = 200..1000;
/// Acknowledged per second while the gateway lived; 500 are due.
const WRITES_S: f64 = 450.0;
/// From the start of the process to the line that says it serves.
const RESTART_S: f64 = 2.0;

/// Where the gateways keep what they are told.
pub enum Home {
    /// In this file.
    File(PathBuf),
    /// In the PostgreSQL database with this URL.
    Database(String),
}

/// What a run came to.
#[derive(Default)]
pub struct Totals {
    /// Gateways killed.
    pub kills: u64,
    /// Writes acknowledged.
    pub writes: u64,
    alive: Duration,
    restart: Duration,
    /// What is not as it was acknowledged.
    pub wrong: Wrong,
}

/// All of it. True if nothing was lost.
///
/// # Panics
/// If the gateway does not start, or refuses a write.
pub async fn run() -> bool {
    let load = setup::load_average();
    let folder = TempDir::new().unwrap_or_else(|why| panic!("no temporary folder: {why}"));
    let home = Home::File(folder.path().join("killed.db"));
    let totals = kill_all(&home, scaled(KILLS)).await.unwrap_or_else(|why| panic!("{why}"));
    let figures = figures(&totals);
    storm::print(&figures);
    let all: Vec<_> = figures.iter().map(Figure::to_json).collect();
    let seconds = totals.alive.as_secs_f64();
    setup::save(
        "durability",
        json!({
            "load_average_before": load, "writes_acknowledged": totals.writes, "seconds_alive": round(seconds),
            "writes_per_second": round(totals.writes as f64 / seconds), "limits": all,
        }),
    );
    figures.iter().all(Figure::holds)
}

fn figures(totals: &Totals) -> Vec<Figure> {
    let Wrong { lost, twice, torn, contexts, damaged } = totals.wrong;
    let mut figures = vec![
        Figure::at_least("gateways killed with SIGKILL", scaled(KILLS) as f64, totals.kills as f64),
        Figure::at_most("acknowledged memories lost", 0.0, lost as f64),
        Figure::at_most("memories that are there twice", 0.0, twice as f64),
        Figure::at_most("memories or batches that are not whole", 0.0, torn as f64),
        Figure::at_most("acknowledged changes of a context lost", 0.0, contexts as f64),
        Figure::at_most("files that fail PRAGMA integrity_check", 0.0, damaged as f64),
    ];
    // Times of a debug build on a busy machine say nothing.
    if !setup::fast() {
        let rate = totals.writes as f64 / totals.alive.as_secs_f64();
        figures.push(Figure::at_least("writes acknowledged per second of life", WRITES_S, rate));
        figures.push(Figure::at_most("slowest restart, seconds", RESTART_S, totals.restart.as_secs_f64()));
    }
    figures
}

/// Kills gateways that are written to, one after the other.
///
/// # Errors
/// If one breaks off by itself.
pub async fn kill_all(home: &Home, kills: u64) -> io::Result<Totals> {
    let (mut totals, mut rng) = (Totals::default(), Rng::with_seed(9));
    let mut ledgers = vec![Ledger::default()];
    let (mut gateway, _) = start(home).await;
    for round in 0..kills {
        let ledger = ledgers.last_mut().unwrap_or_else(|| unreachable!("there is always one"));
        let begun = Instant::now();
        let writing = writers::start(gateway.addr(), round, round / GENERATION, Mortal::Gateway);
        sleep(Duration::from_millis(rng.u64(LIFE))).await;
        gateway.signal("KILL");
        totals.alive += begun.elapsed();
        totals.writes += ledger.enter(writing.join_all().await);
        gateway.wait_exit(Duration::from_secs(10)).await;
        totals.kills += 1;
        let (next, took) = start(home).await;
        gateway = next;
        totals.restart = totals.restart.max(took);
        totals.wrong += inspect::users(&gateway, ledger).await?;
        if let Home::File(path) = home {
            totals.wrong += inspect::file(path);
        }
        writers::repeat(gateway.addr(), ledger.open_ends()).await?;
        if (round + 1).is_multiple_of(GENERATION) {
            println!("{} kills, {} writes, {:?}", round + 1, totals.writes, totals.wrong);
            ledgers.push(Ledger::default());
        }
    }
    for ledger in &mut ledgers {
        totals.wrong += inspect::users(&gateway, ledger).await?;
    }
    Ok(totals)
}

/// A gateway with its memory there, and how long it took until it served.
async fn start(home: &Home) -> (Gateway, Duration) {
    let config = match home {
        Home::File(path) => ConfigFile::new().set("memory", "path", &format!("{path:?}")),
        Home::Database(url) => server::on(ConfigFile::new(), url),
    };
    // Twenty writers at once are more than one user has slots for.
    let config = config.set("slots", "per_user", "50").set("health", "interval", "\"0s\"");
    let begun = Instant::now();
    let gateway = setup::launch().start(config.toml()).await;
    (gateway, begun.elapsed())
}
