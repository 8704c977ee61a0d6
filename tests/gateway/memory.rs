//! Memory on the chat path: what is recalled, where it is inserted, and that it never delays a chat.

use std::time::Duration;

use concierge_testkit::{Client, ConfigFile, Reply, eventually, store};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::setup::{Stage, launch};

const FACT: &str = "My violin teacher is called Ottoline and lives in Bergen";
const QUESTION: &str = "What is the name of my violin teacher?";

fn says(text: &str) -> Value {
    json!({"model": "m", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": text},
    ]})
}

fn of(client: &Client, user: &str) -> Client {
    client.clone().header("x-user-id", user)
}

/// A recall budget that is never exceeded: in tests about other things, a busy machine must not skip the recall.
fn unhurried(config: ConfigFile) -> ConfigFile {
    config.set("memory", "recall_timeout", "\"30s\"").set("memory", "recall_budget", "\"30s\"")
}

async fn stage() -> Stage {
    Stage::single(unhurried).await
}

/// Sends chats until an answer reports this many recalled items: storing happens after the last byte.
async fn recalls(client: &Client, items: usize) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = client.clone().header("x-concierge-memory", "read").chat(&says(QUESTION)).await;
        if reply.header("x-concierge-memory").starts_with(&format!("items={items};")) {
            return reply;
        }
        let note = reply.header("x-concierge-memory").to_owned();
        assert!(begun.elapsed() < Duration::from_secs(30), "{note:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn last_body(stage: &Stage) -> String {
    let calls = stage.a.calls();
    String::from_utf8(calls.last().unwrap().request.body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_comes_back_once_directly_before_the_question() {
    let stage = stage().await;
    let ann = of(&stage.client, "ann");
    assert_eq!(ann.chat(&says(FACT)).await.header("x-concierge-memory"), "skipped;reason=empty");
    recalls(&ann, 1).await;
    let (sent, asked) = (last_body(&stage), says(QUESTION).to_string());
    let before = asked.find(r#"{"content":"What"#).or_else(|| asked.find(r#"{"role":"user""#)).unwrap();
    assert_eq!(sent[..before], asked[..before]);
    assert!(sent.ends_with(&asked[before..]), "{sent}");
    assert_eq!(sent.matches("Ottoline").count(), 1);
    let messages = serde_json::from_str::<Value>(&sent).unwrap()["messages"].clone();
    assert_eq!(messages.as_array().unwrap().len(), 3);
    assert!(messages[1]["content"].as_str().unwrap().contains("Ottoline"));
    assert_eq!(messages[2]["content"], QUESTION);
    let again = recalls(&ann, 1).await;
    assert!(again.header("x-concierge-memory").ends_with("cache=hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_ever_sees_it() {
    let stage = stage().await;
    let ann = of(&stage.client, "ann");
    ann.chat(&says(FACT)).await;
    recalls(&ann, 1).await;
    stage.a.clear();
    let bob = of(&stage.client, "bob").chat(&says(QUESTION)).await;
    assert_eq!(bob.header("x-concierge-memory"), "skipped;reason=empty");
    let nobody = stage.client.chat(&says(QUESTION)).await;
    assert_eq!(nobody.header("x-concierge-memory"), "skipped;reason=anonymous");
    for call in stage.a.calls() {
        assert!(!String::from_utf8_lossy(&call.request.body).contains("Ottoline"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_chooses_what_may_be_read_and_written() {
    let stage = stage().await;
    let with = |user: &str, word: &str| of(&stage.client, user).header("x-concierge-memory", word);
    for word in ["off", "read"] {
        with(word, word).chat(&says(FACT)).await;
    }
    let written = with("ann", "write").chat(&says(FACT)).await;
    assert_eq!(written.header("x-concierge-memory"), "skipped;reason=off");
    recalls(&of(&stage.client, "ann"), 1).await;
    // If they had been stored, it would be before this one: the queue keeps the order.
    for word in ["off", "read"] {
        let reply = with(word, "read").chat(&says(QUESTION)).await;
        assert_eq!(reply.header("x-concierge-memory"), "skipped;reason=empty", "{word}");
    }
    let off = with("ann", "off").chat(&says(QUESTION)).await;
    assert_eq!(off.header("x-concierge-memory"), "skipped;reason=off");
    assert_eq!(last_body(&stage), says(QUESTION).to_string());
    assert_eq!(with("ann", "maybe").chat(&says(QUESTION)).await.code(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_costs_a_chat_no_more_than_the_budget_and_turns_readiness() {
    if store::is_postgres() {
        return; // This locks a file; for a server see `postgres.rs`.
    }
    let stage = Stage::single(|config| config.set("memory", "recall_budget", "\"100ms\"")).await;
    let ann = of(&stage.client, "ann");
    ann.chat(&says(FACT)).await;
    assert_eq!(stage.client.get("/readyz").await.code(), 200);
    let other = rusqlite::Connection::open(stage.gw.dir().join("concierge.db")).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = Instant::now();
    let reply = of(&stage.client, "cold").chat(&says(QUESTION)).await;
    assert_eq!(reply.code(), 200);
    // The store alone would wait for seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    sleep(Duration::from_millis(3100)).await;
    let ready = stage.client.get("/readyz").await;
    assert_eq!((ready.code(), ready.json()["status"].as_str()), (503, Some("memory store is away")));
    let told = async |news: &str| {
        let look = || async {
            let page = stage.client.get("/admin").await;
            String::from_utf8_lossy(&page.body).contains(news).then_some(())
        };
        eventually(news, Duration::from_secs(20), look).await;
    };
    told("Memory store: away").await;
    other.execute_batch("COMMIT").unwrap();
    told("Memory store: back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_remembered_and_secrets_are_not() {
    let stage = stage().await;
    let ann = of(&stage.client, "ann");
    ann.chat(&says("My violin teacher's api_key: abc-123-def")).await;
    let mut body = says(FACT);
    body["stream"] = true.into();
    let heard = ann.stream(&body).await;
    assert_eq!(heard.header("x-concierge-memory"), "skipped;reason=empty");
    recalls(&ann, 1).await;
    assert!(!last_body(&stage).contains("abc-123"));
}

/// What was said just before SIGTERM is there after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_last_is_written_before_the_end() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("kept.db");
    let settings = |config: ConfigFile| unhurried(config).set("memory", "path", &format!("{path:?}"));
    let stage = Stage::single(settings).await;
    of(&stage.client, "ann").chat(&says(FACT)).await;
    let Stage { a, mut gw, .. } = stage;
    gw.signal("TERM");
    gw.wait_exit(Duration::from_secs(20)).await;
    assert!(!gw.logs().contains("not remembered"), "{}", gw.logs());
    let gw = launch().start(settings(ConfigFile::single(&a)).toml()).await;
    let reply = of(&gw.client(), "ann").chat(&says(QUESTION)).await;
    assert!(reply.header("x-concierge-memory").starts_with("items=1;"), "{reply:?}");
}

/// What the store had written when the process was killed is there afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_lost_nothing_that_was_written() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("kept.db");
    let settings = |config: ConfigFile| unhurried(config).set("memory", "path", &format!("{path:?}"));
    let stage = Stage::single(settings).await;
    let ann = of(&stage.client, "ann");
    ann.chat(&says(FACT)).await;
    recalls(&ann, 1).await;
    let Stage { a, mut gw, .. } = stage;
    gw.signal("KILL");
    gw.wait_exit(Duration::from_secs(10)).await;
    let gw = launch().start(settings(ConfigFile::single(&a)).toml()).await;
    recalls(&of(&gw.client(), "ann"), 1).await;
}
