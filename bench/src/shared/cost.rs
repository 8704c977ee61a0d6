//! What counting in Redis costs one request: two gateways that differ in nothing else, asked in turns.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Fleet, config};
use crate::{
    setup::{self, scaled},
    storm::figures::{Figure, quantile},
    wire::{Line, chat},
};

/// Requests of each.
const REQUESTS: u64 = 10_000;
/// Until both are warm.
const WARM: u64 = 200;
const MOST_MS: f64 = 1.0;
const MOST_TRIPS: f64 = 2.0;

/// All of it.
pub async fn run() -> Vec<Figure> {
    let fleet = Fleet::start(1, 10, "local", Duration::ZERO).await;
    let without = setup::launch().start(config(&fleet.provider, 10).toml()).await;
    let request = chat("user", &Value::Null);
    let mut lines = Vec::new();
    for addr in [without.addr(), fleet.gateways[0].addr()] {
        lines.push(Line::open(addr).await.unwrap_or_else(|error| panic!("{addr}: {error}")));
    }
    let mut times = [Vec::new(), Vec::new()];
    let requests = scaled(REQUESTS);
    let mut calls = 0;
    for n in 0..WARM + requests {
        if n == WARM {
            calls = scripts(&fleet).await;
        }
        for (line, times) in lines.iter_mut().zip(&mut times) {
            let asked = Instant::now();
            let status = line.ask(&request).await.map_or(0, |answer| answer.status);
            assert_eq!(status, 200, "request {n}");
            if n >= WARM {
                times.push(asked.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    // Those of the clerk's own pulse, one a second, are among them.
    let trips = (scripts(&fleet).await - calls) as f64 / requests as f64;
    let [without, with] = times.map(|mut times| [0.5, 0.99].map(|q| quantile(&mut times, q)));
    println!(
        "p50 {:.3} ms and p99 {:.3} ms without Redis, {:.3} and {:.3} with it; {trips:.3} scripts a request.",
        without[0], without[1], with[0], with[1]
    );
    vec![
        Figure::at_most("added by Redis on loopback, p50, ms", MOST_MS, with[0] - without[0]),
        Figure::at_most("round trips a request, with the one after its end", MOST_TRIPS + 0.05, trips),
    ]
}

async fn scripts(fleet: &Fleet) -> u64 {
    let calls = fleet.redis.calls().await;
    ["eval", "evalsha"].iter().filter_map(|name| calls.get(*name)).sum()
}
