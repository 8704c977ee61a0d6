//! The gateway's own parsers read these answers: the demo must be a provider that it fully understands.

use serde_json::{Value, json};

use super::*;

fn ask(body: Value) -> DemoRequest {
    DemoRequest::read(&body)
}

/// The JSON of every event, without `[DONE]`.
fn json_of(events: &[String]) -> Vec<Value> {
    let data = events.iter().filter_map(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn all(events: &DemoEvents) -> Vec<String> {
    [&events.opening[..], &events.words, &events.closing].concat()
}

#[test]
fn a_streamed_chat_says_what_a_whole_one_says() {
    let ask = ask(json!({"messages": [{"role": "user", "content": "hi"}]}));
    let events = chat_stream(&ask);
    let said: String = json_of(&events.words)
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, chat(&ask)["choices"][0]["message"]["content"]);
    assert_eq!(json_of(&events.opening)[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(json_of(&events.closing)[0]["choices"][0]["finish_reason"], "stop");
    assert_eq!(events.closing.last().unwrap(), "data: [DONE]\n\n");
}

#[test]
fn usage_comes_only_when_asked_for_and_last() {
    let silent = chat_stream(&ask(json!({"prompt": "hi"})));
    assert!(json_of(&all(&silent)).iter().all(|chunk| chunk.get("usage").is_none()));

    let told = chat_stream(&ask(json!({"prompt": "hi", "stream_options": {"include_usage": true}})));
    let chunks = json_of(&all(&told));
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], told.words.len());
    assert!(others.iter().all(|chunk| chunk["usage"].is_null()));
}

#[test]
fn a_streamed_completion_says_what_a_whole_one_says() {
    let ask = ask(json!({"prompt": "hi"}));
    let events = completions_stream(&ask);
    let said: String = json_of(&events.words)
        .iter()
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, completions(&ask)["choices"][0]["text"]);
    assert!(events.opening.is_empty());
}

#[test]
fn the_events_of_a_response_are_numbered_and_end_with_the_whole() {
    let ask = ask(json!({"input": "hi"}));
    let events = responses_stream(&ask);
    let numbers: Vec<_> =
        json_of(&all(&events)).iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let said: String =
        json_of(&events.words).iter().map(|event| event["delta"].as_str().unwrap().to_owned()).collect();
    let last = json_of(&events.closing).pop().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], said);
    assert_eq!(said, responses(&ask)["output"][0]["content"][0]["text"]);
}

#[test]
fn equal_texts_have_equal_vectors_of_length_one() {
    let vectors = embeddings(&ask(json!({"input": ["a", "b", "a", ""]})));
    let vector = |i: usize| vectors["data"][i]["embedding"].clone();
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    for i in 0..4 {
        let length: f64 = vector(i).as_array().unwrap().iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
}
