//! P2 and P3: large, endless, slow and odd requests and connections.

use std::{sync::Arc, time::Duration};

use concierge_testkit::{
    eventually, ms,
    openai::{ask, long_prompt},
    within,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::setup::{Stage, many};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

async fn small() -> Stage {
    Stage::single(|c| c.set("server", "max_body", "\"64KiB\"")).await
}

fn is_413(said: &[u8]) -> bool {
    let text = String::from_utf8_lossy(said);
    text.starts_with("HTTP/1.1 413") && text.contains("request_too_large")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let stage = small().await;
    let said = stage.client.raw(format!("{HEAD}content-length: 10000000000\r\n\r\n{{"), ms(2000)).await;
    assert!(is_413(&said), "{}", String::from_utf8_lossy(&said));
    let body = json!({"model": "m", "messages": [], "pad": long_prompt(65 << 10)}).to_string();
    let reply = stage.client.post_bytes("/v1/chat/completions", body).await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (413, "request_too_large"));
    assert_eq!(stage.a.calls().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_chunked_body_is_refused() {
    let stage = small().await;
    let mut socket = TcpStream::connect(stage.gw.addr()).await.unwrap();
    socket.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
    let mut sent = 0;
    let mut said = Vec::new();
    while sent < 8 << 20 && !is_413(&said) {
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
        sent += chunk.len();
        let _ = timeout(ms(5), socket.read_buf(&mut said)).await;
    }
    let _ = timeout(ms(1000), socket.read_to_end(&mut said)).await;
    assert!(is_413(&said), "after {sent} bytes: {}", String::from_utf8_lossy(&said));
    assert!(sent < 4 << 20, "it took {sent} bytes to notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_the_limit_passes() {
    let stage = small().await;
    let mut body = ask("m");
    let room = (64 << 10) - body.to_string().len() - r#","pad":"""#.len();
    body["pad"] = "x".repeat(room).into();
    assert_eq!(body.to_string().len(), 64 << 10);
    assert_eq!(stage.client.chat(&body).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_images_at_once_stay_within_memory() {
    let stage = Arc::new(Stage::single(|c| c.set("resilience", "answer_timeout", "\"30s\"")).await);
    stage.chat().await;
    let before = stage.gw.rss();
    let url = format!("data:image/png;base64,{}", "A".repeat(16 << 20));
    let image = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": image}]}).to_string();
    let codes = many(4, 4, |_| {
        let (stage, body) = (Arc::clone(&stage), body.clone());
        async move { stage.client.post_bytes("/v1/chat/completions", body).await.code() }
    });
    assert_eq!(codes.await, [200; 4]);
    let grown = stage.gw.rss().saturating_sub(before) >> 20;
    assert!(grown < 4 * 16 * 3, "{grown} MiB for four bodies of 16 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_100_continue_is_answered() {
    let stage = small().await;
    let body = ask("m").to_string();
    let mut socket = TcpStream::connect(stage.gw.addr()).await.unwrap();
    let head =
        format!("{HEAD}expect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    within("100 Continue", ms(3000), socket.read_buf(&mut said)).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&said));
    socket.write_all(body.as_bytes()).await.unwrap();
    within("the answer", ms(3000), socket.read_to_end(&mut said)).await.unwrap();
    assert!(String::from_utf8_lossy(&said).contains("HTTP/1.1 200"));
}

/// Curl waits for a 100 before it sends a large body; the refusal must come instead.
#[tokio::test(flavor = "multi_thread")]
async fn an_expected_body_that_is_too_large_is_never_asked_for() {
    let stage = small().await;
    let head = format!("{HEAD}expect: 100-continue\r\ncontent-length: 999999999\r\n\r\n");
    let said = stage.client.raw(head, ms(2000)).await;
    assert!(is_413(&said), "{}", String::from_utf8_lossy(&said));
}

/// P3: slow and silent connections are closed and do not slow down others.
#[tokio::test(flavor = "multi_thread")]
async fn slow_connections_do_not_disturb_and_are_closed() {
    let stage = Stage::single(|c| c).await;
    let before = stage.gw.open_files();
    let mut slow = Vec::new();
    for n in 0..150 {
        let mut socket = TcpStream::connect(stage.gw.addr()).await.unwrap();
        match n % 3 {
            0 => {}
            1 => socket.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost:").await.unwrap(),
            _ => socket.write_all(format!("{HEAD}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap(),
        }
        slow.push(socket);
    }
    for _ in 0..20 {
        let reply = within("a healthy answer", ms(3000), stage.chat()).await;
        assert_eq!(reply.code(), 200);
    }
    // The gateway closes by a timer on the heads; the sockets stay open on our side all the while.
    let closed = || async { (stage.gw.open_files() < before + 105).then_some(()) };
    eventually("half-sent heads are closed", Duration::from_secs(40), closed).await;
    drop(slow);
    let all = || async { (stage.gw.open_files() <= before + 12).then_some(()) };
    eventually("all are closed", Duration::from_secs(5), all).await;
}

/// One connection serves many requests, including pipelined ones.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::single(|c| c).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let both = format!("{}{}", get("/livez", ""), get("/nothing", "connection: close\r\n"));
    let said = String::from_utf8(stage.client.raw(both, ms(2000)).await).unwrap();
    let codes: Vec<_> = said.match_indices("HTTP/1.1 ").map(|(i, _)| &said[i + 9..i + 12]).collect();
    assert_eq!(codes, ["200", "404"], "{said}");
}

/// Framing that two parsers could read differently is refused, and the connection is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused() {
    let stage = Stage::single(|c| c).await;
    let smuggled = "0\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding : chunked\r\n",
    ] {
        let said = stage.client.raw(format!("{HEAD}{framing}\r\n{smuggled}"), ms(700)).await;
        let said = String::from_utf8_lossy(&said);
        assert!(said.matches("HTTP/1.1").count() <= 1, "{framing:?}: {said}");
        assert!(!said.starts_with("HTTP/1.1 200"), "{framing:?}: {said}");
    }
    assert_eq!(stage.a.calls().len(), 0);
}
