//! Answers in OpenAI's shapes: whole, or as the events of a stream.
//!
//! Pure functions; pace and faults are added elsewhere.

mod responses_api;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

pub(crate) use self::responses_api::{responses, responses_stream};
use super::{
    model_names::{CHAT_MODEL, EMBEDDING_MODEL},
    request::{DemoRequest, tokens},
};

/// Length of a simulated embedding.
const DIMENSIONS: usize = 64;

/// A streamed answer: server-sent events, as text.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct DemoEvents {
    /// Sent before the first word.
    pub opening: Vec<String>,
    /// One event for each word.
    pub words: Vec<String>,
    /// Sent after the last word.
    pub closing: Vec<String>,
}

/// `GET /models`
pub(crate) fn models() -> Value {
    let model = |id| json!({"id": id, "object": "model", "created": now(), "owned_by": "concierge-demo"});
    json!({"object": "list", "data": [model(CHAT_MODEL), model(EMBEDDING_MODEL)]})
}

/// `POST /embeddings`: the same text gets the same vector, and each has length 1.
pub(crate) fn embeddings(ask: &DemoRequest) -> Value {
    let data = ask
        .inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector(text)}));
    let sent: usize = ask.inputs.iter().map(|text| tokens(text)).sum();
    json!({
        "object": "list",
        "data": data.collect::<Vec<_>>(),
        "model": ask.model,
        "usage": {"prompt_tokens": sent, "total_tokens": sent},
    })
}

fn vector(text: &str) -> Vec<f32> {
    let seed = text.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = fastrand::Rng::with_seed(seed);
    let raw: Vec<f32> = (0..DIMENSIONS).map(|_| random.f32() - 0.5).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.iter().map(|x| x / length).collect()
}

/// `POST /chat/completions`
pub(crate) fn chat(ask: &DemoRequest) -> Value {
    let message = json!({"role": "assistant", "content": ask.text(), "refusal": null});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    completion(ask, "chat.completion", choice)
}

/// `POST /completions`
pub(crate) fn completions(ask: &DemoRequest) -> Value {
    let choice = json!({"index": 0, "text": ask.text(), "logprobs": null, "finish_reason": "stop"});
    completion(ask, "text_completion", choice)
}

fn completion(ask: &DemoRequest, object: &str, choice: Value) -> Value {
    json!({
        "id": id("chatcmpl"),
        "object": object,
        "created": now(),
        "model": ask.model,
        "choices": [choice],
        "usage": usage(ask),
    })
}

/// `POST /chat/completions` with `stream`.
pub(crate) fn chat_stream(ask: &DemoRequest) -> DemoEvents {
    let choice = |delta: Value, finish: Value| json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
    chunks(
        ask,
        "chat.completion.chunk",
        Some(choice(json!({"role": "assistant", "content": ""}), Value::Null)),
        |word| choice(json!({"content": word}), Value::Null),
        choice(json!({}), json!("stop")),
    )
}

/// `POST /completions` with `stream`.
pub(crate) fn completions_stream(ask: &DemoRequest) -> DemoEvents {
    let choice = |text: &str, finish: Value| json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish});
    chunks(ask, "text_completion", None, |word| choice(word, Value::Null), choice("", json!("stop")))
}

fn chunks(
    ask: &DemoRequest,
    object: &str,
    first: Option<Value>,
    word: impl Fn(&str) -> Value,
    last: Value,
) -> DemoEvents {
    let (id, created) = (id("chatcmpl"), now());
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk =
            json!({"id": id, "object": object, "created": created, "model": ask.model, "choices": choices});
        if ask.wants_usage {
            chunk["usage"] = usage.into();
        }
        format!("data: {chunk}\n\n")
    };
    let mut closing = vec![chunk(json!([last]), None)];
    if ask.wants_usage {
        closing.push(chunk(json!([]), Some(usage(ask))));
    }
    closing.push("data: [DONE]\n\n".to_owned());
    DemoEvents {
        opening: first.map(|first| chunk(json!([first]), None)).into_iter().collect(),
        words: ask.words.iter().map(|text| chunk(json!([word(text)]), None)).collect(),
        closing,
    }
}

fn usage(ask: &DemoRequest) -> Value {
    let said = ask.words.len();
    json!({
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": said,
        "total_tokens": ask.prompt_tokens + said,
    })
}

fn id(kind: &str) -> String {
    format!("{kind}-demo{:016x}", fastrand::u64(..))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
