//! P6: malicious providers, and servers that are not providers.

use concierge_testkit::{
    Script, ms,
    openai::{SIXTY, ask, ask_stream, chat_answer, chat_chunk, chat_chunks},
};
use serde_json::json;
use tokio::time::timeout;

use super::setup::{Stage, patient};

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let stage = Stage::single(|c| c).await;
    let elsewhere = format!("{}/chat/completions", stage.b.base_url());
    for status in [301, 302, 307, 308] {
        stage.a.next(Script::status(status, "").header("location", &elsewhere));
        let reply = stage.chat().await;
        assert_eq!((reply.code(), reply.error_code().starts_with("upstream_")), (502, true), "{reply:?}");
        assert_eq!(reply.header("location"), "");
    }
    assert!(stage.b.all_calls().is_empty(), "the key left for another host");
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_http_fails_over_or_works() {
    let stage = Stage::with(patient).await;
    let whole = || Script::json(chat_answer("m", SIXTY));
    let many_1xx = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20_000);
    let nineteen = (0..300).fold(whole(), |s, i| s.header(&format!("x-spam-{i}"), "y"));
    for (name, script) in [
        ("one 1xx", whole().interim("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")),
        ("1xx for ever", whole().interim(many_1xx)),
        ("huge header", whole().header("x-huge", &"h".repeat(2 << 20))),
        ("300 headers", nineteen),
        ("HTTP/0.9", Script::raw("{\"choices\":[]}")),
        (
            "CL and TE",
            Script::raw(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
        ),
        (
            "bad chunk size",
            Script::raw(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            ),
        ),
        ("status 99", Script::raw("HTTP/1.1 99 What\r\ncontent-length: 0\r\n\r\n")),
        ("one byte at a time", whole().dribble(1, ms(0))),
    ] {
        stage.a.next(script);
        let reply = stage.chat().await;
        assert_eq!((reply.code(), reply.text().as_str()), (200, SIXTY), "{name}: {reply:?}");
        stage.client.post("/admin/providers/a/reset", &json!({})).await;
    }
}

/// S5: one event may be 8 MiB; a larger one is a failure, not a crash, and does not use up our memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_passes_and_a_huge_one_fails() {
    let stage = Stage::single(|c| patient(c).set("resilience", "first_token_timeout", "\"30s\"")).await;
    let large = "L".repeat(7 << 20);
    let mut events = chat_chunks("m", "x ");
    events.insert(1, chat_chunk("m", json!({"content": large}), None));
    stage.a.next(Script::sse(events.clone()));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert!(heard.done() && heard.text().len() == large.len() + 2, "{:?}", heard.error());
    let before = stage.gw.rss();
    events.insert(2, chat_chunk("m", json!({"content": "H".repeat(12 << 20)}), None));
    stage.a.next(Script::sse(events));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.error().unwrap()["code"], "stream_interrupted");
    assert!(!heard.done());
    let line = Script::sse(["data: {"]).then_repeat("x".repeat(1 << 20), ms(1));
    stage.a.next(line);
    let heard = timeout(ms(20_000), stage.client.stream(&ask_stream("m"))).await.expect("bounded");
    assert_ne!(heard.status, 200, "{heard:?}");
    assert!(stage.gw.rss().saturating_sub(before) < 64 << 20, "{} bytes more", stage.gw.rss() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_bounded() {
    let stage = Stage::single(|c| {
        c.set("resilience", "answer_timeout", "\"20s\"").set("resilience", "total_timeout", "\"20s\"")
    })
    .await;
    stage.chat().await;
    let before = stage.gw.rss();
    let endless = Script::json("{").header("x", "y").framing(concierge_testkit::script::Framing::Chunked);
    stage.a.next(endless.then_repeat(" ".repeat(1 << 20), ms(1)));
    let reply = timeout(ms(30_000), stage.chat()).await.expect("bounded");
    assert_ne!(reply.code(), 200);
    let grown = stage.gw.rss().saturating_sub(before) >> 20;
    assert!(grown < 300, "{grown} MiB for an answer without an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_events_arrive_in_order() {
    let stage = Stage::single(|c| c).await;
    let words: String = (0..20_000).map(|n| format!("{n} ")).collect();
    stage.a.next(Script::sse([chat_chunks("m", &words).concat()]));
    assert_eq!(stage.client.stream(&ask_stream("m")).await.text(), words);
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_a_providers_words_stays_text() {
    let stage = Stage::pair().await;
    let evil = r#"{"error":{"message":"</td><script>alert(1)</script>\u001b[31m"}}"#;
    for _ in 0..6 {
        stage.a.next(Script::status(500, evil));
        stage.client.chat(&ask("m")).await;
    }
    let browser = stage.client.clone().header("accept", "text/html");
    for path in ["/admin/providers", "/admin"] {
        let page = browser.get(path).await;
        assert!(!String::from_utf8_lossy(&page.body).contains("<script>alert(1)"), "{path}");
    }
    assert!(!stage.gw.logs().contains('\u{1b}'), "terminal escapes of a provider in our log");
}
