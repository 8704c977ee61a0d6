//! L1: SIGTERM. Readiness turns at once, new requests are refused, running streams finish until the time is up.

use std::time::Duration;

use concierge_testkit::{
    Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunk, chat_chunks},
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::setup::Stage;

async fn until_refused(stage: &Stage) {
    let refused = || async {
        let ready = stage.client.get("/readyz").await;
        (ready.code() == 503).then_some(())
    };
    eventually("readiness turns", ms(3000), refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_streams_finish_and_new_requests_are_refused() {
    let mut stage = Stage::single(|c| c.set("server", "drain_timeout", "\"10s\"")).await;
    stage.a.script(|_| Script::sse(chat_chunks("m", SIXTY)).every(ms(20)));
    let mut streams = JoinSet::new();
    for _ in 0..20 {
        let client = stage.client.clone();
        streams.spawn(async move { client.stream(&ask_stream("m")).await });
    }
    stage.a.wait_calls(20).await;
    stage.gw.signal("TERM");
    until_refused(&stage).await;
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (503, "shutting_down"), "{reply:?}");
    assert_eq!(stage.client.get("/livez").await.code(), 200, "it is alive until it is gone");
    while let Some(heard) = streams.join_next().await {
        let heard = heard.unwrap();
        assert!(heard.done() && heard.text() == SIXTY, "{heard:?}");
    }
    let status = stage.gw.wait_exit(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_do_not_end_get_an_error_event() {
    for signal in ["TERM", "INT"] {
        let mut stage = Stage::single(|c| c.set("server", "drain_timeout", "\"1s\"")).await;
        let word = chat_chunk("m", json!({"content": "more "}), None);
        stage.a.always(Script::sse([word.clone()]).then_repeat(word, ms(50)));
        let mut open = stage.client.open_stream(&ask_stream("m")).await;
        open.until("more").await;
        let start = Instant::now();
        stage.gw.signal(signal);
        let heard = open.hear().await;
        assert!(heard.error().is_some() && !heard.done(), "{heard:?}");
        let took = start.elapsed();
        assert!(took > ms(800) && took < ms(10_000), "{took:?}");
        assert_eq!(stage.gw.wait_exit(Duration::from_secs(3)).await.code(), Some(0));
        stage.a.wait_peer_closed(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_stops_at_once() {
    let mut stage = Stage::single(|c| c.set("server", "drain_timeout", "\"30s\"")).await;
    stage.chat().await;
    stage.gw.signal("TERM");
    assert_eq!(stage.gw.wait_exit(Duration::from_secs(3)).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_request_is_answered_before_the_end() {
    let mut stage = Stage::single(|c| c.set("server", "drain_timeout", "\"1s\"")).await;
    stage.a.always(Script::silent());
    let client = stage.client.clone().header("x-concierge-timeout", "20s");
    let mut asked = JoinSet::new();
    asked.spawn(async move { client.chat(&ask("m")).await });
    stage.a.wait_calls(1).await;
    stage.gw.signal("TERM");
    let reply = asked.join_next().await.unwrap().unwrap();
    assert!(matches!(reply.code(), 502..=504), "an answer, not a reset: {reply:?}");
    assert!(!reply.error_code().is_empty());
    assert_eq!(stage.gw.wait_exit(Duration::from_secs(4)).await.code(), Some(0));
}
