//! A remote embedder: called in the background and with failover, never delaying a chat, its vectors never mixed up.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use concierge_testkit::{
    Client, ConfigFile, FakeProvider, Gateway, fake::Request, openai, script::Script, store, wait,
};
use http::Method;
use serde_json::{Value, json};

use super::setup::{gateway, launch};

const LONG: Duration = Duration::from_secs(30);
/// Shares no word or stem with [`ASKED`], only the direction of its vector.
const FACT: &str = "Moonlight sonata every Thursday";
const ASKED: &str = "piano lessons when?";

/// Texts about music point in one direction, all others in another.
fn vector(text: &str) -> Value {
    let music = ["sonata", "piano"].iter().any(|word| text.to_lowercase().contains(word));
    if music { json!([1.0, 0.1, 0.0]) } else { json!([0.0, 0.1, 1.0]) }
}

fn embeddings(request: &Request) -> Script {
    let body = request.json();
    let inputs = body["input"].as_array().expect("a list of texts");
    let item = |(n, text): (usize, &Value)| json!({"index": n, "embedding": vector(text.as_str().unwrap())});
    let data: Vec<Value> = inputs.iter().enumerate().map(item).collect();
    Script::json(
        json!({"object": "list", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).to_string(),
    )
}

/// A provider whose embeddings depend on the topic; otherwise healthy.
async fn embedder() -> FakeProvider {
    let fake = FakeProvider::start().await;
    heal(&fake);
    fake
}

fn heal(fake: &FakeProvider) {
    fake.script(|request| match request.path.ends_with("/embeddings") {
        true => embeddings(request),
        false => openai::sane(request, "well"),
    });
}

fn with_embedder(config: ConfigFile, model: &str, dimensions: u32) -> ConfigFile {
    config
        .set("memory", "embedder", "\"openai\"")
        .set("memory", "embedding_model", &format!("{model:?}"))
        .set("memory", "dimensions", &dimensions.to_string())
        .set("memory", "recall_budget", "\"5s\"")
        .set("memory", "min_score", "0.05")
}

fn at(config: ConfigFile, folder: &Path) -> ConfigFile {
    config.set("memory", "path", &format!("{:?}", folder.join("kept.db")))
}

fn of(gw: &Gateway, user: &str) -> Client {
    gw.client().header("x-user-id", user)
}

async fn keep(client: &Client, texts: &[&str]) {
    let items: Vec<Value> = texts.iter().map(|text| json!({"text": text})).collect();
    assert_eq!(client.post("/v1/memories", &json!({"memories": items})).await.code(), 201);
}

async fn embedded(gw: &Gateway, count: u64) {
    wait::eventually(&format!("{count} vectors"), LONG, || async {
        let overview = gw.client().get("/admin/memory").await.json();
        (overview["embedding"]["embedded"] == count).then_some(())
    })
    .await;
}

async fn found(client: &Client, query: &str) -> Vec<String> {
    let found = client.post("/v1/memories/search", &json!({"query": query})).await.json();
    found["data"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

fn asked(fake: &FakeProvider) -> Vec<Value> {
    let calls = fake.calls();
    let bodies = calls.iter().filter(|call| call.request.path.ends_with("/embeddings"));
    bodies.map(|call| call.request.json()).collect()
}

/// Sends a chat with recall only, and returns the note in the response header.
async fn note(client: &Client, text: &str) -> String {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    let reply = client.clone().header("x-concierge-memory", "read").chat(&body).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    reply.header("x-concierge-memory").to_owned()
}

/// Gateways with different configurations must not undo each other's embeddings for ever, at a cost.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_with_different_embedders_the_first_stands_back() {
    if store::server().is_none() {
        return eprintln!("skipped: CONCIERGE_TEST_POSTGRES names no server");
    }
    let (a, url) = (embedder().await, store::new_database());
    let with = |model: &str| {
        let config = ConfigFile::single(&a).set("memory", "store", "\"postgres\"");
        with_embedder(config.set("memory", "url", &format!("{url:?}")), model, 3)
    };
    let of_model = |model: &str| asked(&a).iter().filter(|body| body["model"] == model).count();
    let first = gateway(&with("a/old")).await;
    keep(&of(&first, "ann"), &[FACT]).await;
    embedded(&first, 1).await;
    let second = gateway(&with("a/new")).await;
    embedded(&second, 1).await;
    let before = of_model("old");
    keep(&of(&first, "ann"), &["The tides of May"]).await;
    first.wait_log("another gateway on this database").await;
    embedded(&second, 2).await;
    let overview = first.client().get("/admin/memory").await.json();
    assert_eq!(overview["embedding"]["trouble"], "another gateway, which started later, embeds by a/new/3");
    assert_eq!((of_model("old"), of_model("new")), (before, 2), "each memory once");
    assert!(!second.logs().contains("another gateway on"), "{}", second.logs());
    assert_eq!(found(&of(&first, "ann"), "tides").await[0], "The tides of May", "words are ranked");
}

#[tokio::test(flavor = "multi_thread")]
async fn meaning_comes_from_the_target_in_few_requests() {
    let a = embedder().await;
    let gw = gateway(&with_embedder(ConfigFile::single(&a), "a/e", 3)).await;
    let ann = of(&gw, "ann");
    let others: Vec<String> = (0..150).map(|n| format!("Note {n} about groceries")).collect();
    let mut texts: Vec<&str> = others.iter().map(String::as_str).collect();
    texts.push(FACT);
    keep(&ann, &texts).await;
    embedded(&gw, 151).await;
    let requests = asked(&a);
    assert!(requests.len() <= 10, "{} requests for 151 texts", requests.len());
    assert!(requests.iter().all(|body| body["model"] == "e" && body["dimensions"].is_null()));
    assert_eq!(found(&ann, ASKED).await.first().map(String::as_str), Some(FACT));
    let note = note(&ann, ASKED).await;
    assert!(note.starts_with("items=") && !note.contains("embedding="), "{note}");
    assert!(
        !gw.logs().contains("sonata") && !gw.logs().contains("groceries"),
        "no word of a memory is logged"
    );
}

/// The write is acknowledged while the target is silent; the vector follows when it recovers, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_does_not_wait_and_a_recall_goes_by_words() {
    let a = embedder().await;
    a.for_model("e", |_| Script::silent());
    let gw = gateway(&with_embedder(ConfigFile::single(&a), "a/e", 3)).await;
    let ann = of(&gw, "ann");
    keep(&ann, &[FACT]).await;
    let noted = note(&ann, "Which sonata?").await;
    assert!(noted.starts_with("items=1;") && noted.ends_with(";embedding=pending"), "{noted}");
    a.for_model("e", embeddings);
    embedded(&gw, 1).await;
    a.for_model("e", |_| Script::silent());
    let noted = note(&ann, "What about that sonata?").await;
    assert!(noted.starts_with("items=1;") && noted.ends_with(";embedding=timeout"), "{noted}");
    a.for_model("e", |_| Script::status(500, "{}"));
    let noted = note(&ann, "And this sonata?").await;
    assert!(noted.starts_with("items=1;") && noted.contains(";embedding="), "{noted}");
    let counted = || async { gw.client().get("/admin/memory").await.json()["cache"].clone() };
    let before = counted().await;
    let list = ann.post("/v1/memories/search", &json!({"query": "A sonata at last?"})).await.json();
    assert_eq!((&list["embedding"], &list["cache"]), (&json!("unavailable"), &json!("miss")), "{list}");
    let after = counted().await;
    let questions = |of: &Value| of["hits"].as_u64().unwrap() + of["misses"].as_u64().unwrap();
    assert_eq!(questions(&after), questions(&before) + 1, "one question, whatever was tried for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_of_the_model_steps_in() {
    let (a, b) = (embedder().await, embedder().await);
    let config = ConfigFile::quick().provider("a", &a).provider("b", &b).model("m", &["a/m"]);
    let config = config.model("vectors", &["a/e", "b/e"]);
    a.for_model("e", |_| Script::status(503, "{}"));
    let gw = gateway(&with_embedder(config, "vectors", 3)).await;
    let ann = of(&gw, "ann");
    keep(&ann, &[FACT, "Bread and milk"]).await;
    embedded(&gw, 2).await;
    assert!(!asked(&a).is_empty() && !asked(&b).is_empty());
    assert_eq!(found(&ann, ASKED).await.first().map(String::as_str), Some(FACT));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_kill_and_another_model_begins_anew() {
    let folder = tempfile::TempDir::new().unwrap();
    let a = embedder().await;
    a.for_model("e", |_| Script::status(503, "{}"));
    let first = at(with_embedder(ConfigFile::single(&a), "a/e", 3), folder.path());
    let mut gw = gateway(&first).await;
    keep(&of(&gw, "ann"), &[FACT, "Bread and milk"]).await;
    keep(&of(&gw, "bob"), &["A piano for sale"]).await;
    gw.signal("KILL");
    gw.wait_exit(LONG).await;
    heal(&a);
    a.for_model("e", embeddings);
    let mut gw = gateway(&first).await;
    embedded(&gw, 3).await;
    gw.signal("TERM");
    gw.wait_exit(LONG).await;
    a.clear();
    // Vectors of another model are not compared: until it is embedded anew, a memory is found by its words.
    a.for_model("other", |_| Script::status(503, "{}"));
    let other = at(with_embedder(ConfigFile::single(&a), "a/other", 3), folder.path());
    let gw = gateway(&other).await;
    let overview = gw.client().get("/admin/memory").await.json();
    assert_eq!(
        (&overview["embedding"]["embedded"], &overview["embedding"]["memories"]),
        (&json!(0), &json!(3))
    );
    let noted = note(&of(&gw, "ann"), "Which sonata?").await;
    assert!(noted.ends_with("embedding=pending"), "{noted}");
    gw.wait_log("embedding of memories failed").await;
    a.for_model("other", embeddings);
    embedded(&gw, 3).await;
    gw.wait_log("all memories are embedded").await;
    assert!(asked(&a).iter().all(|body| body["model"] == "other"));
    assert_eq!(found(&of(&gw, "ann"), ASKED).await.first().map(String::as_str), Some(FACT));
    assert_eq!(found(&of(&gw, "bob"), ASKED).await, ["A piano for sale"]);
}

/// A text that the target rejects does not keep others from their vectors, and is quoted in no log and on no page.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_refused_is_passed_over_and_quoted_nowhere() {
    let a = embedder().await;
    a.for_model("e", |request| {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let quoted = format!("cannot embed {text}");
        match text.contains("canary") {
            true => Script::status(400, openai::error_body(&quoted, "invalid_request_error", None)),
            false => embeddings(request),
        }
    });
    let gw = gateway(&with_embedder(ConfigFile::single(&a), "a/e", 3)).await;
    let ann = of(&gw, "ann");
    keep(&ann, &["one", "two", "a canary sings", "four", FACT]).await;
    embedded(&gw, 4).await;
    gw.wait_log("embedder rejected a memory").await;
    assert_eq!(found(&ann, ASKED).await.first().map(String::as_str), Some(FACT));
    assert!(found(&ann, "canary").await.contains(&"a canary sings".to_owned()), "by its words");
    for page in ["/admin/providers", "/admin/memory", "/admin/requests"] {
        let page = gw.client().get(page).await;
        assert!(!String::from_utf8_lossy(&page.body).contains("canary"), "{page:?}");
    }
    assert!(!gw.logs().contains("canary"), "{}", gw.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_is_asked_for_only_where_the_model_gives_another() {
    let a = embedder().await;
    a.for_model("e", |request| match request.json()["dimensions"].as_u64() {
        Some(3) => embeddings(request),
        _ => Script::json(openai::embeddings_answer("e").replace("0.25,", "0.25,0.25,")),
    });
    let gw = gateway(&with_embedder(ConfigFile::single(&a), "a/e", 3)).await;
    keep(&of(&gw, "ann"), &[FACT]).await;
    embedded(&gw, 1).await;
    let asked = asked(&a);
    assert_eq!((&asked[0]["dimensions"], &asked.last().unwrap()["dimensions"]), (&json!(null), &json!(3)));
}

/// The gateway's own requests for a user's memory use none of the user's slots and limits.
#[tokio::test(flavor = "multi_thread")]
async fn its_calls_take_no_slot_and_no_limit_of_a_user() {
    let a = embedder().await;
    a.for_model("e", |request| embeddings(request).head_after(Duration::from_millis(300)));
    let config = with_embedder(ConfigFile::single(&a), "a/e", 3)
        .set("slots", "total", "1")
        .set("slots", "per_user", "1")
        // The write and three chats.
        .set("limits", "requests_per_minute", "4");
    let gw = gateway(&config).await;
    let ann = of(&gw, "ann");
    keep(&ann, &[FACT, "Bread and milk"]).await;
    embedded(&gw, 2).await;
    for asked in ["piano one", "piano two", "piano three"] {
        let noted = note(&ann, asked).await;
        assert!(noted.starts_with("items=") && !noted.contains("embedding="), "{noted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_keeps_no_vector_and_late_ones_are_let_go_of() {
    let a = embedder().await;
    a.for_model("e", |request| embeddings(request).head_after(Duration::from_millis(500)));
    let gw = gateway(&with_embedder(ConfigFile::single(&a), "a/e", 3)).await;
    let ann = of(&gw, "ann");
    keep(&ann, &[FACT]).await;
    wait::eventually("a request", LONG, || async { (!asked(&a).is_empty()).then_some(()) }).await;
    let gone = ann.send(Method::DELETE, "/v1/memories", Bytes::new()).await;
    assert_eq!(gone.json()["deleted"], 1);
    keep(&ann, &["Bread and milk"]).await;
    embedded(&gw, 1).await;
    assert_eq!(found(&ann, ASKED).await, ["Bread and milk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_nobody_serves_is_refused_at_the_start() {
    let a = embedder().await;
    let config = with_embedder(ConfigFile::single(&a), "nowhere/e", 3).toml();
    let failed = launch().try_start(config).await.err().unwrap();
    assert!(
        failed.stderr.contains("memory.embedding_model") && failed.stderr.contains("nowhere"),
        "{failed}"
    );
    let config = with_embedder(ConfigFile::single(&a), "plain", 3).toml();
    let failed = launch().try_start(config).await.err().unwrap();
    assert!(failed.stderr.contains("the name of a model"), "{failed}");
}
