//! What each kind of event reads as, with the quirks of the providers that send it.

use bytes::Bytes;

use super::*;
use crate::openai::sse::Framer;

fn event(raw: &str) -> SseEvent {
    event_of(raw.as_bytes())
}

fn event_of(raw: &[u8]) -> SseEvent {
    let mut framer = Framer::new(1 << 20);
    framer.push(Bytes::copy_from_slice(raw));
    framer.next_event().unwrap().or_else(|| framer.finish()).unwrap()
}

fn data(json: &str) -> SseEvent {
    event(&format!("data: {json}\n\n"))
}

fn kind(api: Api, json: &str) -> EventKind {
    read(api, &data(json)).kind
}

fn delta(delta: &str) -> EventKind {
    kind(Api::Chat, &format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#))
}

#[test]
fn content_of_every_sort() {
    for content in [
        r#"{"content":"a"}"#,
        r#"{"role":"assistant","content":" "}"#,
        r#"{"content":"\n"}"#,
        r#"{"content":[{"type":"thinking","thinking":[]}]}"#,
        r#"{"content":null,"reasoning_content":"a"}"#,
        r#"{"content":"","reasoning":"a"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
        r#"{"refusal":"no"}"#,
        r#"{"audio":{"data":"AAAA"}}"#,
    ] {
        assert_eq!(delta(content), EventKind::Content, "{content}");
    }
}

#[test]
fn frames_are_not_content() {
    for frame in [
        r#"{"role":"assistant","content":""}"#,
        r#"{"role":"assistant","content":null}"#,
        r#"{"content":null,"reasoning_content":null,"tool_calls":null}"#,
        r#"{"tool_calls":[],"refusal":null,"reasoning":""}"#,
        "{}",
        "null",
    ] {
        assert_eq!(delta(frame), EventKind::Frame, "{frame}");
    }
    let azure = r#"{"choices":[],"object":"","prompt_filter_results":[{"prompt_index":0}]}"#;
    assert_eq!(kind(Api::Chat, azure), EventKind::Frame);
    assert_eq!(kind(Api::Chat, r#"{"choices":null,"usage":null}"#), EventKind::Frame);
    assert_eq!(kind(Api::Chat, r#"{"object":"chat.completion.chunk","id":"x"}"#), EventKind::Frame);
}

#[test]
fn text_is_that_of_the_first_choice_only() {
    let event = data(
        r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a\n\u00e9"}}]}"#,
    );
    let reading = read(Api::Chat, &event);
    assert_eq!(reading.text.as_ref().unwrap().decode().unwrap(), "a\n\u{e9}");
    assert_eq!((reading.seen, reading.finished, reading.opaque), (0b11, 0, false));
    let other = data(r#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#);
    assert_eq!(read(Api::Chat, &other).text, None);
    let completion = data(r#"{"choices":[{"text":"a","index":0}]}"#);
    assert_eq!(read(Api::Completions, &completion).text.unwrap().escaped(), "a");
    assert_eq!(kind(Api::Completions, r#"{"choices":[{"text":"","index":0}]}"#), EventKind::Frame);
}

#[test]
fn what_cannot_be_spliced_is_said() {
    let flags = |delta: &str| {
        let event = data(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#));
        let reading = read(Api::Chat, &event);
        (reading.reasoning, reading.opaque)
    };
    assert_eq!(flags(r#"{"content":"a"}"#), (false, false));
    assert_eq!(flags(r#"{"reasoning_content":"a"}"#), (true, false));
    assert_eq!(flags(r#"{"tool_calls":[{}]}"#), (false, true));
    assert_eq!(flags(r#"{"content":[{}]}"#), (false, true));
    let twice = data(r#"{"choices":[{"delta":{"content":"a"}},{"index":0,"delta":{"content":"b"}}]}"#);
    assert!(read(Api::Chat, &twice).opaque);
}

#[test]
fn finish_reasons_per_choice() {
    let bits = |choices: &str| {
        let event = data(&format!(r#"{{"choices":[{choices}]}}"#));
        let reading = read(Api::Chat, &event);
        (reading.kind, reading.seen, reading.finished)
    };
    assert_eq!(bits(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#), (EventKind::Frame, 1, 1));
    assert_eq!(
        bits(r#"{"index":0,"delta":{"content":"a"},"finish_reason":"length"}"#),
        (EventKind::Content, 1, 1)
    );
    assert_eq!(
        bits(r#"{"index":2,"finish_reason":"stop"},{"index":1,"finish_reason":""}"#),
        (EventKind::Frame, 6, 4)
    );
    assert_eq!(bits(r#"{"finish_reason":"stop"},{"finish_reason":null}"#), (EventKind::Frame, 3, 1));
    assert_eq!(bits(r#"{"index":1e300,"finish_reason":"stop"}"#), (EventKind::Frame, 1 << 63, 1 << 63));
}

#[test]
fn errors_in_every_dress() {
    let message = |raw: &str| match read(Api::Chat, &event(raw)).kind {
        EventKind::Error(error) => error.message,
        other => format!("{other:?}"),
    };
    assert_eq!(message("data: {\"error\":{\"message\":\"m\",\"code\":502}}\n\n"), "m");
    assert_eq!(message("data: {\"error\":\"m\"}\n\n"), "m");
    assert_eq!(
        message("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"error\":{\"message\":\"m\"}}\n\n"),
        "m"
    );
    assert_eq!(message("data: {\"object\":\"error\",\"message\":\"m\",\"code\":400}\n\n"), "m");
    assert_eq!(message("event: error\ndata: {\"message\":\"m\"}\n\n"), "m");
    assert_eq!(message("event: error\ndata: overloaded\n\n"), "overloaded");
    assert_eq!(message("event: error\n\n"), "");
    let reason = "data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n";
    assert_eq!(message(reason), "the provider finished the answer with an error");
    let inside = "data: {\"choices\":[{\"finish_reason\":\"error\",\"error\":{\"message\":\"m\"}}]}\n\n";
    assert_eq!(message(inside), "m");
    assert_eq!(delta(r#"{"content":"a"},"error":null"#), EventKind::Content);
    assert_eq!(
        kind(Api::Chat, r#"{"error":null,"choices":[{"delta":{"content":"error"}}]}"#),
        EventKind::Content
    );
}

#[test]
fn usage_wherever_it_stands() {
    let usage = |json: &str| {
        let event = data(json);
        let reading = read(Api::Chat, &event);
        (reading.kind, reading.usage.map(|usage| usage.total_tokens))
    };
    assert_eq!(usage(r#"{"choices":[],"usage":{"total_tokens":3}}"#), (EventKind::UsageOnly, Some(3)));
    assert_eq!(usage(r#"{"choices":null,"usage":{"total_tokens":3}}"#), (EventKind::UsageOnly, Some(3)));
    assert_eq!(
        usage(r#"{"choices":[{"delta":{}}],"usage":{"total_tokens":3}}"#),
        (EventKind::Frame, Some(3))
    );
    assert_eq!(usage(r#"{"choices":[{"delta":{"content":"a"}}],"usage":null}"#), (EventKind::Content, None));
    assert_eq!(
        usage(r#"{"choices":[{"delta":{}}],"x_groq":{"usage":{"total_tokens":3}}}"#),
        (EventKind::Frame, Some(3))
    );
    assert_eq!(usage(r#"{"usage":{"total_tokens":3},"usage":{"total_tokens":4},"choices":[]}"#).1, Some(4));
}

#[test]
fn noise_is_not_damage_and_damage_is_not_noise() {
    for noise in [
        ": keep-alive\n\n",
        "\n",
        "data:\n\n",
        "data: ping\n\n",
        "event: ping\n\n",
        "data: null\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "data: {\"type\":\"ping\"}\n\n",
        "data: []\n\n",
        "id: 1\nretry: 3\n\n",
        "data: 12\n\n",
        "event: ping\ndata: {\"object\":\"ping\"}\n\n",
    ] {
        assert_eq!(read(Api::Chat, &event(noise)).kind, EventKind::Noise, "{noise:?}");
    }
    for damage in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\n\n",
        "data: {\"a\":1}}\n\n",
        "data: [1\n\n",
        "data: {a:1}\n\n",
        "data: {\"a\":\"x\ndata: y\"}\n\n",
    ] {
        assert_eq!(read(Api::Chat, &event(damage)).kind, EventKind::Malformed, "{damage:?}");
    }
    assert_eq!(
        read(Api::Chat, &event_of(b"data: {\"choices\":[{\"x\":\"\xff\"}]}\n\n")).kind,
        EventKind::Malformed
    );
}

#[test]
fn the_end_and_an_odd_event_name() {
    for done in [
        "data: [DONE]\n\n",
        "data:[DONE]\r\n\r\n",
        "data: [DONE] \n\n",
        "event: done\ndata: [DONE]\n\n",
        "data: [DONE]",
    ] {
        assert_eq!(read(Api::Chat, &event(done)).kind, EventKind::Done, "{done:?}");
    }
    let named = "event: completion\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    assert_eq!(read(Api::Chat, &event(named)).kind, EventKind::Content, "SDKs read it, so it is content");
}

#[test]
fn json_over_several_data_lines() {
    let event = event("data: {\"choices\":\ndata:  [{\"delta\":{\"content\":\ndata: \"a\"}}]}\n\n");
    let reading = read(Api::Chat, &event);
    assert_eq!((reading.kind, reading.text.unwrap().escaped()), (EventKind::Content, "a"));
}

#[test]
fn a_key_given_twice_is_read_as_clients_read_it() {
    let event = data(
        r#"{"choices":[{"delta":{"content":"b"}}],"choices":[{"delta":{"content":"x","content":"a"}}]}"#,
    );
    assert_eq!(read(Api::Chat, &event).text.unwrap().escaped(), "a");
    assert_eq!(delta(r#"{"content":"a","content":null}"#), EventKind::Frame);
}

#[test]
fn a_character_cut_in_two_is_put_together_again() {
    let (first, second) = (
        data(r#"{"choices":[{"delta":{"content":"a\ud83d"}}]}"#),
        data(r#"{"choices":[{"delta":{"content":"\ude00b"}}]}"#),
    );
    let (first, second) = (read(Api::Chat, &first), read(Api::Chat, &second));
    assert_eq!((&first.kind, &second.kind), (&EventKind::Content, &EventKind::Content));
    let (first, second) = (first.text.unwrap(), second.text.unwrap());
    assert_eq!((first.decode(), second.decode()), (None, None));
    let whole = [first.escaped(), second.escaped()].concat();
    assert_eq!(unescape(&whole).unwrap(), "a\u{1f600}b");
}

#[test]
fn strange_types_where_we_look_do_no_harm() {
    for json in [
        r#"{"choices":7}"#,
        r#"{"choices":"x"}"#,
        r#"{"choices":{"delta":1}}"#,
        r#"{"choices":[null,7,"x",[]]}"#,
        r#"{"choices":true}"#,
        r#"{"choices":[{"delta":[],"index":"x","finish_reason":{}}]}"#,
        r#"{"usage":7,"x_groq":[],"choices":[]}"#,
        r#"{"choices":-1.5}"#,
    ] {
        assert_eq!(kind(Api::Chat, json), EventKind::Frame, "{json}");
    }
    let deep = format!("{{\"choices\":[],\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(kind(Api::Chat, &deep), EventKind::Frame);
}

#[test]
fn responses_by_type() {
    let table = [
        (r#"{"type":"response.created","response":{"usage":null,"error":null}}"#, EventKind::Frame),
        (r#"{"type":"response.output_item.added","item":{"type":"message"}}"#, EventKind::Frame),
        (r#"{"type":"response.output_text.delta","delta":"a"}"#, EventKind::Content),
        (r#"{"type":"response.output_text.delta","delta":""}"#, EventKind::Frame),
        (r#"{"type":"response.reasoning_summary_text.delta","delta":"a"}"#, EventKind::Content),
        (r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#, EventKind::Content),
        (r#"{"type":"response.output_item.done","item":{"type":"function_call"}}"#, EventKind::Content),
        (r#"{"type":"response.output_item.done","item":{"type":"reasoning"}}"#, EventKind::Frame),
        (
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#,
            EventKind::Frame,
        ),
        (r#"{"type":"keepalive"}"#, EventKind::Noise),
        (r#"{"x":1}"#, EventKind::Noise),
        (r#"{"type":"response.output_text.delta","delta":"a"#, EventKind::Malformed),
        ("ping", EventKind::Noise),
    ];
    for (json, expected) in table {
        assert_eq!(kind(Api::Responses, json), expected, "{json}");
    }
    for failed in [
        r#"{"type":"error","code":"c","message":"m","param":null}"#,
        r#"{"type":"error","error":{"type":"t","code":"c","message":"m"}}"#,
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"c","message":"m"}}}"#,
    ] {
        let EventKind::Error(error) = kind(Api::Responses, failed) else { panic!("{failed}") };
        assert_eq!((&*error.message, error.code.as_deref()), ("m", Some("c")), "{failed}");
    }
}

#[test]
fn responses_text_end_and_usage() {
    let text = data(r#"{"type":"response.output_text.delta","output_index":0,"delta":"a"}"#);
    let reading = read(Api::Responses, &text);
    assert_eq!((reading.seen, reading.finished, reading.opaque), (1, 0, false));
    assert_eq!(reading.text.unwrap().escaped(), "a");
    let end =
        data(r#"{"type":"response.incomplete","response":{"usage":{"input_tokens":1,"output_tokens":2}}}"#);
    let reading = read(Api::Responses, &end);
    assert_eq!((reading.finished, reading.usage.unwrap().total_tokens), (1, 3));
    let call = data(r#"{"type":"response.output_item.added","item":{"type":"function_call"}}"#);
    assert!(read(Api::Responses, &call).opaque);
}

#[test]
fn an_unknown_interface_has_content_and_errors() {
    for content in ["{\"type\":\"transcript.text.delta\"}", "text", "{\"a\":", "null"] {
        assert_eq!(kind(Api::Other, content), EventKind::Content, "{content}");
    }
    assert_eq!(kind(Api::Other, ""), EventKind::Noise);
    assert_eq!(kind(Api::Other, "[DONE]"), EventKind::Done);
    assert!(matches!(kind(Api::Other, r#"{"error":{"message":"m"}}"#), EventKind::Error(_)));
}
