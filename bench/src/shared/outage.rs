//! Redis is gone for half a minute under 100 requests a second, with `local`: killed, and hung with its port open.

use std::time::Duration;

use concierge_testkit::ms;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Asked, Fleet, lane};
use crate::{
    setup,
    storm::figures::{Figure, quantile},
};

/// Lanes of each gateway, with this between two requests of a lane: 100 a second over three gateways.
const LANES: usize = 5;
const EVERY: Duration = ms(150);
/// Until it counts in Redis again.
const RECOVERY_S: f64 = 5.0;

/// Both ways to be gone.
pub async fn run() -> Vec<Figure> {
    let length = if setup::fast() { ms(5000) } else { ms(30_000) };
    let mut figures = gone(length, "killed").await;
    figures.extend(gone(length, "hung").await);
    figures
}

async fn gone(length: Duration, how: &str) -> Vec<Figure> {
    let mut fleet = Fleet::start(3, 10, "local", ms(20)).await;
    let before = ms(3000);
    let lanes = fleet.gateways.iter().flat_map(|gateway| (0..LANES).map(|_| gateway.addr().to_owned()));
    let users = (0..).map(|n| format!("user {}", n % LANES));
    let load: JoinSet<Vec<Asked>> =
        lanes.zip(users).map(|(addr, user)| lane(addr, user, 2 * before + length, EVERY)).collect();
    sleep(before).await;
    if how == "killed" {
        fleet.redis.kill()
    } else {
        fleet.redis.freeze()
    }
    sleep(length).await;
    if how == "killed" {
        fleet.redis.start_again().await
    } else {
        fleet.redis.thaw()
    }
    let back = Instant::now();
    fleet.meet().await;
    let recovery = back.elapsed().as_secs_f64();
    let asked = load.join_all().await.concat();
    let errors = asked.iter().filter(|asked| asked.status != 200).count();
    let during = asked.iter().filter(|asked| (before..before + length).contains(&asked.at));
    let mut times: Vec<f64> = during.map(|asked| asked.took.as_secs_f64() * 1e3).collect();
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!(
        "Redis {how} for {} s: {} requests, p50 {:.1} ms and the slowest {slowest:.0} ms of a provider that takes 20.",
        length.as_secs(),
        asked.len(),
        quantile(&mut times, 0.5)
    );
    vec![
        Figure::at_most(format!("chat errors while Redis is {how} for 30 s, local"), 0.0, errors as f64),
        Figure::at_most(format!("… until it is used again, {how}, s"), RECOVERY_S, recovery),
    ]
}
