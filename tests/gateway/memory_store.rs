//! The store in trouble under chat load: slow, locked, full. Chats go on; a write is durable or refused.

use std::time::Duration;

use concierge_testkit::{Client, Reply, store};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Load, Sample, Stage, errors, many};

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

/// A recall that would be late is given up, and the chat says so.
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

/// Another process holds the lock: chats are answered as ever, what was said is recalled as ever, a write is refused
/// in time and not acknowledged, and all of it heals.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_refuses_writes_and_nothing_else() {
    if store::is_postgres() {
        return; // A file is locked here; what a server does is in `postgres.rs`.
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
    // What is promised is the budget and 20 ms, on a machine that has nothing else to do.
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

#[cfg(target_os = "linux")]
mod full_disk {
    use std::{os::unix::fs::PermissionsExt, path::PathBuf};

    use concierge_testkit::{ConfigFile, FakeProvider, gateway::Launch};
    use rlimit::{INFINITY, Resource};

    use super::*;

    /// The gateway behind a shell that lets it outlive its limit of file sizes, as a full disk does.
    fn outliving_limits(folder: &tempfile::TempDir) -> Launch {
        let script: PathBuf = folder.path().join("concierge");
        let text = format!("#!/bin/sh\ntrap '' XFSZ\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_concierge"));
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        Launch::new(script)
    }

    /// From now on files may not grow beyond so many bytes.
    fn limit_files(pid: u32, bytes: u64) {
        let pid = i32::try_from(pid).unwrap();
        rlimit::prlimit(pid, Resource::FSIZE, Some((bytes, INFINITY)), None).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn on_a_full_disk_chats_go_on_and_writes_come_back_without_a_restart() {
        if store::is_postgres() {
            return; // The gateway's own files are limited here.
        }
        let folder = tempfile::TempDir::new().unwrap();
        let a = FakeProvider::start().await;
        let config = ConfigFile::single(&a).set("memory", "recall_budget", "\"5s\"");
        let gw = outliving_limits(&folder).start(config.toml()).await;
        let ann = of(&gw.client(), "ann");
        assert_eq!(add(&ann, FACT).await.code(), 201);
        limit_files(gw.pid(), 4096);
        for n in 0..5 {
            let reply = add(&ann, &format!("lost {n}")).await;
            assert_eq!((reply.code(), reply.error_code().as_str()), (503, "store_unavailable"), "{reply:?}");
            let reply = ann.chat(&chat(&format!("Who is my violin teacher, {n}?"))).await;
            assert_eq!(reply.code(), 200, "{reply:?}");
            assert!(reply.header("x-concierge-memory").starts_with("items="), "{reply:?}");
        }
        limit_files(gw.pid(), INFINITY);
        wait_until_it_takes(&ann).await;
        let list = ann.get("/v1/memories").await.json();
        let texts: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|item| item["text"].clone()).collect();
        assert!(texts.contains(&json!(FACT)) && texts.contains(&json!("healed")), "{texts:?}");
        assert!(!texts.iter().any(|text| text.as_str().unwrap().starts_with("lost")), "{texts:?}");
    }
}
