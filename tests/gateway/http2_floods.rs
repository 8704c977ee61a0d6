//! P7: HTTP/2 clients that flood, and one that reads nothing. They only lose their own connection.

use std::time::Duration;

use concierge_testkit::{
    Call, ConfigFile, Script, eventually, ms,
    openai::{ask_stream, chat_chunk, sane},
    raw_h2::{self, END_STREAM, RawH2, data, headers, kind, open_window},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    http2::{BODY, GOOD, WINDOW},
    setup::Stage,
};

async fn nothing_runs(stage: &Stage) {
    let idle = || async {
        let slots = stage.client.get("/admin/requests").await.json();
        (stage.a.in_flight() == 0 && slots["requests"] == json!([])).then_some(())
    };
    eventually("nothing runs any more", Duration::from_secs(10), idle).await;
}

/// P7: requests that are reset at once, thousands on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_leave_nothing_behind() {
    let stage = Stage::single(|c| c).await;
    stage.a.script(|request| sane(request, "fine").head_after(ms(50)));
    let before = stage.gw.rss();
    let mut client = RawH2::connect(stage.gw.addr(), WINDOW).await;
    for n in 0..3000 {
        let stream = 2 * n + 1;
        let body = data(stream, BODY.as_bytes());
        let request = [headers(stream, &GOOD, 0), body, raw_h2::reset(stream)].concat();
        if !client.send(&request).await {
            break;
        }
    }
    assert_eq!(stage.chat().await.code(), 200, "others are served meanwhile");
    nothing_runs(&stage).await;
    assert!(stage.a.high_water() <= 11, "no more at once than the user's slots: {}", stage.a.high_water());
    let grown = stage.gw.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0);
}

/// P7: frames that need a reply, and heads that never end.
#[tokio::test(flavor = "multi_thread")]
async fn floods_cost_only_their_own_connection() {
    let stage = Stage::single(|c| c).await;
    assert_eq!(stage.chat().await.code(), 200);
    let before = stage.gw.rss();
    let pings = raw_h2::frame(kind::PING, 0, 0, b"pingping").repeat(1000);
    let settings = raw_h2::frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(1000);
    let more = raw_h2::frame(kind::CONTINUATION, 0, 1, &raw_h2::block(&[("x-a", "b")]).repeat(100));
    let begun = raw_h2::frame(kind::HEADERS, 0, 1, &raw_h2::block(&GOOD));
    let empty = raw_h2::frame(kind::DATA, 0, 1, &[]).repeat(1000);
    let floods = [
        (Vec::new(), pings),
        (Vec::new(), settings),
        (begun, more.repeat(20)),
        (headers(1, &GOOD, 0), empty),
    ];
    for (first, flood) in floods {
        let mut client = RawH2::connect(stage.gw.addr(), WINDOW).await;
        client.send(&first).await;
        // Nothing is read: the gateway's replies must not pile up in its memory.
        let pour = async { while client.send(&flood).await {} };
        let _ = tokio::time::timeout(ms(1000), pour).await;
        let asked = Instant::now();
        assert_eq!(stage.chat().await.code(), 200);
        assert!(asked.elapsed() < ms(2000), "{:?}", asked.elapsed());
    }
    let grown = stage.gw.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(stage.calls().0, 5, "no flood was a request");
}

fn request(stream: u32, user: &str, body: &str) -> Vec<u8> {
    let mut fields: Vec<(&str, &str)> = GOOD.to_vec();
    fields.push(("x-user-id", user));
    [headers(stream, &fields, 0), data(stream, body.as_bytes())].concat()
}

async fn holds_a_slot(stage: &Stage, user: &str) -> bool {
    let view = stage.client.get("/admin/slots").await.json();
    view["users"].as_array().unwrap().iter().any(|line| line["user"] == user)
}

/// A client that answers every ping and never opens its window: no timer of the connection notices anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_opens_its_window_loses_its_slot_and_nothing_else() {
    let patient = |c: ConfigFile| c.set("resilience", "total_timeout", "\"5m\"");
    let stage = Stage::single(patient).await;
    stage.a.script(|request| {
        if !request.streams() {
            return sane(request, "fine");
        }
        let event = chat_chunk("m", json!({"content": "x".repeat(4096)}), None);
        Script::sse([event.clone()]).then_repeat(event, ms(5))
    });
    let mut client = RawH2::connect(stage.gw.addr(), 0).await;
    client.send(&request(1, "stream", &ask_stream("m").to_string())).await;
    client.send(&request(3, "whole", BODY)).await;
    let begun = Instant::now();
    let (mut resets, mut asked, mut served) = (Vec::new(), 0, 0);
    while resets.len() < 2 || served < asked {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "still held: {resets:?}, {served} of {asked} served"
        );
        if resets.len() < 2 {
            // Other streams of this connection continue all the while.
            let stream = 5 + 2 * asked;
            client.send(&request(stream, "sane", BODY)).await;
            client.send(&open_window(stream, 1 << 16)).await;
            asked += 1;
        }
        while let Some(frame) = client.next(ms(1000)).await {
            match frame.kind {
                kind::RST_STREAM => resets.push(frame.stream),
                kind::DATA if frame.flags & END_STREAM != 0 => served += 1,
                _ => {}
            }
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(25), "who pauses for a moment is not mute");
    resets.sort_unstable();
    assert_eq!(resets, [1, 3]);
    for user in ["stream", "whole"] {
        assert!(!holds_a_slot(&stage, user).await, "{user} is mute and holds a slot");
    }
    let ended = |calls: &[Call]| calls.iter().find(|call| call.streams())?.peer_closed;
    stage.a.wait_for("the mute client's stream ends", ended).await;
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "the provider is not to blame");
}
