//! L3: a bug of ours costs one request, never the process, a slot, or an answer that only looks complete. Needs a
//! gateway with the feature `failpoints`: `cargo test --features failpoints --test gateway panics`.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Gateway, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks},
};
use serde_json::json;

use super::setup::{Stage, launch, many};

const PANICS: usize = 1000;
const SOON: Duration = Duration::from_secs(10);

async fn all_free(gw: &Gateway) {
    let look = || async {
        let slots = gw.client().get("/admin/slots").await.json();
        let calls = gw.client().get("/admin/requests").await.json();
        (slots["users"] == json!([]) && calls["requests"] == json!([])).then_some(())
    };
    eventually("no slot is held and no call is in flight", SOON, look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_panics_cost_a_thousand_requests() {
    let stage = Stage::single(|c| c.set("slots", "per_user", "8").set("slots", "queue", "200")).await;
    let client = stage.client.clone().header("x-user-id", "u");
    many(2 * PANICS, 40, move |n| {
        let place = ["handler", "slot", "search"][n / 2 % 3];
        let name = if n % 2 == 0 { "fine" } else { "panic-in" };
        let id = format!("{name}-{place}-{n}");
        let client = client.clone().header("x-request-id", &id);
        async move {
            let reply = client.chat(&ask("m")).await;
            let (code, kind) = (reply.error_code(), &reply.json()["error"]["type"]);
            match name {
                "fine" => assert_eq!(reply.code(), 200, "{reply:?}"),
                _ => assert_eq!((reply.code(), code.as_str()), (500, "internal_error"), "{reply:?}"),
            }
            assert!(reply.code() == 200 || kind == "server_error");
            assert_eq!(reply.header("x-request-id"), id);
        }
    })
    .await;
    all_free(&stage.gw).await;
    stage.gw.wait_log(&format!("panics={PANICS} ")).await;
    assert_eq!(stage.calls().0, PANICS, "who panics asks nobody");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0);
    assert_eq!(stage.chat().await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_mid_answer_cuts_it_and_frees_the_slot() {
    let stage = Stage::single(|c| c).await;
    stage.a.script(|_| Script::sse(chat_chunks("m", SIXTY)).every(ms(5)));
    let client = stage.client.clone().header("x-request-id", "panic-in-stream");
    for client in [client.clone(), client.http2()] {
        let heard = client.stream(&ask_stream("m")).await;
        assert!(!heard.text().is_empty() && heard.text() != SIXTY, "{heard:?}");
        assert!(!heard.looks_complete(), "{heard:?}");
        all_free(&stage.gw).await;
    }
    stage.a.heal();
    stage.gw.wait_log("panics=2 ").await;
    let line = stage.gw.wait_log("error=\"internal_error\"").await;
    assert!(line.contains("panic-in-stream"), "{line}");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "it is not the target's fault");
    assert_eq!(stage.chat().await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_beside_the_store_frees_the_slot() {
    let gw = launch().start(ConfigFile::quick().toml()).await;
    let alice = gw.client().header("x-user-id", "alice");
    let unlucky = alice.clone().header("x-request-id", "panic-in-slot");
    assert_eq!(unlucky.post("/v1/memories", &json!({"text": "a"})).await.error_code(), "internal_error");
    all_free(&gw).await;
    assert_eq!(alice.post("/v1/memories", &json!({"text": "a"})).await.code(), 201);
}

/// Each task panics once, at its start.
#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_the_process_are_started_again() {
    let tasks = ["accept", "probe", "watch", "reload", "remember", "sweep"];
    let provider = FakeProvider::start().await;
    let config = ConfigFile::single(&provider).set("health", "interval", "\"200ms\"");
    let mut gw = launch().env("CONCIERGE_PANIC", &tasks.join(",")).start(config.toml()).await;
    for task in tasks {
        gw.wait_log(&format!("task=\"{task}\"")).await;
    }
    let alice = gw.client().header("x-user-id", "alice");
    assert_eq!(alice.chat(&ask("m")).await.code(), 200, "it accepts");
    let remembered = || async {
        let list = alice.get("/v1/memories").await.json();
        (!list["data"].as_array()?.is_empty()).then_some(())
    };
    eventually("it remembers", SOON, remembered).await;
    gw.write_config(config.set("slots", "total", "77").toml());
    let reloaded =
        || async { (gw.client().get("/admin/slots").await.json()["total"]["limit"] == 77).then_some(()) };
    eventually("it reloads", SOON, reloaded).await;
    gw.signal("TERM");
    assert!(gw.wait_exit(SOON).await.success(), "it waits for none of them");
}
