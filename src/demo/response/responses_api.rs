//! The Responses API: one output item with one text part, and the events that build it.

use serde_json::{Value, json};

use super::{DemoEvents, id, now};
use crate::demo::request::DemoRequest;

/// `POST /responses`
pub(crate) fn responses(ask: &DemoRequest) -> Value {
    response(ask, (&id("resp"), &id("msg")), "completed")
}

/// `POST /responses` with `stream`.
pub(crate) fn responses_stream(ask: &DemoRequest) -> DemoEvents {
    let (response_id, item_id) = (id("resp"), id("msg"));
    let at = |status| response(ask, (&response_id, &item_id), status);
    let place = json!({"item_id": item_id, "output_index": 0, "content_index": 0});
    let mut sequence = 0;
    let mut event = |kind: &str, fields: Value| {
        let mut data = json!({"type": kind, "sequence_number": sequence});
        merge(&mut data, fields);
        sequence += 1;
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let placed = |fields: Value| {
        let mut placed = place.clone();
        merge(&mut placed, fields);
        placed
    };
    let (begun, done) = (item(&item_id, "in_progress", None), item(&item_id, "completed", Some(&ask.text())));
    DemoEvents {
        opening: vec![
            event("response.created", json!({"response": at("in_progress")})),
            event("response.in_progress", json!({"response": at("in_progress")})),
            event("response.output_item.added", json!({"output_index": 0, "item": begun})),
            event("response.content_part.added", placed(json!({"part": part("")}))),
        ],
        words: (ask.words.iter())
            .map(|word| event("response.output_text.delta", placed(json!({"delta": word, "logprobs": []}))))
            .collect(),
        closing: vec![
            event("response.output_text.done", placed(json!({"text": ask.text(), "logprobs": []}))),
            event("response.content_part.done", placed(json!({"part": part(&ask.text())}))),
            event("response.output_item.done", json!({"output_index": 0, "item": done})),
            event("response.completed", json!({"response": at("completed")})),
        ],
    }
}

fn response(ask: &DemoRequest, (id, item_id): (&str, &str), status: &str) -> Value {
    let done = status == "completed";
    let said = ask.words.len();
    json!({
        "id": id,
        "object": "response",
        "created_at": now(),
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": ask.model,
        "output": if done { json!([item(item_id, status, Some(&ask.text()))]) } else { json!([]) },
        "parallel_tool_calls": true,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": done.then(|| json!({
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.prompt_tokens + said,
        })),
    })
}

fn item(id: &str, status: &str, text: Option<&str>) -> Value {
    let content: Vec<_> = text.into_iter().map(part).collect();
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// Adds the `fields` of one object to another.
fn merge(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}
