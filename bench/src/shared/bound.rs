//! One user with a limit of ten over three gateways that all have more to ask: undisturbed, one gateway killed, Redis killed
//! and restarted with `closed`, and Redis gone with `local`.

use std::time::Duration;

use concierge_testkit::ms;
use tokio::{task::JoinSet, time::sleep};

use super::{Asked, Fleet, lane};
use crate::{setup, storm::figures::Figure};

const LIMIT: usize = 10;
const GATEWAYS: usize = 3;
/// Of each gateway.
const LANES: usize = 12;
/// How long the provider takes.
const PAUSE: Duration = ms(40);
/// `limits_unavailable` is what `closed` says, 0 a connection of the gateway that was killed.
const EXPECTED: [u16; 3] = [200, 503, 0];

/// All of it.
pub async fn run() -> Vec<Figure> {
    let stretch = if setup::fast() { ms(2000) } else { ms(10_000) };
    let mut figures = closed(stretch).await;
    figures.extend(local(stretch).await);
    figures
}

fn load(fleet: &Fleet, length: Duration) -> JoinSet<Vec<Asked>> {
    let lanes = fleet.gateways.iter().flat_map(|gateway| (0..LANES).map(|_| gateway.addr().to_owned()));
    lanes.map(|addr| lane(addr, "greedy".to_owned(), length, Duration::ZERO)).collect()
}

/// The most at once since the last time.
fn most(fleet: &Fleet) -> f64 {
    let most = fleet.provider.high_water();
    fleet.provider.clear();
    most as f64
}

async fn closed(stretch: Duration) -> Vec<Figure> {
    let mut fleet = Fleet::start(GATEWAYS, LIMIT, "closed", PAUSE).await;
    // Leases of the dead last 30 s; the rest of that is measured as well.
    let after_death = if setup::fast() { stretch } else { Duration::from_secs(35) };
    let load = load(&fleet, 5 * stretch + after_death);
    sleep(stretch).await;
    let undisturbed = most(&fleet);
    let mut restarted: f64 = 0.0;
    for _ in 0..4 {
        sleep(stretch / 2).await;
        fleet.redis.kill();
        sleep(stretch / 10).await;
        fleet.redis.start_again().await;
        sleep(stretch / 4).await;
        restarted = restarted.max(most(&fleet));
    }
    fleet.gateways[0].signal("KILL");
    sleep(after_death).await;
    let killed = most(&fleet);
    let asked = load.join_all().await.concat();
    let odd = asked.iter().filter(|asked| !EXPECTED.contains(&asked.status)).count();
    let good = asked.iter().filter(|asked| asked.status == 200).count();
    println!(
        "closed: {good} of {} requests answered, the rest while Redis or their gateway was gone.",
        asked.len()
    );
    let name = |what: &str| format!("most ever upstream over three gateways, limit 10: {what}");
    vec![
        Figure::at_most(name("undisturbed"), LIMIT as f64, undisturbed),
        Figure::at_most(name("Redis killed and restarted, closed"), LIMIT as f64, restarted),
        Figure::at_most(name("one gateway killed"), LIMIT as f64, killed),
        Figure::at_most("… other answers than 200 and 503 limits_unavailable", 0.0, odd as f64),
    ]
}

async fn local(stretch: Duration) -> Vec<Figure> {
    let mut fleet = Fleet::start(GATEWAYS, LIMIT, "local", PAUSE).await;
    let load = load(&fleet, 2 * stretch);
    sleep(stretch / 2).await;
    fleet.redis.kill();
    // What was admitted before ends.
    sleep(ms(1000)).await;
    most(&fleet);
    sleep(stretch / 2).await;
    let most = most(&fleet);
    let asked = load.join_all().await.concat();
    let errors = asked.iter().filter(|asked| asked.status != 200).count();
    let bound = (LIMIT + GATEWAYS - 1) as f64;
    vec![
        Figure::at_most("most upstream while Redis is away, local (N + gateways - 1)", bound, most),
        Figure::at_most("… errors", 0.0, errors as f64),
    ]
}
