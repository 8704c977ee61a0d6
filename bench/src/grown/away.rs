//! The server is stopped for half a minute, and then killed for as long, under chats with memory: none may fail.

use std::time::Duration;

use concierge_testkit::{ConfigFile, Gateway};
use tokio::{
    join,
    time::{Instant, sleep, sleep_until},
};

use super::{killed::back, server};
use crate::{
    setup,
    storm::{
        figures::{Callers, Figure, Window},
        load,
        mock::Mock,
    },
};

/// Chats per second.
const RATE: u32 = 100;
/// Seconds before, during and after.
const BEFORE: u64 = 3;
const AFTER: u64 = 10;
/// From the server's return to the next write.
const RECOVERY: f64 = 5.0;

/// Frozen, then dead.
pub async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for (how, begin, end) in [("SIGSTOP", "freeze", "thaw"), ("SIGKILL", "kill", "start")] {
        figures.extend(outage(how, begin, end).await);
    }
    figures
}

async fn outage(how: &str, begin: &'static str, end: &'static str) -> Vec<Figure> {
    let provider = Mock::start(3).await;
    let config = ConfigFile::new().provider("a", provider.provider()).model("m", &["a/m"]);
    let gateway = setup::launch().start(server::on(config, &server::database()).toml()).await;
    let outage = Duration::from_secs(if setup::fast() { 4 } else { 30 });
    let (origin, lasts) = (Instant::now(), Duration::from_secs(BEFORE + AFTER) + outage);
    let stopped = async {
        sleep_until(origin + Duration::from_secs(BEFORE)).await;
        at_the_server(begin).await;
        sleep(outage).await;
        at_the_server(end).await;
        until_back(&gateway).await
    };
    let (samples, recovery) = join!(load::run_at(RATE, gateway.url(), origin, lasts), stopped);
    let during = Callers::of(&samples, Window::seconds(0.0, lasts.as_secs_f64() + 1.0));
    println!(
        "{how} for {outage:?}: {} chats, errors {:?}, written again after {recovery:?}",
        during.requests, during.errors
    );
    vec![
        Figure::at_least(
            format!("chats while PostgreSQL is stopped by {how} for {} s", outage.as_secs()),
            f64::from(RATE) * lasts.as_secs_f64(),
            during.requests as f64,
        ),
        Figure::at_most(
            "… that failed or were cut",
            0.0,
            (during.error_count() + during.cut_shown_as_whole) as f64,
        ),
        Figure::at_most("… next write after its return, seconds", RECOVERY, recovery.as_secs_f64()),
    ]
}

/// Apart from the load, which must go on meanwhile.
async fn at_the_server(what: &'static str) {
    let done = tokio::task::spawn_blocking(move || server::control(what)).await;
    assert!(done.is_ok(), "{what} the server");
}

async fn until_back(gateway: &Gateway) -> Duration {
    back(gateway).await.unwrap_or_else(|why| panic!("the gateway is gone: {why}"))
}
