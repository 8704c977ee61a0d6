//! One target fails before its first content; the client does not notice.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, End, FakeProvider, Script,
    fake::BlackHole,
    ms,
    openai::{self, SIXTY, ask, ask_stream, chat_chunk, error_body},
    script::Framing,
};
use serde_json::json;
use tokio::time::Instant;

use super::setup::{Load, Stage, errors, gateway, patient};

/// Answers that are not valid for a whole chat, by name.
fn bad_answers() -> Vec<(&'static str, Script)> {
    let cut = openai::chat_answer("m", SIXTY);
    vec![
        ("500", Script::status(500, error_body("boom", "server_error", None))),
        ("502 with HTML", Script::status(502, "<html>bad gateway</html>").header("x-kind", "html")),
        ("503", Script::status(503, "")),
        ("504", Script::status(504, "{}")),
        ("408", Script::status(408, error_body("slow", "timeout", None))),
        ("529", Script::status(529, error_body("overloaded", "overloaded_error", None))),
        ("520", Script::status(520, "origin error")),
        ("498", Script::status(498, error_body("capacity", "capacity_exceeded", None))),
        ("429", Script::status(429, error_body("slow down", "rate_limit", None)).header("retry-after", "7")),
        ("200 empty", Script::json("")),
        ("200 null", Script::json("null")),
        ("200 HTML", Script::new(200).header("content-type", "text/html").body("<html>hello</html>")),
        ("200 error object", Script::json(error_body("overloaded", "server_error", None))),
        ("200 vLLM error", Script::json(r#"{"object":"error","message":"dead","code":500}"#)),
        ("200 without choices", Script::json(r#"{"id":"x","object":"chat.completion"}"#)),
        ("200 cut JSON, length right", Script::json(cut[..cut.len() / 2].to_owned())),
        (
            "200 cut JSON, length wrong",
            Script::json(cut.clone()).framing(Framing::Length(9)).cut_body(cut.len(), End::Fin),
        ),
        ("reset before the head", Script::reset()),
        ("closed before the head", Script::new(200).cut(0, End::Fin)),
        ("closed in the head", Script::json("{}").cut(20, End::Fin)),
        ("reset in the head", Script::json("{}").cut(20, End::Reset)),
        ("reset in the body", Script::json(cut).cut_body(30, End::Reset)),
        ("not HTTP", Script::raw("SSH-2.0-OpenSSH_9.6\r\n")),
        ("silence", Script::silent()),
        ("head, then silence", Script::json("{}").cut_body(0, End::Hang)),
    ]
}

/// Streams that fail before their first content, by name.
fn bad_streams() -> Vec<(&'static str, Script)> {
    let role = || chat_chunk("m", json!({"role": "assistant", "content": ""}), None);
    let sse = |events: Vec<String>| Script::sse(events);
    let error = format!("data: {}\n\n", error_body("boom", "server_error", None));
    vec![
        ("empty stream", sse(vec![])),
        ("only [DONE]", sse(vec![openai::DONE.into()])),
        ("error first", sse(vec![error.clone(), openai::DONE.into()])),
        ("error after the role", sse(vec![role(), error])),
        (
            "vLLM error",
            sse(vec!["data: {\"object\":\"error\",\"message\":\"dead\",\"code\":500}\n\n".into()]),
        ),
        ("event: error", sse(vec!["event: error\ndata: {\"message\":\"boom\"}\n\n".into()])),
        ("OpenRouter error", sse(vec![chat_chunk("m", json!({"content": ""}), Some("error"))])),
        ("JSON cut", sse(vec!["data: {\"choices\":[{\"del\n\n".into()])),
        ("role, then end", sse(vec![role()])),
        ("role, then reset", sse(vec![role(), role()]).stop_after(1, End::Reset)),
        ("role, then silence", sse(vec![role(), role()]).stop_after(1, End::Hang)),
        ("comments for ever", sse(vec![]).then_repeat(": still here\n\n", ms(50))),
        ("roles for ever", sse(vec![]).then_repeat(role(), ms(50))),
        ("blank lines for ever", sse(vec![]).then_repeat("\n\n", ms(50))),
        ("whole error body", Script::json(error_body("boom", "server_error", None))),
        ("HTML", Script::new(200).header("content-type", "text/html").body("<html>")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_moves_on_at_once() {
    let stage = Stage::with(patient).await;
    for (name, script) in bad_answers() {
        // Otherwise a cooldown or an open circuit from one fault would hide the next; each gets a fresh start.
        stage.client.post("/admin/providers/a%2Fm/reset", &json!({})).await;
        stage.a.next(script);
        stage.a.clear();
        let reply = stage.chat().await;
        assert_eq!((reply.code(), reply.text().as_str()), (200, SIXTY), "{name}: {reply:?}");
        assert_eq!(reply.header("x-concierge-target"), "b/m", "{name}");
        assert_eq!(reply.header("x-concierge-attempts"), "2", "{name}");
        assert_eq!(stage.a.calls().len(), 1, "{name}: one attempt at the bad target");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fails_before_content_moves_on_unseen() {
    let stage = Stage::with(patient).await;
    let both = bad_streams().into_iter().chain(bad_answers());
    for (name, script) in both {
        stage.client.post("/admin/providers/a%2Fm/reset", &json!({})).await;
        stage.a.next(script);
        let heard = stage.client.stream(&ask_stream("m")).await;
        assert_eq!((heard.status.as_u16(), heard.text().as_str()), (200, SIXTY), "{name}: {heard:?}");
        assert!(heard.done() && heard.error().is_none(), "{name}");
        assert_eq!(heard.header("x-concierge-target"), "b/m", "{name}");
        assert_eq!(heard.events.iter().filter(|e| e.data.is_some()).count(), 63, "{name}: b's events alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_and_a_port_that_swallows_move_on() {
    let (b, hole) = (FakeProvider::start().await, BlackHole::start().await);
    for url in ["http://no-such-host.invalid/v1", &hole.base_url(), "http://127.0.0.1:1/v1"] {
        let config =
            ConfigFile::quick().provider_at("a", url, "").provider("b", &b).model("m", &["a/m", "b/m"]);
        let gw = gateway(&config).await;
        let start = Instant::now();
        let reply = gw.client().chat(&ask("m")).await;
        assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "b/m"), "{url}");
        assert!(start.elapsed() < Duration::from_secs(8), "{url}: {:?}", start.elapsed());
        assert_eq!(gw.target("a/m").await["failures"]["connect"], 1, "{url}");
    }
}

/// R1: killing a provider under load causes no client error.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_provider_is_not_noticed() {
    let stage =
        Stage::with(|c| c.set("breaker", "open_min", "\"2s\"").set("breaker", "open_max", "\"20s\"")).await;
    let load = Load::start(&stage.client, 8, ms(10));
    stage.a.wait_calls(20).await;
    stage.a.refuse().await;
    tokio::time::sleep(ms(1500)).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    assert!(samples.iter().any(|s| s.target == "b/m"), "b took over");
    let a = stage.gw.target("a/m").await;
    assert_eq!(a["state"], "open", "{a}");
    // Five failures to open the circuit, and those that were in flight then.
    assert!(a["failure_count"].as_u64().unwrap() <= 5 + 8, "{a}");
}

/// R1, the recovery.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_returns_is_used_again() {
    let stage = Stage::pair().await;
    stage.a.refuse().await;
    for _ in 0..8 {
        assert_eq!(stage.chat().await.code(), 200);
    }
    stage.a.accept_again().await;
    stage.a.clear();
    let load = Load::start(&stage.client, 2, ms(20));
    stage.a.wait_calls(3).await;
    assert!(errors(&load.stop().await).is_empty());
}

/// R2: a hanging provider gets no more requests before the first timeout expires, and costs no client more than one.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_provider_is_left_alone() {
    let stage = Stage::with(|c| c.set("routing", "strategy", "\"score\"")).await;
    let load = Load::start(&stage.client, 10, ms(10));
    stage.a.wait_calls(20).await;
    stage.a.always(Script::silent());
    tokio::time::sleep(ms(3000)).await;
    stage.a.clear();
    let from = load.so_far().len();
    tokio::time::sleep(ms(1500)).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    let slowest = samples.iter().map(|s| s.took).max().unwrap();
    assert!(slowest < ms(3500), "one timeout and a normal answer, not {slowest:?}");
    let (asked_a, all) = (stage.a.calls().len(), samples.len() - from);
    assert!(asked_a * 20 <= all, "{asked_a} of {all} new requests still went to the silent provider");
}

/// R3, as far as one machine shows it: dead pooled connections cause no client error.
#[tokio::test(flavor = "multi_thread")]
async fn dead_pooled_connections_are_not_noticed() {
    let stage = Stage::single(|c| c).await;
    for _ in 0..5 {
        assert_eq!(stage.chat().await.code(), 200);
        stage.a.reset_connections().await;
        let heard = stage.client.stream(&ask_stream("m")).await;
        assert!(heard.done(), "{heard:?}");
        stage.a.reset_connections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_provider_are_kept_and_reused() {
    let stage = Stage::single(|c| c).await;
    for _ in 0..20 {
        assert_eq!(stage.chat().await.code(), 200);
        assert!(stage.client.stream(&ask_stream("m")).await.done());
    }
    let last = stage.a.calls().iter().map(|call| call.connection).max().unwrap();
    assert!(last < 4, "{last} connections for 40 requests in a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_bounded_over_all_targets() {
    let config = |a: &FakeProvider, _: &FakeProvider| {
        let five = ["a/m1", "a/m2", "a/m3", "a/m4", "a/m5"];
        ConfigFile::quick().provider("a", a).model("m", &five).set("resilience", "max_attempts", "3")
    };
    let stage = Stage::on(config).await;
    stage.a.always(Script::status(500, "{}"));
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (502, "upstream_error"));
    assert_eq!((reply.header("x-concierge-attempts"), reply.header("x-should-retry")), ("3", "false"));
    let asked: Vec<_> = stage.a.calls().iter().map(|call| call.model()).collect();
    assert_eq!(asked, ["m1", "m2", "m3"], "another target each time");
}

/// A hedge is a second attempt after a delay; the first content wins and the other request is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_hedge_answers_when_the_first_target_is_silent() {
    let hedged = |c: ConfigFile| {
        c.set("resilience", "hedge", "\"200ms\"")
            .set("resilience", "hedge_budget", "1.0")
            .set("resilience", "first_token_timeout", "\"8s\"")
            .set("resilience", "answer_timeout", "\"8s\"")
    };
    let stage = Stage::with(hedged).await;
    stage.a.always(Script::silent());
    let start = Instant::now();
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((heard.text().as_str(), heard.header("x-concierge-target")), (SIXTY, "b/m"));
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    stage.a.wait_peer_closed(0).await;
}
