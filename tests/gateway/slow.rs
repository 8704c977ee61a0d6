//! S7 and P3: clients that read slowly, not at all, or send their heads slowly. They cost little memory and disturb no
//! other client, and those that read nothing are disconnected.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, Script, eventually, ms,
    openai::{ask_stream, chat_chunk, sane},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::setup::Stage;

const MUTE: usize = 30;
const SLOW: usize = 30;

/// A provider that streams to readers without end, and answers all others quickly.
async fn talkative(change: impl FnOnce(ConfigFile) -> ConfigFile) -> Stage {
    // Without memory: what it loads once is not the cost of a stream.
    let quiet = |c: ConfigFile| c.set("memory", "enabled", "false");
    let stage = Stage::single(|c| change(quiet(c))).await;
    stage.a.script(|request| {
        if !request.streams() {
            return sane(request, "fine");
        }
        let event = chat_chunk("m", json!({"content": "x".repeat(4096)}), None);
        Script::sse([event.clone()]).then_repeat(event, ms(1))
    });
    stage
}

/// A connection with a receive window of this size on which a stream was requested.
async fn reader(stage: &Stage, user: &str, window: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(window).unwrap();
    let mut stream = socket.connect(stage.gw.addr().parse().unwrap()).await.unwrap();
    let body = ask_stream("m").to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let request = format!("{head}\r\nx-user-id: {user}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads at most 40 KB per second, until the connection ends.
async fn sip(mut stream: TcpStream) {
    let mut piece = [0; 4096];
    while matches!(stream.read(&mut piece).await, Ok(n) if n > 0) {
        sleep(ms(100)).await;
    }
}

async fn held(stage: &Stage, kind: &str) -> usize {
    let view = stage.client.get("/admin/slots").await.json();
    let users = view["users"].as_array().unwrap();
    users.iter().filter(|line| line["user"].as_str().unwrap().starts_with(kind)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_cost_little_and_the_mute_are_let_go() {
    let stage = talkative(|c| c.set("resilience", "total_timeout", "\"5m\"")).await;
    // One-time costs of the first stream must not count here.
    stage.client.open_stream(&ask_stream("m")).await.until("xxxx").await;
    let before = stage.gw.rss();
    let (mut mute, mut slow) = (Vec::new(), JoinSet::new());
    for n in 0..MUTE {
        mute.push(reader(&stage, &format!("mute-{n}"), 4096).await);
    }
    for n in 0..SLOW {
        slow.spawn(sip(reader(&stage, &format!("slow-{n}"), 128 << 10).await));
    }
    let all =
        || async { (held(&stage, "mute").await == MUTE && held(&stage, "slow").await == SLOW).then_some(()) };
    eventually("all are served", ms(10_000), all).await;
    sleep(ms(3000)).await;
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(stage.chat().await.code(), 200);
        assert!(asked.elapsed() < ms(2000), "{:?}", asked.elapsed());
    }
    let each = stage.gw.rss().saturating_sub(before) / (MUTE + SLOW) as u64;
    // The text kept for a rescue, 256 KiB at most, and half as much for everything else.
    assert!(each < 384 << 10, "{each} bytes for each stream");
    let gone = || async { (held(&stage, "mute").await == 0).then_some(()) };
    eventually("nobody waits for the mute", Duration::from_secs(50), gone).await;
    assert_eq!(held(&stage, "slow").await, SLOW, "who reads is served");
    drop(mute);
}

/// A provider that is always ahead of its reader never makes the gateway wait, and deadlines must hold all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_sips_gets_no_more_time_than_others() {
    let stage = talkative(|c| c.set("resilience", "total_timeout", "\"3s\"")).await;
    let mut sipping = JoinSet::new();
    sipping.spawn(sip(reader(&stage, "sipping", 16 << 10).await));
    let served = || async { (held(&stage, "sipping").await == 1).then_some(()) };
    eventually("it is served", ms(3000), served).await;
    let over = || async { (held(&stage, "sipping").await == 0).then_some(()) };
    eventually("its time is over", ms(20_000), over).await;
    assert!(sipping.try_join_next().is_none(), "the client is still there");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "the provider was quick");
}

/// One byte a second is not silence, but still not a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_head_is_cut_off() {
    let stage = Stage::single(|c| c).await;
    let begun = Instant::now();
    let mut dripping = JoinSet::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(stage.gw.addr()).await.unwrap();
        dripping.spawn(async move {
            stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nx: ").await.unwrap();
            // Ends when the gateway has closed.
            while stream.write_all(b"x").await.is_ok() {
                sleep(ms(500)).await;
            }
        });
    }
    for _ in 0..20 {
        assert_eq!(stage.chat().await.code(), 200);
    }
    while dripping.join_next().await.is_some() {}
    assert!(begun.elapsed() < ms(15_000 + 3000), "{:?}", begun.elapsed());
}

/// Regression: a client that paused for longer than `stall_timeout` was told that its provider had stalled.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pauses_is_not_the_providers_silence() {
    let stage = Stage::single(|c| c.set("resilience", "rescue", "\"error\"")).await;
    let word = chat_chunk("m", json!({"content": "x".repeat(4096)}), None);
    let mut events = vec![word; 2000];
    events.extend([chat_chunk("m", json!({}), Some("stop")), "data: [DONE]\n\n".to_owned()]);
    stage.a.next(Script::sse(events));
    let mut stream = reader(&stage, "pausing", 16 << 10).await;
    let (mut heard, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    let mut pauses = 0;
    while !heard.ends_with(b"[DONE]\n\n\r\n0\r\n\r\n") {
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "{:?}", String::from_utf8_lossy(&heard[heard.len().saturating_sub(300)..]));
        heard.extend_from_slice(&piece[..n]);
        if heard.len() > pauses * 1_000_000 && pauses < 5 {
            pauses += 1;
            sleep(ms(1500)).await;
        }
    }
    assert!(!heard.windows(18).any(|w| w == b"stream_interrupted"));
}
