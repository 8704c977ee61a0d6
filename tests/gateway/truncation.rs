//! S1: an answer is cut at every byte offset, by a close and by a reset, in every framing. A cut answer must
//! never look complete, no token that arrived may be lost, and none may be repeated.

use std::sync::Arc;

use concierge_testkit::{
    End, Heard, Script,
    openai::{DONE, event},
    script::Framing,
};
use serde_json::{Value, json};

use super::setup::{Stage, many, patient};

const WORDS: [&str; 4] = ["one ", "two ", "three ", "four"];
const TEXT: &str = "one two three four";

fn chunk(delta: Value, finish: Option<&str>) -> String {
    event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
}

/// A short stream, so that every offset is affordable.
fn events() -> Vec<String> {
    let mut events = vec![chunk(json!({"role": "assistant"}), None)];
    events.extend(WORDS.map(|word| chunk(json!({"content": word}), None)));
    events.push(chunk(json!({}), Some("stop")));
    events.push(DONE.into());
    events
}

/// The text of the events that are complete after `n` body bytes on the wire.
fn arrived(framing: Framing, n: usize) -> String {
    let mut used = 0;
    let mut text = String::new();
    for (i, event) in events().iter().enumerate() {
        // A chunk is its size line, its bytes and a line end; the event is complete before that line end.
        let before = if framing == Framing::Chunked { format!("{:x}\r\n", event.len()).len() } else { 0 };
        if used + before + event.len() > n {
            break;
        }
        used += before + event.len() + if framing == Framing::Chunked { 2 } else { 0 };
        text.push_str(i.checked_sub(1).and_then(|word| WORDS.get(word)).unwrap_or(&""));
    }
    text
}

/// Sends a request per offset; the offset travels in the body, where an unknown field must survive.
async fn every_offset(stage: &Arc<Stage>, framing: Framing, end: End) -> Vec<(usize, Heard)> {
    let script = Script::sse(events()).framing(framing);
    let (head, whole) = (script.head_len(), script.wire_len());
    stage.b.script(|_| Script::sse(events()));
    stage.a.script(move |r| script.clone().cut(r.json()["cut"].as_u64().unwrap() as usize, end));
    let heard = many(whole, 3, |n| {
        let stage = Arc::clone(stage);
        async move {
            let message = json!({"role": "user", "content": "count"});
            let body = json!({"model": "m", "stream": true, "cut": n, "messages": [message]});
            stage.client.stream(&body).await
        }
    });
    heard.await.into_iter().enumerate().map(|(n, heard)| (n.saturating_sub(head), heard)).collect()
}

/// With `rescue = "error"`: complete, or an error event after exactly the tokens that arrived.
async fn never_complete(framing: Framing, end: End) {
    let stage = Stage::with(|c| patient(c).set("resilience", "rescue", "\"error\"")).await;
    let stage = Arc::new(stage);
    for (n, heard) in every_offset(&stage, framing, end).await {
        let at = format!("{framing:?} {end:?} after {n} body bytes: {heard:?}");
        if heard.error().is_none() {
            assert!(heard.looks_complete() && heard.done(), "neither whole nor an error: {at}");
            assert_eq!(heard.text(), TEXT, "presented as complete: {at}");
            continue;
        }
        assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{at}");
        assert!(!heard.done(), "[DONE] after an error: {at}");
        // An event that lacks only the end of its blank line may be relayed or not: its JSON is complete.
        let (least, most) = (arrived(framing, n), arrived(framing, n + 2));
        assert!(heard.text() == least || heard.text() == most, "lost or doubled: {at}");
    }
}

/// With `rescue = "continue"` and a second target with the same text: always complete.
async fn always_whole(framing: Framing, end: End) {
    let stage = Arc::new(Stage::with(patient).await);
    for (n, heard) in every_offset(&stage, framing, end).await {
        let at = format!("{framing:?} {end:?} after {n} body bytes: {heard:?}");
        assert!(heard.looks_complete() && heard.done(), "{at}");
        assert_eq!(heard.text(), TEXT, "{at}");
        let finishes = heard.chunks().iter().filter(|c| c["choices"][0]["finish_reason"] == "stop").count();
        assert_eq!(finishes, 1, "one end: {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_closed_anywhere_is_never_complete() {
    never_complete(Framing::Chunked, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_reset_anywhere_is_never_complete() {
    never_complete(Framing::Chunked, End::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_framed_answer_closed_anywhere_is_never_complete() {
    never_complete(Framing::Close, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_framed_answer_reset_anywhere_is_never_complete() {
    never_complete(Framing::Close, End::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_closed_anywhere_is_made_whole() {
    always_whole(Framing::Chunked, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_reset_anywhere_is_made_whole() {
    always_whole(Framing::Chunked, End::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_framed_answer_closed_anywhere_is_made_whole() {
    always_whole(Framing::Close, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_framed_answer_reset_anywhere_is_made_whole() {
    always_whole(Framing::Close, End::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http10_answer_closed_anywhere_is_never_complete() {
    never_complete(Framing::Http10, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http10_answer_reset_anywhere_is_never_complete() {
    never_complete(Framing::Http10, End::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http10_answer_closed_anywhere_is_made_whole() {
    always_whole(Framing::Http10, End::Fin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http10_answer_reset_anywhere_is_made_whole() {
    always_whole(Framing::Http10, End::Reset).await;
}

#[test]
fn the_expectation_itself_is_right() {
    let plain: String = events().concat();
    assert_eq!(arrived(Framing::Close, plain.len()), TEXT);
    assert_eq!(arrived(Framing::Close, events()[0].len() + events()[1].len()), "one ");
    assert_eq!(arrived(Framing::Close, events()[0].len() + events()[1].len() - 1), "");
    assert_eq!(arrived(Framing::Chunked, 10_000), TEXT);
}
