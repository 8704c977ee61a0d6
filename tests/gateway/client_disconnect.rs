//! S6: the client disconnects, in every phase. The upstream request is closed within 250 ms, nothing stays in
//! flight, and nothing counts against the target.

use std::{sync::Arc, time::Duration};

use concierge_testkit::{
    ConfigFile, Script, eventually,
    fake::BlackHole,
    ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

use super::setup::{Stage, gateway, many};

const CLOSED_WITHIN: Duration = Duration::from_millis(250);

async fn nothing_left(stage: &Stage) {
    let idle = || async {
        let target = stage.gw.target("a/m").await;
        let requests = stage.client.get("/admin/requests").await;
        let none = !String::from_utf8_lossy(&requests.body).contains("\"a/m\"");
        (target["in_flight"] == 0 && none).then_some(target)
    };
    let target = eventually("nothing in flight", Duration::from_secs(5), idle).await;
    assert_eq!((&target["failure_count"], &target["state"]), (&0.into(), &"closed".into()), "{target}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_head() {
    let stage = Stage::single(|c| c.set("resilience", "first_token_timeout", "\"10s\"")).await;
    for (n, body) in [ask("m"), ask_stream("m")].into_iter().enumerate() {
        stage.a.next(Script::silent());
        let left = timeout(ms(300), stage.client.chat(&body)).await;
        assert!(left.is_err(), "it is silent");
        let gone = Instant::now();
        let closed = stage.a.wait_peer_closed(n).await;
        assert!(closed.saturating_duration_since(gone) < CLOSED_WITHIN);
    }
    nothing_left(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_head_and_the_first_token() {
    let stage = Stage::single(|c| c).await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).first_after(ms(900)));
    let left = timeout(ms(300), stage.client.stream(&ask_stream("m"))).await;
    assert!(left.is_err());
    let gone = Instant::now();
    let closed = stage.a.wait_peer_closed(0).await;
    assert!(closed.saturating_duration_since(gone) < CLOSED_WITHIN);
    nothing_left(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_stream_running_or_stalled() {
    let stage = Stage::single(|c| c.set("resilience", "stall_timeout", "\"10s\"")).await;
    let chunks = chat_chunks("m", SIXTY);
    let running = Script::sse(chunks.clone()).every(ms(50));
    let stalled = Script::sse(chunks).stop_after(6, concierge_testkit::End::Hang);
    for (n, script) in [running, stalled].into_iter().enumerate() {
        stage.a.next(script);
        let mut open = stage.client.open_stream(&ask_stream("m")).await;
        open.until("three").await;
        drop(open);
        let gone = Instant::now();
        let closed = stage.a.wait_peer_closed(n).await;
        assert!(closed.saturating_duration_since(gone) < CLOSED_WITHIN, "{n}");
    }
    nothing_left(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_being_connected_to() {
    let hole = BlackHole::start().await;
    let config = ConfigFile::quick()
        .provider_at("a", &hole.base_url(), "")
        .model("m", &["a/m"])
        .set("resilience", "connect_timeout", "\"10s\"")
        .set("resilience", "first_token_timeout", "\"10s\"");
    let gw = gateway(&config).await;
    assert!(timeout(ms(300), gw.client().chat(&ask("m"))).await.is_err());
    let idle = || async { (gw.target("a/m").await["in_flight"] == 0).then_some(()) };
    eventually("nothing in flight", ms(3000), idle).await;
    assert_eq!(gw.target("a/m").await["failure_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_upload() {
    let stage = Stage::single(|c| c).await;
    let mut socket = TcpStream::connect(stage.gw.addr()).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    socket
        .write_all(format!("{head}content-length: 1000\r\n\r\n{{\"model\":\"m\",").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(ms(100)).await;
    drop(socket);
    tokio::time::sleep(ms(200)).await;
    assert_eq!(stage.a.calls().len(), 0, "half a request reaches nobody");
    assert_eq!(stage.chat().await.code(), 200);
    nothing_left(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_leave_at_random_and_nothing_leaks() {
    let stage = Arc::new(Stage::single(|c| c).await);
    stage.a.script(|r| concierge_testkit::openai::sane(r, SIXTY).first_after(ms(20)).every(ms(2)));
    assert_eq!(stage.chat().await.code(), 200);
    let before = stage.gw.open_files();
    many(300, 20, |n| {
        let stage = Arc::clone(&stage);
        async move {
            let patience = ms((n as u64 * 7) % 160);
            let _ = timeout(patience, stage.client.stream(&ask_stream("m"))).await;
        }
    })
    .await;
    let idle = || async { (stage.a.in_flight() == 0).then_some(()) };
    eventually("no upstream request is left", Duration::from_secs(5), idle).await;
    nothing_left(&stage).await;
    assert!(stage.gw.open_files() <= before + 10, "{} files before, {} now", before, stage.gw.open_files());
}

/// Rescue and failover stop as well when the client has left.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_client_that_has_left() {
    let stage = Stage::pair().await;
    stage.a.next(Script::silent());
    assert!(timeout(ms(300), stage.client.stream(&ask_stream("m"))).await.is_err());
    stage.a.wait_peer_closed(0).await;
    tokio::time::sleep(ms(1200)).await;
    assert_eq!(stage.calls(), (1, 0), "the timeout of a dead request failed over");
}
