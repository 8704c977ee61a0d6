//! One user asks ten thousand times at once: how much of it reaches the provider, and what do the others feel?
//!
//! The other user is measured alone and beside the greedy one in turns, in one run, so that a change of the machine's
//! mood hits both. The provider takes 150 to 250 ms, as a quick real one does.

use std::sync::Mutex;

use concierge_testkit::{FakeProvider, Gateway, Request, Script, ms, openai};
use fastrand::Rng;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant},
};

use super::crowd::{assemble, disperse, fire};
use crate::{
    setup::{self, scaled},
    storm::figures::{Figure, quantile},
    wire::{Line, chat},
};

/// Requests of the greedy user.
const CROWD: usize = 10_000;
/// Slots of one user.
const LIMIT: usize = 10;
/// What the other user has running: less than its half of the ten slots, or it would be greedy as well.
const LANES: usize = 3;
/// Alone, beside the greedy one, alone, …
const ROUNDS: usize = 4;
/// Everything waits and nothing is refused, so that the greedy user stays greedy to the end.
const PATIENT: [(&str, &str); 3] = [("per_user", "10"), ("queue", "10000"), ("queue_timeout", "\"10m\"")];

/// All of it.
pub async fn run() -> Vec<Figure> {
    let mut figures = upstream().await;
    for (total, most) in [("1000", 1.1), ("10", 2.0)] {
        let [alone, beside] = other_user(total).await;
        println!("Another user, total = {total}: p99 {alone:.1} ms alone, {beside:.1} ms beside the crowd.");
        let name = format!("another user's p99, total = {total}: times alone");
        figures.push(Figure::at_most(name, most, beside / alone));
    }
    figures
}

async fn upstream() -> Vec<Figure> {
    let provider = FakeProvider::start().await;
    provider.script(|request| openai::sane(request, "blue").head_after(ms(5)));
    let gateway = super::gateway(&provider, &PATIENT).await;
    let crowd = scaled(CROWD as u64) as usize;
    let mut lines = assemble(&gateway, crowd).await;
    fire(&mut lines).await;
    let answers: JoinSet<_> = lines.into_iter().map(|mut line| async move { line.answer().await }).collect();
    let answered = answers.join_all().await.into_iter().flatten().filter(|answer| answer.status == 200);
    vec![
        Figure::at_least("requests of one user at once: answered", crowd as f64, answered.count() as f64),
        Figure::at_most("… most ever upstream, limit 10", LIMIT as f64, provider.high_water() as f64),
    ]
}

/// The p99 in milliseconds, alone and beside the crowd.
async fn other_user(total: &str) -> [f64; 2] {
    let provider = FakeProvider::start().await;
    let rng = Mutex::new(Rng::with_seed(7));
    provider.script(move |request| unhurried(request, &rng));
    let settings: Vec<_> = PATIENT.into_iter().chain([("total", total)]).collect();
    let gateway = super::gateway(&provider, &settings).await;
    let length = if setup::fast() { ms(2000) } else { ms(10_000) };
    let [mut alone, mut beside] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        alone.extend(measure(&gateway, length).await);
        let mut lines = assemble(&gateway, CROWD).await;
        let (_, times) = tokio::join!(fire(&mut lines), measure(&gateway, length));
        beside.extend(times);
        disperse(&gateway, lines).await;
        provider.clear();
    }
    [quantile(&mut alone, 0.99), quantile(&mut beside, 0.99)]
}

fn unhurried(request: &Request, rng: &Mutex<Rng>) -> Script {
    let mut rng = rng.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    openai::sane(request, "blue").head_after(ms(rng.u64(150..=250)))
}

/// The modest user asks on a few connections, back to back: milliseconds of each answer.
async fn measure(gateway: &Gateway, length: Duration) -> Vec<f64> {
    let lane = |_| {
        let addr = gateway.addr().to_owned();
        async move { lane(&addr, length).await.unwrap_or_else(|_| vec![f64::INFINITY]) }
    };
    (0..LANES).map(lane).collect::<JoinSet<_>>().join_all().await.concat()
}

/// A refusal counts as an answer that never came.
async fn lane(addr: &str, length: Duration) -> std::io::Result<Vec<f64>> {
    let mut line = Line::open(addr).await?;
    let request = chat("modest", &Value::Null);
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < length {
        let asked = Instant::now();
        let good = line.ask(&request).await?.status == 200;
        times.push(if good { asked.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY });
    }
    Ok(times)
}
