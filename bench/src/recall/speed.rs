//! How long a search takes for a user with ten thousand memories, what one of them weighs, and how often the store is
//! read for a conversation that asks the same again and again.
//!
//! The gateway runs on one core meanwhile, and times are the client's: request written to answer read, on one
//! connection. Each question counts with its fastest of a few, for other programs share the machine.

use std::{collections::HashSet, io, process::Command};

use concierge_testkit::{Client, Gateway};
use http::Method;
use serde_json::{Value, json};

use super::{
    data::{Conversation, Turn},
    desk::Desk,
};
use crate::{
    setup::scaled,
    storm::figures::{Figure, percent, quantile, round},
};

/// Memories of the user.
const MEMORIES: usize = 10_000;
/// Questions whose time is taken, and how often.
const QUESTIONS: u64 = 1000;
const TIMES: usize = 5;
/// Turns of the conversation that repeats its question.
const REPEATS: u64 = 100;
const USER: &str = "talkative";
const REPEATING: &str = "forgetful";

/// What was measured.
pub struct Speed {
    /// With their limits.
    pub figures: Vec<Figure>,
    /// For the results file.
    pub details: Value,
}

/// All of it, on a gateway with a model `m`.
pub async fn run(gateway: &Gateway, conversations: &[Conversation]) -> io::Result<Speed> {
    let mut desk = Desk::open(gateway, USER).await?;
    desk.remember(&large(conversations)).await?;
    let pinned = pin(gateway);
    let mut questions = HashSet::new();
    let asked = conversations.iter().flat_map(|one| &one.questions).map(|question| question.text.as_str());
    let asked: Vec<&str> =
        asked.filter(|text| questions.insert(*text)).take(scaled(QUESTIONS) as usize).collect();
    let (mut fresh, mut cached) = times(gateway, &mut desk, &asked).await?;
    let bytes = state(gateway, USER).await["index_bytes"].as_f64().unwrap_or(f64::NAN) / MEMORIES as f64;
    let saved = repeat(gateway, asked.first().copied().unwrap_or_default()).await;
    let all = |ms: &mut [f64]| {
        let [p50, p95, p99, worst] = [0.50, 0.95, 0.99, 1.0].map(|q| round(quantile(ms, q)));
        json!({ "p50": p50, "p95": p95, "p99": p99, "worst": worst })
    };
    let (fresh_p99, cached_p99) = (quantile(&mut fresh, 0.99), quantile(&mut cached, 0.99));
    Ok(Speed {
        details: json!({
            "gateway_on_one_core": pinned, "questions": asked.len(), "fastest_of": TIMES,
            "uncached_ms": all(&mut fresh), "cached_ms": all(&mut cached),
        }),
        figures: vec![
            Figure::at_most("a user with 10,000 memories: uncached search, p99 ms", 5.0, fresh_p99),
            Figure::at_most("… cached search, p99 ms", 0.2, cached_p99),
            Figure::at_most("… bytes in memory per memory", 1024.0, bytes),
            Figure::at_least("reads of the store saved in 100 turns with one question, %", 80.0, saved),
        ],
    })
}

/// The fastest of each question without the cache and with it, in milliseconds.
async fn times(gateway: &Gateway, desk: &mut Desk, asked: &[&str]) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let mut best = vec![[f64::INFINITY; 2]; asked.len()];
    for _ in 0..TIMES {
        let path = format!("/admin/cache/{USER}");
        gateway.client().send(Method::DELETE, &path, bytes::Bytes::new()).await;
        for cached in [false, true] {
            for (text, best) in asked.iter().zip(&mut best) {
                let best = &mut best[usize::from(cached)];
                if let Some(took) = desk.time(text, cached).await? {
                    *best = best.min(took.as_secs_f64() * 1e3);
                }
            }
        }
    }
    Ok(best.into_iter().map(|[fresh, cached]| (fresh, cached)).unzip())
}

/// All conversations as one user's, over again under other sessions until there are enough.
fn large(conversations: &[Conversation]) -> Vec<Turn> {
    let turns =
        conversations.iter().enumerate().flat_map(|(n, one)| one.turns.iter().map(move |turn| (n, turn)));
    let rounds = (0..).flat_map(|round| turns.clone().map(move |(n, turn)| (round, n, turn)));
    let renamed = rounds
        .map(|(round, n, turn)| Turn { session: format!("{round}-{n}-{}", turn.session), ..turn.clone() });
    renamed.take(MEMORIES).collect()
}

/// Chats that repeat one question: percent of the recalls that did without the store.
async fn repeat(gateway: &Gateway, question: &str) -> f64 {
    let client = gateway.client().header("x-user-id", REPEATING);
    client.post("/v1/memories", &json!({"text": question.replace('?', ".")})).await;
    for _ in 0..REPEATS {
        turn(&client, question).await;
    }
    let recalls = state(gateway, REPEATING).await["recalls"].clone();
    let number = |name: &str| recalls[name].as_u64().unwrap_or_default() as usize;
    let (count, reads) = (number("count"), number("store_reads"));
    if count < REPEATS as usize { f64::NAN } else { percent(count.saturating_sub(reads), count) }
}

async fn turn(client: &Client, question: &str) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": question}]});
    let reply = client.chat(&body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

async fn state(gateway: &Gateway, user: &str) -> Value {
    gateway.client().get(&format!("/admin/users/{user}/context")).await.json()["state"].clone()
}

/// Keeps the gateway to one core, the first; whether that could be done.
fn pin(gateway: &Gateway) -> bool {
    let pid = gateway.pid().to_string();
    let done = Command::new("taskset").args(["-a", "-p", "-c", "0", &pid]).output();
    done.is_ok_and(|output| output.status.success())
}
