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

/// In the order in which they run.
const PARTS: [&str; 3] = ["quality", "killed", "away"];

/// All parts, or those that are named; the figures of each go to a file of their own. True if every limit is kept.
///
/// # Panics
/// Without a server, or if the gateway breaks off.
pub async fn run() -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| PARTS.contains(&&**arg)).collect();
    let mut all_hold = true;
    for part in PARTS.into_iter().filter(|part| named.is_empty() || named.iter().any(|name| name == part)) {
        let load = setup::load_average();
        let (figures, bytes) = match part {
            "quality" => quality::run().await,
            "killed" => (killed::run().await, Value::Null),
            _ => (away::run().await, Value::Null),
        };
        storm::print(&figures);
        let limits: Vec<Value> = figures.iter().map(Figure::to_json).collect();
        let server = server::version();
        let saved =
            json!({ "load_average_before": load, "server": server, "bytes": bytes, "limits": limits });
        setup::save(&format!("grown-{part}"), saved);
        all_hold &= figures.iter().all(Figure::holds);
    }
    all_hold
}
