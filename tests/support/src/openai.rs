//! The payloads of the OpenAI API as a provider writes them, and a healthy provider's response to a request.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{fake::Request, script::Script};

/// Sixty different words: long enough to cut anywhere, and a repeated or lost word shows.
pub const SIXTY: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
sixteen seventeen eighteen nineteen twenty alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima \
mike november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu amber bronze coral denim \
ebony fawn green hazel ivory jade khaki lemon mauve navy";

/// The last event of a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// `data: {json}` with its blank line.
pub fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// `event: name` and `data: {json}`, as the Responses API writes them.
pub fn named(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A whole chat completion.
pub fn chat_answer(model: &str, text: &str) -> String {
    let message = json!({"role": "assistant", "content": text});
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": usage(text),
    })
    .to_string()
}

/// Usage that depends on the text alone: one token per word.
pub fn usage(text: &str) -> Value {
    let said = text.split_whitespace().count();
    json!({"prompt_tokens": 7, "completion_tokens": said, "total_tokens": 7 + said})
}

/// One chat chunk with this delta and finish reason.
pub fn chat_chunk(model: &str, delta: Value, finish: Option<&str>) -> String {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
    }))
}

/// A whole chat stream: the role, a chunk per word, the finish, `[DONE]`. No usage.
pub fn chat_chunks(model: &str, text: &str) -> Vec<String> {
    let mut events = vec![chat_chunk(model, json!({"role": "assistant", "content": ""}), None)];
    events.extend(words(text).map(|word| chat_chunk(model, json!({"content": word}), None)));
    events.push(chat_chunk(model, json!({}), Some("stop")));
    events.push(DONE.into());
    events
}

/// The chunk that carries usage and no choices, sent before `[DONE]` if the request asked for it.
pub fn usage_chunk(model: &str, text: &str) -> String {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": model,
        "choices": [], "usage": usage(text),
    }))
}

/// [`chat_chunks`] with the usage chunk before `[DONE]`.
pub fn chat_chunks_with_usage(model: &str, text: &str) -> Vec<String> {
    let mut events = chat_chunks(model, text);
    events.insert(events.len() - 1, usage_chunk(model, text));
    events
}

/// A stream that calls one function, its arguments in pieces.
pub fn tool_chunks(model: &str, function: &str, arguments: &[&str]) -> Vec<String> {
    let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": function, "arguments": ""}});
    let mut events =
        vec![chat_chunk(model, json!({"role": "assistant", "content": null, "tool_calls": [call]}), None)];
    for piece in arguments {
        let call = json!({"index": 0, "function": {"arguments": piece}});
        events.push(chat_chunk(model, json!({"tool_calls": [call]}), None));
    }
    events.push(chat_chunk(model, json!({}), Some("tool_calls")));
    events.push(DONE.into());
    events
}

/// A legacy completion, streamed.
pub fn completion_chunks(model: &str, text: &str) -> Vec<String> {
    let chunk = |text: &str, finish: Option<&str>| {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish});
        event(
            &json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model, "choices": [choice]}),
        )
    };
    let mut events: Vec<_> = words(text).map(|word| chunk(&word, None)).collect();
    events.push(chunk("", Some("stop")));
    events.push(DONE.into());
    events
}

/// The events of a streamed response, ending with `response.completed`.
pub fn response_events(model: &str, text: &str) -> Vec<String> {
    let mut seq = 0;
    let mut next = |name: &str, mut fields: Value| {
        fields["type"] = name.into();
        fields["sequence_number"] = seq.into();
        seq += 1;
        named(name, &fields)
    };
    let begun =
        json!({"id": "resp_1", "object": "response", "model": model, "status": "in_progress", "output": []});
    let mut events = vec![next("response.created", json!({"response": begun}))];
    for word in words(text) {
        let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word});
        events.push(next("response.output_text.delta", place));
    }
    let whole: Value = serde_json::from_str(&response_answer(model, text)).expect("our own JSON");
    events.push(next("response.completed", json!({"response": whole})));
    events
}

/// A whole response of the Responses API.
pub fn response_answer(model: &str, text: &str) -> String {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    let output = json!([{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}]);
    let said = text.split_whitespace().count();
    let usage = json!({"input_tokens": 7, "output_tokens": said, "total_tokens": 7 + said});
    json!({"id": "resp_1", "object": "response", "created_at": 1, "model": model, "status": "completed",
        "output": output, "usage": usage})
    .to_string()
}

/// A whole embeddings answer.
pub fn embeddings_answer(model: &str) -> String {
    let item = json!({"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 1.0]});
    json!({"object": "list", "data": [item], "model": model, "usage": {"prompt_tokens": 7, "total_tokens": 7}})
        .to_string()
}

/// An error body in OpenAI's shape.
pub fn error_body(message: &str, kind: &str, code: Option<&str>) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

/// The words of a text, each with its space, so that they join to the text again.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_inclusive(' ').map(str::to_owned)
}

/// A healthy provider: answers in the requested form with `text`.
pub fn sane(request: &Request, text: &str) -> Script {
    let model = request.model();
    let stream = request.streams();
    let path = request.path.split('?').next().unwrap_or_default();
    match path.strip_prefix("/v1").unwrap_or(path) {
        "/models" => Script::json(models()),
        "/chat/completions" if stream && request.wants_usage() => {
            Script::sse(chat_chunks_with_usage(&model, text))
        }
        "/chat/completions" if stream => Script::sse(chat_chunks(&model, text)),
        "/chat/completions" => Script::json(chat_answer(&model, text)),
        "/completions" if stream => Script::sse(completion_chunks(&model, text)),
        "/completions" => Script::json(completion_answer(&model, text)),
        "/responses" if stream => Script::sse(response_events(&model, text)),
        "/responses" => Script::json(response_answer(&model, text)),
        "/embeddings" => Script::json(embeddings_answer(&model)),
        "/audio/speech" => {
            Script::new(200).header("content-type", "audio/mpeg").body(Bytes::from_static(b"\xff\xfbnoise"))
        }
        "/audio/transcriptions" => Script::json(r#"{"text":"heard"}"#),
        other => Script::status(404, error_body(&format!("no route {other}"), "invalid_request_error", None)),
    }
}

fn models() -> String {
    json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "fake"}]})
        .to_string()
}

fn completion_answer(model: &str, text: &str) -> String {
    let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": "stop"});
    json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": model, "choices": [choice], "usage": usage(text)})
        .to_string()
}

/// A chat request to `model`.
pub fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Say something."}]})
}

/// [`ask`], streamed.
pub fn ask_stream(model: &str) -> Value {
    json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Say something."}]})
}

/// A prompt of about `bytes` bytes, each line different.
pub fn long_prompt(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 40);
    let mut n = 0;
    while text.len() < bytes {
        let _ = writeln!(text, "line {n}: the quick brown fox \u{1f98a} jumps");
        n += 1;
    }
    text
}
