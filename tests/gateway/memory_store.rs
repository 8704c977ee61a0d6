//! A slow or locked store under chat load. Chats continue; a write is durable or refused.

use std::time::Duration;

use concierge_testkit::{Client, Reply, store};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::setup::{Load, Sample, Stage, errors, many};

const FACT: &str = "My violin teacher is called Ottoline and lives in Bergen";

fn chat(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

fn of(client: &Client, user: &str) -> Client {
    client.clone().header("x-user-id", user)
}

async fn add(client: &Client, text: &str) -> Reply {
    client.post("/v1/memories", &json!({"text": text})).await
}

/// A recall that exceeds its budget is skipped, and the response says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_that_is_too_slow_is_skipped() {
    let stage = Stage::single(|config| config.set("memory", "recall_budget", "\"1ms\"")).await;
    let ann = of(&stage.client, "ann");
    for part in 0..5 {
        let items: Vec<Value> = (0..1000)
            .map(|n| json!({"text": format!("{FACT} {part} {n} {}", "and so on ".repeat(20))}))
            .collect();
        assert_eq!(ann.post("/v1/memories", &json!({"memories": items})).await.code(), 201);
    }
    let reply = ann.chat(&chat("Who is my violin teacher?")).await;
    assert_eq!((reply.code(), reply.header("x-concierge-memory")), (200, "skipped;reason=timeout"));
    assert_eq!(stage.a.only_call().request.body, chat("Who is my violin teacher?").to_string());
}

/// Another process holds the lock: chats are answered as before, recall works as before, a write is refused
/// in time and not acknowledged, and all of it recovers.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_refuses_writes_and_nothing_else() {
    if store::is_postgres() {
        return; // This locks a file; for a server see `postgres.rs`.
    }
    let stage = Stage::single(|config| {
        config.set("memory", "recall_budget", "\"150ms\"").set("memory", "update_context_timeout", "\"1s\"")
    })
    .await;
    let ann = of(&stage.client, "ann");
    assert_eq!(add(&ann, FACT).await.code(), 201);
    let asked = || Load::asking(&of(&stage.client, "bob"), 4, Duration::ZERO, chat("Anything new?"));
    let usual = asked();
    while usual.so_far().len() < 40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let usual = median(&usual.stop().await);
    let other = rusqlite::Connection::open(stage.gw.dir().join("concierge.db")).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let load = asked();
    let begun = Instant::now();
    let refused = many(8, 8, |n| {
        let client = of(&stage.client, &format!("user {n}"));
        async move { add(&client, "refused").await }
    })
    .await;
    for reply in &refused {
        assert_eq!((reply.code(), reply.error_code().as_str()), (503, "store_unavailable"), "{reply:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let samples = load.stop().await;
    assert_eq!(errors(&samples), Vec::<String>::new());
    // The promise is the budget and 20 ms, on an otherwise idle machine.
    let (locked, most) = (median(&samples), usual * 3 + Duration::from_millis(150 + 20));
    assert!(locked < most, "{usual:?} without the lock, {locked:?} with it");
    other.execute_batch("COMMIT").unwrap();
    wait_until_it_takes(&ann).await;
}

fn median(samples: &[Sample]) -> Duration {
    let mut took: Vec<_> = samples.iter().map(|sample| sample.took).collect();
    took.sort();
    took[took.len() / 2]
}

async fn wait_until_it_takes(client: &Client) {
    concierge_testkit::wait::eventually("a write", Duration::from_secs(20), || async {
        (add(client, "healed").await.code() == 201).then_some(())
    })
    .await;
}
