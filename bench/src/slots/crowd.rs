//! Ten thousand requests of one user at the same moment.
//!
//! The connections are opened before, so that what is measured is the requests and not the handshakes. It must never
//! wait for an answer: nobody who is greedy does.

use std::time::Duration;

use concierge_testkit::{Gateway, eventually};
use tokio::task::JoinSet;

use crate::wire::{Line, chat};

/// Connections opened at once.
const AT_ONCE: usize = 200;
/// The greedy user.
pub const GREEDY: &str = "greedy";

/// Connections on which nothing was asked yet.
pub async fn assemble(gateway: &Gateway, size: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(size);
    while lines.len() < size {
        let some: JoinSet<_> = (lines.len()..size.min(lines.len() + AT_ONCE))
            .map(|_| {
                let addr = gateway.addr().to_owned();
                async move { Line::open(&addr).await }
            })
            .collect();
        lines.extend(some.join_all().await.into_iter().flatten());
    }
    lines
}

/// Asks on every connection, one after the other, without waiting for anything.
pub async fn fire(lines: &mut [Line]) {
    let request = chat(GREEDY, &serde_json::Value::Null);
    for line in lines {
        // A connection that was refused in the meantime has had its answer.
        drop(line.send(&request).await);
    }
}

/// Hangs up, and waits until the gateway has noticed.
pub async fn disperse(gateway: &Gateway, lines: Vec<Line>) {
    drop(lines);
    let look = || async {
        let view = gateway.client().get("/admin/slots").await.json();
        let there = view["users"].as_array().is_some_and(|users| users.iter().any(|u| u["user"] == GREEDY));
        (!there).then_some(())
    };
    eventually("the greedy user has left", Duration::from_secs(30), look).await;
}
