//! What it costs to take a free slot and to give it back: prints nanoseconds per round, the best of ten runs.
//!
//! The one benchmark that links the gateway's code, for a nanosecond cannot be seen through a port. The best run counts,
//! because everything that disturbs a run makes it slower. It must be built with `--release`.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use concierge::{
    admission::{local::slots::Slots, request::Operation},
    config,
    user::UserId,
};
use tokio::time::Instant;

const RUNS: u32 = 10;
const ROUNDS: u32 = 1_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let slots = Slots::new(&config::SlotsConfig {
        per_user: 10,
        queue: 20,
        queue_timeout: Duration::from_secs(10),
        total: 1000,
        operations: BTreeMap::new(),
    });
    let user = UserId::anonymous();
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            drop(black_box(slots.acquire(&user, Operation::Chat, 0).await));
        }
        best = best.min(start.elapsed());
    }
    println!("{}", best.as_nanos() / u128::from(ROUNDS));
}
