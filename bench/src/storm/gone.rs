//! Callers who leave: how long until the provider sees its connection closed?
//!
//! They leave at any moment of the first second: before the head, before the first token, in mid-stream. It must never
//! count a call that was over before its caller left.

use std::time::Duration;

use concierge_testkit::{Client, ConfigFile, FakeProvider, Request, Script, fake::Call, ms, openai};
use fastrand::Rng;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    figures::{Figure, quantile},
    load::ask,
};
use crate::setup;

/// Callers who leave.
const CALLERS: u64 = 300;
/// How many of them at once; far from every limit.
const AT_ONCE: u64 = 20;
/// A connection that is still open after this is a leak.
const LEAK: Duration = Duration::from_secs(5);

/// Runs it: p99 from leaving to the close, and connections never closed.
pub async fn run() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    provider.script(slow);
    let config = ConfigFile::new().provider("a", &provider).model("m", &["a/m"]);
    let gateway = setup::launch().start(config.toml()).await;
    let mut rng = Rng::with_seed(3);
    let mut left = Vec::new();
    for first in (0..CALLERS).step_by(AT_ONCE as usize) {
        let leave =
            (first..first + AT_ONCE).map(|n| leave(gateway.url().to_owned(), n, ms(rng.u64(1..1000))));
        left.extend(leave.collect::<JoinSet<_>>().join_all().await);
    }
    sleep(LEAK).await;
    let calls = provider.calls();
    let mut delays: Vec<f64> = left.iter().filter_map(|(n, at)| delay(&calls, *n, *at)).collect();
    let leaks = delays.iter().filter(|delay| delay.is_infinite()).count();
    println!("Callers gone: {} of {CALLERS} left while the provider was at work.", delays.len());
    vec![
        Figure::at_least("callers gone: at work when they left", CALLERS as f64 / 2.0, delays.len() as f64),
        Figure::at_most("callers gone: connections never closed", 0.0, leaks as f64),
        Figure::at_most("callers gone: upstream closed, p99 ms", 250.0, quantile(&mut delays, 0.99)),
    ]
}

/// A stream of three seconds, or an answer after three.
fn slow(request: &Request) -> Script {
    let script = openai::sane(request, openai::SIXTY);
    if request.streams() { script.every(ms(50)).first_after(ms(300)) } else { script.head_after(ms(3000)) }
}

/// Asks, leaves after `patience`, and says when.
async fn leave(url: String, number: u64, patience: Duration) -> (u64, Instant) {
    let client = Client::new(&url).header("x-user-id", &format!("user-{number}"));
    let mut body = ask(number.is_multiple_of(3) || number.is_multiple_of(2));
    body["seed"] = number.into();
    let visit = async {
        let path = "/v1/chat/completions";
        let Ok(mut open) =
            client.try_open("POST".parse().unwrap_or_default(), path, body.to_string().into()).await
        else {
            return;
        };
        while open.more().await.is_some() {}
    };
    drop(timeout(patience, visit).await);
    (number, Instant::now())
}

/// Milliseconds from leaving to the close; infinite if it never came; `None` if there was nothing to close.
fn delay(calls: &[Call], number: u64, left: Instant) -> Option<f64> {
    let call = calls.iter().rfind(|call| call.json()["seed"] == number)?;
    if call.answered.is_some_and(|at| at <= left) {
        return None;
    }
    let closed = call.peer_closed.map(|at| at.saturating_duration_since(left));
    Some(closed.map_or(f64::INFINITY, |delay| delay.as_secs_f64() * 1e3))
}
