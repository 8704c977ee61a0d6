//! Memory in PostgreSQL: does it find what SQLite finds, lose nothing, and is it ever in a chat's way?
//!
//! In reading order: [`server`] is the database under test, [`quality`] asks the same of both stores, [`killed`] kills
//! gateways and servers under writes, [`away`] stops the server under chats, [`interleave`] looks for stale recalls. Started by
//! `bench/run grown` and `bench/run interleave` with a server of their own. It must never touch a server that it was
//! not given.

pub mod away;
pub mod interleave;
pub mod killed;
pub mod quality;
pub mod server;

use serde_json::{Value, json};

use crate::{
    setup,
    storm::{self, figures::Figure},
};

/// What can be named.
const PARTS: [&str; 3] = ["quality", "killed", "away"];

/// All parts, or those that are named. True if every limit is kept.
///
/// # Panics
/// Without a server, or if the gateway breaks off.
pub async fn run() -> bool {
    let load = setup::load_average();
    let named = |part: &str| {
        let parts: Vec<String> = std::env::args().skip(1).filter(|arg| PARTS.contains(&&**arg)).collect();
        parts.is_empty() || parts.iter().any(|arg| arg == part)
    };
    let (mut figures, mut sizes) = (Vec::new(), Value::Null);
    if named("quality") {
        let (found, bytes) = quality::run().await;
        figures.extend(found);
        sizes = bytes;
    }
    if named("killed") {
        figures.extend(killed::run().await);
    }
    if named("away") {
        figures.extend(away::run().await);
    }
    storm::print(&figures);
    let all: Vec<Value> = figures.iter().map(Figure::to_json).collect();
    let server = server::version();
    setup::save(
        "grown",
        json!({ "load_average_before": load, "server": server, "bytes": sizes, "limits": all }),
    );
    figures.iter().all(Figure::holds)
}
