//! When a circuit opens, what that costs meanwhile, and how it closes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use concierge_testkit::{
    ConfigFile, Gateway, Script, eventually, ms,
    openai::{self, SIXTY, ask, ask_stream, error_body},
};
use serde_json::json;
use tokio::time::Instant;

use super::setup::{Load, Stage, errors, many};

const FIVE: Duration = Duration::from_secs(5);

fn broken() -> Script {
    Script::status(500, error_body("boom", "server_error", None))
}

async fn wait_state(gw: &Gateway, id: &str, state: &str) {
    let look = || async { (gw.target(id).await["state"] == state).then_some(()) };
    eventually(&format!("{id} is {state}"), FIVE, look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_failures_in_a_row_trip_and_the_probe_brings_it_back() {
    let stage = Stage::with(|c| c.set("breaker", "open_min", "\"1s\"")).await;
    stage.a.always(broken());
    for _ in 0..5 {
        assert_eq!(stage.chat().await.code(), 200);
    }
    let a = stage.gw.target("a/m").await;
    assert_eq!((a["state"].as_str(), a["failures"]["status_5xx"].as_u64()), (Some("open"), Some(5)), "{a}");
    assert!(a["retry_at"].is_string() && a["reason"].as_str().is_some_and(|r| !r.is_empty()), "{a}");
    stage.a.clear();
    for _ in 0..5 {
        assert_eq!(stage.chat().await.header("x-concierge-attempts"), "1", "nobody waits for the open one");
    }
    assert_eq!(stage.a.calls().len(), 0);
    stage.a.heal();
    let load = Load::start(&stage.client, 1, ms(30));
    stage.a.wait_calls(3).await;
    assert!(errors(&load.stop().await).is_empty(), "a probe is never the client's risk");
    wait_state(&stage.gw, "a/m", "closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_probe_opens_it_for_longer_and_only_one_request_probes() {
    let stage = Stage::pair().await;
    stage.a.always(broken());
    let load = Load::start(&stage.client, 6, ms(5));
    stage.a.wait_calls(5).await;
    wait_state(&stage.gw, "a/m", "open").await;
    stage.a.clear();
    tokio::time::sleep(ms(2500)).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    // 0.5 s, 1 s, 2 s, with jitter: at most three probes in 2.5 s, not one per request.
    assert!(stage.a.calls().len() <= 4, "{} calls of {} requests", stage.a.calls().len(), samples.len());
}

/// R4: every second answer is a 500; there are never five in a row, so the ratio must open the circuit.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_broken_target_is_left_alone_too() {
    let stage = Stage::with(|c| c.set("routing", "strategy", "\"score\"")).await;
    let n = AtomicUsize::new(0);
    stage.a.script(
        move |r| if n.fetch_add(1, SeqCst).is_multiple_of(2) { broken() } else { openai::sane(r, SIXTY) },
    );
    let load = Load::start(&stage.client, 6, ms(10));
    tokio::time::sleep(ms(4000)).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    let (a, b) = stage.calls();
    assert!((a + b) * 100 <= samples.len() * 125, "{a} + {b} attempts for {} requests", samples.len());
    let target = stage.gw.target("a/m").await;
    assert!(target["state"] != "closed" || target["share"].as_f64().unwrap() <= 0.1, "{target}");
}

/// R5: all targets are down. Attempts stay bounded, errors are quick and correct, and recovery is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_down_errors_are_quick_and_recovery_is_too() {
    let stage = Stage::with(|c| c.set("resilience", "total_timeout", "\"5s\"")).await;
    stage.a.always(broken());
    stage.b.always(broken());
    let load = Load::start(&stage.client, 4, ms(50));
    tokio::time::sleep(ms(3000)).await;
    let down = load.so_far();
    let (a, b) = stage.calls();
    assert!(down.iter().all(|s| matches!(s.status, 502 | 503)), "{:?}", down.iter().map(|s| s.status));
    assert!(a + b <= 2 * down.len() + 8, "{a} + {b} attempts for {} requests", down.len());
    stage.a.heal();
    stage.b.heal();
    tokio::time::sleep(ms(4500)).await;
    let healed = Instant::now();
    tokio::time::sleep(ms(800)).await;
    let samples = load.stop().await;
    let after: Vec<_> = samples.iter().filter(|s| s.sent > healed).collect();
    assert!(after.len() > 10 && after.iter().all(|s| s.status == 200), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_target_failing_says_so_once() {
    let stage = Stage::single(|c| c).await;
    stage.a.always(broken());
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (502, "upstream_error"));
    assert_eq!(reply.json()["error"]["type"], "upstream_error");
    assert_eq!(reply.header("x-should-retry"), "false");
    assert!(!reply.header("x-request-id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_breaker_open_the_refusal_says_when_to_come_back() {
    let slow = |c: ConfigFile| {
        c.set("breaker", "open_min", "\"10s\"").set("breaker", "open_max", "\"20s\"").set(
            "resilience",
            "total_timeout",
            "\"2s\"",
        )
    };
    let stage = Stage::with(slow).await;
    stage.a.always(broken());
    stage.b.always(broken());
    for _ in 0..12 {
        stage.chat().await;
    }
    let before = stage.calls();
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (503, "no_target_available"), "{reply:?}");
    let wait: f64 = reply.header("retry-after").parse().unwrap();
    assert!((1.0..=12.0).contains(&wait), "{wait}");
    assert_eq!(stage.calls(), before, "an open breaker is not asked");
    assert_eq!(stage.client.get("/readyz").await.code(), 503, "readiness is truthful");
    assert_eq!(stage.client.get("/livez").await.code(), 200);
}

/// R13: a probe whose client leaves decides nothing; the next request may probe.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_probe_hands_its_place_back() {
    for _ in 0..2 {
        let stage = Arc::new(Stage::pair().await);
        stage.a.always(broken());
        many(6, 1, |_| {
            let stage = Arc::clone(&stage);
            async move { stage.chat().await.code() }
        })
        .await;
        wait_state(&stage.gw, "a/m", "open").await;
        stage.a.always(Script::silent());
        stage.a.clear();
        let start = Instant::now();
        while stage.a.calls().is_empty() {
            let left = tokio::time::timeout(ms(100), stage.client.stream(&ask_stream("m"))).await;
            assert!(start.elapsed() < FIVE, "no request became the probe; {left:?}");
            tokio::time::sleep(ms(30)).await;
        }
        stage.a.wait_peer_closed(0).await;
        stage.a.heal();
        stage.a.clear();
        let load = Load::start(&stage.client, 2, ms(20));
        stage.a.wait_calls(3).await;
        assert!(errors(&load.stop().await).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_belongs_to_a_target_not_to_its_provider() {
    let stage = Stage::single(|c| c.model("n", &["a/n"])).await;
    stage.a.for_model("m", |_| broken());
    for _ in 0..6 {
        stage.chat().await;
    }
    assert_eq!(stage.gw.target("a/m").await["state"], "open");
    assert_eq!(stage.client.chat(&ask("n")).await.code(), 200);
    assert_eq!(stage.gw.target("a/n").await["state"], "closed");
}

/// A passing `GET /models` proves nothing about chats.
#[tokio::test(flavor = "multi_thread")]
async fn a_health_probe_alone_never_closes_a_breaker() {
    let probing =
        |c: ConfigFile| c.set("health", "interval", "\"200ms\"").set("breaker", "open_min", "\"300ms\"");
    let stage = Stage::with(probing).await;
    stage.a.always(broken());
    for _ in 0..6 {
        assert_eq!(stage.chat().await.code(), 200);
    }
    let probe = || async { stage.a.all_calls().iter().any(|c| c.path.ends_with("/models")).then_some(()) };
    eventually("an open target is probed", FIVE, probe).await;
    tokio::time::sleep(ms(800)).await;
    assert_ne!(stage.gw.target("a/m").await["state"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_trip_as_well() {
    let stage = Stage::with(|c| c.set("resilience", "rescue", "\"error\"")).await;
    stage.a.always(Script::sse(openai::chat_chunks("m", SIXTY)).stop_after(5, concierge_testkit::End::Reset));
    let mut broken = 0;
    while stage.client.stream(&ask_stream("m")).await.error().is_some() {
        broken += 1;
        assert!(broken < 20, "{}", stage.gw.target("a/m").await);
    }
    let a = stage.gw.target("a/m").await;
    assert_eq!((&a["state"], &a["failures"]["stream_broken"]), (&json!("open"), &json!(broken)), "{a}");
}

/// R10: a rejected key is the operator's problem, not the client's.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_takes_the_target_out_and_is_never_the_clients_401() {
    let quota = error_body("You exceeded your current quota, check your billing", "insufficient_quota", None);
    for script in [
        Script::status(
            401,
            error_body("bad key sk-a-secret", "invalid_request_error", Some("invalid_api_key")),
        ),
        Script::status(402, error_body("Insufficient credits", "billing", None)),
        Script::status(403, error_body("forbidden", "permission_error", None)),
        Script::status(400, quota),
    ] {
        let stage = Stage::pair().await;
        stage.a.always(script.clone());
        for _ in 0..6 {
            assert_eq!(stage.chat().await.code(), 200, "{script:?}");
        }
        assert!(stage.a.calls().len() <= 3, "{} calls with a bad key: {script:?}", stage.a.calls().len());
        assert_eq!(stage.gw.target("a/m").await["state"], "misconfigured", "{script:?}");
        stage.b.always(script);
        let reply = stage.chat().await;
        assert_eq!((reply.code(), reply.error_code().as_str()), (502, "upstream_auth_error"), "{reply:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("sk-"), "a key in {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_drain_resume_and_reset() {
    let stage = Stage::pair().await;
    let order = |what: &str| format!("/admin/providers/a%2Fm/{what}");
    assert_eq!(stage.client.post(&order("drain"), &json!({})).await.code(), 200);
    assert_eq!(stage.gw.target("a/m").await["state"], "drained");
    assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");
    assert_eq!(stage.client.post(&order("resume"), &json!({})).await.code(), 200);
    assert_eq!(stage.chat().await.header("x-concierge-target"), "a/m");
    stage.a.always(broken());
    for _ in 0..6 {
        stage.chat().await;
    }
    assert_eq!(stage.client.post(&order("reset"), &json!({})).await.code(), 200);
    let a = stage.gw.target("a/m").await;
    assert_eq!(a["state"], "closed", "{a}");
    let whole = stage.client.post("/admin/providers/a/drain", &json!({})).await;
    assert_eq!(whole.code(), 200, "a provider's name stands for all of its targets");
    assert_eq!(stage.gw.target("a/m").await["state"], "drained");
    assert_eq!(stage.client.post("/admin/providers/nobody/drain", &json!({})).await.code(), 404);
}
