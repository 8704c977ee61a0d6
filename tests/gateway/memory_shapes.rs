//! Where the block goes in bodies of every shape; a body that cannot take it is forwarded unchanged.

use concierge_testkit::Client;
use serde_json::{Value, json};

use super::setup::Stage;

const FACT: &str = "My violin teacher is called Ottoline and lives in Bergen";
const ASKED: &str = "What is the name of my violin teacher?";

async fn stage() -> (Stage, Client) {
    let stage = Stage::single(|config| config.set("memory", "recall_budget", "\"5s\"")).await;
    let ann = stage.client.clone().header("x-user-id", "ann");
    let kept = ann.post("/v1/memories", &json!({"text": FACT})).await;
    assert_eq!(kept.code(), 201);
    // From here on the index is in memory.
    assert_eq!(ann.post("/v1/memories/search", &json!({"query": ASKED})).await.code(), 200);
    (stage, ann)
}

/// The request the provider gets for `body`, and the note in the response header.
async fn sent(stage: &Stage, client: &Client, path: &str, body: &Value) -> (String, String) {
    stage.a.clear();
    let reply = client.post(path, body).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    let bytes = stage.a.only_call().request.body;
    (String::from_utf8(bytes.to_vec()).unwrap(), reply.header("x-concierge-memory").to_owned())
}

fn holds_note(message: &Value) -> bool {
    message["role"] == "user" && message["content"].as_str().is_some_and(|text| text.contains("Ottoline"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_block_is_directly_before_the_last_words_of_the_user() {
    let (stage, ann) = stage().await;
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let call = json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let user = json!({"role": "user", "content": ASKED});
    let cases = [
        // Images stay where they are, and the question is in the text beside them.
        (vec![json!({"role": "user", "content": [image, {"type": "text", "text": ASKED}]})], 0),
        (vec![json!({"role": "developer", "content": "Be brief."}), user.clone()], 1),
        // A tool's result belongs to the turn of the user's question.
        (
            vec![
                json!({"role": "system", "content": "s"}),
                user.clone(),
                json!({"role": "assistant", "content": null, "tool_calls": call}),
                json!({"role": "tool", "tool_call_id": "c1", "content": "42"}),
            ],
            1,
        ),
        (
            vec![
                json!({"role": "user", "content": "Hello"}),
                json!({"role": "assistant", "content": "Hi"}),
                user.clone(),
            ],
            2,
        ),
    ];
    for (messages, at) in cases {
        let body = json!({"model": "m", "messages": messages});
        let (bytes, note) = sent(&stage, &ann, "/v1/chat/completions", &body).await;
        assert!(note.starts_with("items=1;tokens="), "{note}");
        let mut there: Vec<Value> =
            serde_json::from_str::<Value>(&bytes).unwrap()["messages"].as_array().unwrap().clone();
        assert!(holds_note(&there.remove(at)), "{bytes}");
        assert_eq!(there, messages);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_take_it_as_a_list_and_as_one_string() {
    let (stage, ann) = stage().await;
    let listed = json!([{"role": "user", "content": [{"type": "input_text", "text": ASKED}]}]);
    for input in [json!(ASKED), listed.clone()] {
        let body = json!({"model": "m", "input": input, "instructions": "Be brief."});
        let (bytes, note) = sent(&stage, &ann, "/v1/responses", &body).await;
        assert!(note.starts_with("items=1;"), "{note}");
        let there: Value = serde_json::from_str(&bytes).unwrap();
        assert!(holds_note(&there["input"][0]), "{bytes}");
        let asked = &there["input"][1];
        assert!(*asked == listed[0] || asked["content"] == ASKED, "{bytes}");
        assert_eq!(there["instructions"], "Be brief.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_take_it_goes_as_it_came() {
    let (stage, ann) = stage().await;
    let image = json!([{"type": "image_url", "image_url": {"url": "https://example.org/violin.png"}}]);
    for messages in [
        json!([{"role": "user", "content": image}]),
        json!([{"role": "system", "content": ASKED}]),
        json!([{"role": "user", "content": ASKED}, {"role": "assistant", "content": "The name is"}]),
        json!([{"role": "user", "content": 7}]),
    ] {
        let body = json!({"model": "m", "messages": messages});
        let (bytes, note) = sent(&stage, &ann, "/v1/chat/completions", &body).await;
        assert_eq!(note, "skipped;reason=shape", "{body}");
        assert_eq!(bytes, body.to_string());
    }
    // Other routes do not use memory.
    let body = json!({"model": "m", "prompt": ASKED});
    assert_eq!(sent(&stage, &ann, "/v1/completions", &body).await, (body.to_string(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_conversation_shows_already_is_left_out() {
    let (stage, ann) = stage().await;
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": format!("{FACT}.")},
        {"role": "assistant", "content": "Nice."},
        {"role": "user", "content": ASKED},
    ]});
    let (bytes, note) = sent(&stage, &ann, "/v1/chat/completions", &body).await;
    assert_eq!((bytes, note.as_str()), (body.to_string(), "skipped;reason=empty"));
}

/// The block is limited by the model's window.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_window_has_no_room_for_it() {
    let stage = Stage::on(|a, _| {
        let config = concierge_testkit::ConfigFile::quick().provider("a", a);
        config.model_with("m", &["a/m"], "context_window = 40").set("memory", "recall_budget", "\"5s\"")
    })
    .await;
    let ann = stage.client.clone().header("x-user-id", "ann");
    ann.post("/v1/memories", &json!({"text": FACT})).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": ASKED}]});
    let (bytes, note) = sent(&stage, &ann, "/v1/chat/completions", &body).await;
    assert_eq!((bytes, note.as_str()), (body.to_string(), "skipped;reason=empty"));
}
