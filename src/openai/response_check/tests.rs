use super::*;

const CHAT: &str = r#"{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

fn chat(body: &str) -> ResponseVerdict {
    judge(Api::Chat, Some("application/json"), body.as_bytes())
}

fn is_error(verdict: &ResponseVerdict, message: &str) -> bool {
    matches!(verdict, ResponseVerdict::Error(error) if error.message == message)
}

#[test]
fn a_whole_answer_is_complete_also_after_blank_lines() {
    let usage = Some(Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 });
    assert_eq!(chat(CHAT), ResponseVerdict::Complete { usage });
    assert_eq!(chat(&format!("\n\n\r\n  {CHAT}\n")), ResponseVerdict::Complete { usage });
    assert_eq!(judge(Api::Chat, None, CHAT.as_bytes()), ResponseVerdict::Complete { usage });
}

#[test]
fn what_comes_under_a_200_and_is_no_answer() {
    assert_eq!(chat(""), ResponseVerdict::Empty);
    assert_eq!(chat("\n\n"), ResponseVerdict::Empty);
    assert_eq!(chat("null"), ResponseVerdict::Empty);
    assert_eq!(chat("<html>busy</html>"), ResponseVerdict::NotJson);
    assert_eq!(chat("data: {\"choices\":[{}]}\n\n"), ResponseVerdict::NotJson);
    assert_eq!(chat("\"text\""), ResponseVerdict::NotJson);
    assert_eq!(chat("{}"), ResponseVerdict::WrongShape);
    assert_eq!(chat("[]"), ResponseVerdict::WrongShape);
    assert_eq!(chat(r#"{"choices":[]}"#), ResponseVerdict::WrongShape);
    assert_eq!(chat(r#"{"choices":null}"#), ResponseVerdict::WrongShape);
    assert_eq!(chat(r#"{"choices":[null]}"#), ResponseVerdict::WrongShape);
    assert_eq!(chat(r#"{"choices":[{"a":1}]} x"#), ResponseVerdict::Malformed);
    assert_eq!(judge(Api::Chat, None, b"{\"choices\":[{\"a\":\"\xff\"}]}"), ResponseVerdict::Malformed);
}

#[test]
fn cut_anywhere_it_is_never_complete() {
    for end in 1..CHAT.len() {
        assert_eq!(chat(&CHAT[..end]), ResponseVerdict::Truncated, "{}", &CHAT[..end]);
    }
}

#[test]
fn errors_are_found_in_every_dress() {
    assert!(is_error(&chat(r#"{"error":{"message":"m"}}"#), "m"));
    assert!(is_error(&chat(r#"{"error":"m","choices":[{"a":1}]}"#), "m"));
    assert!(is_error(&chat(r#"{"object":"error","message":"m"}"#), "m"));
    let finished = chat(r#"{"choices":[{"finish_reason":"error"}]}"#);
    assert!(matches!(finished, ResponseVerdict::Error(_)), "{finished:?}");
    let failed = br#"{"object":"response","status":"failed","output":[],"error":{"code":"c","message":"m"}}"#;
    assert!(is_error(&judge(Api::Responses, None, failed), "m"));
}

#[test]
fn an_error_that_says_nothing_is_none() {
    for none in ["null", "false", "\"\"", "{}", "[ ]", "0"] {
        let body = format!(r#"{{"error":{none},"choices":[{{"a":1}}]}}"#);
        assert_eq!(chat(&body), ResponseVerdict::Complete { usage: None }, "{body}");
    }
}

#[test]
fn other_interfaces_need_other_things() {
    let complete = ResponseVerdict::Complete { usage: None };
    assert_eq!(judge(Api::Embeddings, None, br#"{"data":[{"embedding":[0.1]}]}"#), complete);
    assert_eq!(judge(Api::Embeddings, None, br#"{"data":[]}"#), ResponseVerdict::WrongShape);
    assert_eq!(judge(Api::Responses, None, br#"{"object":"response","error":null}"#), complete);
    assert_eq!(judge(Api::Responses, None, br#"{"output":[]}"#), complete);
    assert_eq!(judge(Api::Responses, None, br#"{"object":"chat.completion"}"#), ResponseVerdict::WrongShape);
}

#[test]
fn unknown_interfaces_are_only_checked_as_json_where_they_say_so() {
    let complete = ResponseVerdict::Complete { usage: None };
    assert_eq!(judge(Api::Other, Some("audio/mpeg"), b"\xff\xfb"), complete);
    assert_eq!(judge(Api::Other, None, b""), complete);
    assert_eq!(judge(Api::Other, Some("application/x-ndjson"), b"{}\n{}"), complete);
    let json = Some("Application/JSON; charset=utf-8");
    assert_eq!(judge(Api::Other, json, br#"{"id":"ftjob-1","error":{"message":"m"}}"#), complete);
    assert_eq!(judge(Api::Other, json, b"\"text\""), complete);
    assert_eq!(judge(Api::Other, json, b"{\"text\":\"hel"), ResponseVerdict::Truncated);
    assert_eq!(judge(Api::Other, json, b""), ResponseVerdict::Empty);
    assert_eq!(judge(Api::Other, json, b"<html>"), ResponseVerdict::Malformed);
}

#[test]
fn numbers_and_escapes_that_parsers_stumble_over_are_no_damage() {
    let body = r#"{"choices":[{"message":{"content":"\ud83d"},"logprob":-1e999}],"choices":[{"n":0.10}]}"#;
    assert_eq!(chat(body), ResponseVerdict::Complete { usage: None });
    let deep = format!(r#"{{"choices":[{{"x":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(chat(&deep), ResponseVerdict::Complete { usage: None });
}
