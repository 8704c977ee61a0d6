//! `capture = "both"`: the model's answer is stored beside the user's message, once, and only if it is complete.

use std::time::Duration;

use concierge_testkit::{
    Client, openai,
    script::{End, Script},
    wait,
};
use http::Method;
use serde_json::{Value, json};

use super::setup::Stage;

const LONG: Duration = Duration::from_secs(30);
const ANSWER: &str = "Ottoline rehearses every Tuesday in Bergen";

async fn stage(capture: &str) -> Stage {
    let stage = Stage::single(|config| {
        config.set("memory", "recall_budget", "\"5s\"").set("memory", "capture", &format!("{capture:?}"))
    })
    .await;
    stage.a.script(|request| openai::sane(request, ANSWER));
    stage
}

fn of(stage: &Stage, user: &str) -> Client {
    stage.client.clone().header("x-user-id", user)
}

fn says(text: &str, stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]})
}

/// Role and text of what is stored, oldest first.
async fn kept(client: &Client) -> Vec<(String, String)> {
    let list = client.get("/v1/memories").await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list["data"].as_array().unwrap().iter().map(|item| (text(&item["role"]), text(&item["text"]))).collect()
}

/// What is stored once the user has said `last`: everything before it has been written by then.
async fn kept_before(client: &Client, last: &str) -> Vec<(String, String)> {
    client.chat(&says(last, false)).await;
    wait::eventually("the last words", LONG, || async {
        let kept = kept(client).await;
        let at = kept.iter().position(|(_, text)| text == last)?;
        Some(kept[..at].to_vec())
    })
    .await
}

fn turns(turns: &[(&str, &str)]) -> Vec<(String, String)> {
    turns.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_after_what_it_answers_in_every_form() {
    let stage = stage("both").await;
    let asked = "When does she rehearse?";
    for (user, path, stream) in [
        ("whole", "/v1/chat/completions", false),
        ("stream", "/v1/chat/completions", true),
        ("response", "/v1/responses", false),
        ("response stream", "/v1/responses", true),
    ] {
        let client = of(&stage, user);
        let body = match path {
            "/v1/responses" => json!({"model": "m", "input": asked, "stream": stream}),
            _ => says(asked, stream),
        };
        assert_eq!(client.post(path, &body).await.code(), 200);
        wait::eventually(user, LONG, || async {
            (kept(&client).await == turns(&[("user", asked), ("assistant", ANSWER)])).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_recalled_with_its_speaker() {
    let stage = stage("both").await;
    let ann = of(&stage, "ann");
    ann.chat(&says("Tell me about the rehearsals", false)).await;
    wait::eventually("the answer", LONG, || async { (kept(&ann).await.len() == 2).then_some(()) }).await;
    stage.a.clear();
    let reply = ann.chat(&says("On which day does Ottoline rehearse?", false)).await;
    assert!(reply.header("x-concierge-memory").starts_with("items="), "{reply:?}");
    let sent = stage.a.only_call().request.json();
    let note = sent["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(note.contains(&format!("assistant: {ANSWER}")), "{note}");
}

/// A client sends its whole history with each request: nothing of it is stored twice, even if it is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_sent_again_is_not_remembered_again() {
    let stage = stage("both").await;
    let ann = of(&stage, "ann");
    let mut messages = Vec::new();
    for said in ["first", "second", "third"] {
        messages.push(json!({"role": "user", "content": said}));
        ann.stream(&json!({"model": "m", "stream": true, "messages": messages})).await;
        messages.push(json!({"role": "assistant", "content": ANSWER}));
    }
    let expected = turns(&[("user", "first"), ("assistant", ANSWER), ("user", "second"), ("user", "third")]);
    assert_eq!(kept_before(&ann, "end").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_end_as_an_answer_is_not_kept() {
    let stage = stage("both").await;
    let ann = of(&stage, "ann");
    let chunks = openai::chat_chunks("m", ANSWER);
    let filtered: Vec<String> =
        chunks.iter().map(|chunk| chunk.replace("\"stop\"", "\"content_filter\"")).collect();
    let secret = openai::chat_answer("m", "Your password is hunter2secret");
    stage.a.next(Script::sse(chunks.clone()).stop_after(4, End::Reset));
    // Nor do the targets that could continue it.
    (0..3).for_each(|_| stage.a.next(Script::reset()));
    ann.stream(&says("cut", true)).await;
    stage.a.heal();
    stage.a.script(|request| openai::sane(request, ANSWER));
    for (said, stream, script) in [
        ("tools", true, Script::sse(openai::tool_chunks("m", "f", &["{}"]))),
        ("filtered", true, Script::sse(filtered)),
        ("secret", false, Script::json(secret)),
    ] {
        stage.a.next(script);
        ann.post("/v1/chat/completions", &says(said, stream)).await;
    }
    // A client that leaves has not received it.
    stage.a.next(Script::sse(chunks).every(Duration::from_millis(300)));
    let mut open = ann.open_stream(&says("left", true)).await;
    open.until("rehearses").await;
    drop(open);
    // The gateway notices that after a while, and only then is the call over.
    wait::eventually("the one that left", LONG, || async {
        kept(&ann).await.iter().any(|(_, text)| text == "left").then_some(())
    })
    .await;
    let mut kept = kept_before(&ann, "end").await;
    kept.sort();
    assert_eq!(
        kept,
        turns(&[
            ("user", "cut"),
            ("user", "filtered"),
            ("user", "left"),
            ("user", "secret"),
            ("user", "tools")
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_kept_only_where_that_was_asked_for() {
    let silent = stage("user").await;
    let ann = of(&silent, "ann");
    ann.chat(&says("hello", false)).await;
    assert_eq!(kept_before(&ann, "end").await, turns(&[("user", "hello")]));
    let both = stage("both").await;
    let bob = of(&both, "bob");
    bob.clone().header("x-concierge-memory", "read").chat(&says("hello", false)).await;
    bob.clone().header("x-concierge-memory", "off").chat(&says("hello", true)).await;
    assert_eq!(kept_before(&bob, "end").await, []);
    let all = bob.send(Method::DELETE, "/v1/memories", bytes::Bytes::new()).await;
    assert!(all.json()["deleted"].as_u64().unwrap() >= 1);
}
