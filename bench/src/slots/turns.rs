//! Twenty users want more than there is, one of them fifty times as much: who gets how much of it?
//!
//! Counted is what reached the provider. It must never count the time before everybody waits.

use std::time::Duration;

use concierge_testkit::{FakeProvider, ms, openai};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    setup,
    storm::figures::Figure,
    wire::{Line, chat},
};

const USERS: usize = 20;
/// Requests that each but the first keeps running; four times what it can get.
const LANES: usize = 4;
/// How much more the first one asks for.
const TIMES: usize = 50;
/// Until everybody waits.
const WARM_UP: Duration = Duration::from_secs(2);

/// All of it.
pub async fn run() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    provider
        .script(|request| openai::sane(request, "blue").head_after(ms(40 + request.body.len() as u64 % 20)));
    let settings = [("per_user", "20"), ("queue", "500"), ("total", "20"), ("queue_timeout", "\"2m\"")];
    let gateway = super::gateway(&provider, &settings).await;
    let length = if setup::fast() { ms(3000) } else { ms(20_000) };
    let from = Instant::now() + WARM_UP;
    let mut lanes = JoinSet::new();
    for user in 0..USERS {
        for _ in 0..if user == 0 { LANES * TIMES } else { LANES } {
            lanes.spawn(lane(gateway.addr().to_owned(), user));
        }
    }
    sleep_until(from + length).await;
    drop(lanes);
    sleep(ms(100)).await;
    let mut granted = [0_u32; USERS];
    for call in provider.calls().iter().filter(|call| (from..from + length).contains(&call.at)) {
        let user = call.json()["seed"].as_u64().unwrap_or_default() as usize;
        granted[user] += 1;
    }
    figures(granted)
}

fn figures(granted: [u32; USERS]) -> Vec<Figure> {
    let all: u32 = granted.iter().sum();
    println!("Turns: {all} granted, to the greedy one {}, to the others {:?}.", granted[0], &granted[1..]);
    let share = 100.0 * f64::from(granted[0]) / f64::from(all);
    vec![
        Figure::at_least("20 users want more than total: Jain over the modest 19", 0.99, jain(&granted[1..])),
        Figure::at_most("… granted to the one who asks 50 times as much, %", 7.0, share),
    ]
}

/// Asks for ever.
async fn lane(addr: String, user: usize) {
    let request = chat(&format!("user-{user}"), &json!({"seed": user}));
    loop {
        let Ok(mut line) = Line::open(&addr).await else { continue };
        while line.ask(&request).await.is_ok() {}
    }
}

/// Jain, Chiu and Hawe (1984): 1 if all have the same, 1/n if one has all.
fn jain(shares: &[u32]) -> f64 {
    let sum: f64 = shares.iter().copied().map(f64::from).sum();
    let squares: f64 = shares.iter().map(|share| f64::from(*share).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_one_for_equals_and_falls_to_one_over_n() {
        assert!((jain(&[3, 3, 3]) - 1.0).abs() < 1e-9);
        assert!((jain(&[0, 9, 0]) - 1.0 / 3.0).abs() < 1e-9);
        assert!(jain(&[0, 0]).is_nan(), "nothing is not fair");
    }

    #[test]
    fn a_share_above_the_limit_is_missed() {
        let mut granted = [100; USERS];
        assert!(figures(granted).iter().all(Figure::holds));
        granted[0] = 160;
        assert!(!figures(granted)[1].holds());
        granted[5] = 10;
        assert!(!figures(granted)[0].holds());
    }
}
