//! Checks the whole body of an answer that came with status 200.
//!
//! Providers send errors, HTML pages, nothing, or half an object under a 200, and SDKs present that as a complete
//! answer. The body is checked from end to end, but never changed and never kept.

use serde::de::{Deserialize, Deserializer, MapAccess};
use serde_json::value::RawValue;

use super::{
    Api,
    error::ProviderError,
    json::fields::{self, Items, JsonList, JsonObject, ObjectFields},
    usage::{Usage, UsageCounts},
};

/// The result of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResponseVerdict {
    /// The body is a complete answer.
    Complete { usage: Option<Usage> },
    /// An error under status 200.
    Error(Box<ProviderError>),
    /// An empty body, blank lines, or `null`.
    Empty,
    /// HTML, text, events: does not even begin like JSON.
    NotJson,
    /// Begins as JSON and ends too soon.
    Truncated,
    /// Begins as JSON and is invalid, or is not UTF-8.
    Malformed,
    /// JSON, but without what an answer of this API must have.
    WrongShape,
}

/// Checks a body that came with status 200. White space around it is ignored (DeepSeek sends blank lines first).
pub(crate) fn judge(api: Api, content_type: Option<&str>, body: &[u8]) -> ResponseVerdict {
    if api == Api::Other && !content_type.is_some_and(is_json) {
        return ResponseVerdict::Complete { usage: None };
    }
    let body = body.trim_ascii();
    if body.is_empty() || (body == b"null" && api != Api::Other) {
        return ResponseVerdict::Empty;
    }
    if api != Api::Other && !matches!(body[0], b'{' | b'[') {
        return ResponseVerdict::NotJson;
    }
    let Ok(text) = std::str::from_utf8(body) else { return ResponseVerdict::Malformed };
    match serde_json::from_str::<JsonObject<CheckedResponse>>(text) {
        Ok(JsonObject(answer)) => answer.verdict(api, body),
        Err(error) if error.is_eof() => ResponseVerdict::Truncated,
        Err(_) => ResponseVerdict::Malformed,
    }
}

/// Whether a content type names JSON as one document (not as lines).
fn is_json(content_type: &str) -> bool {
    let mime = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    mime == "application/json" || mime == "text/json" || mime.ends_with("+json")
}

#[derive(Default)]
struct CheckedResponse {
    error: bool,
    object_error: bool,
    is_response: bool,
    failed: bool,
    choices: Elements,
    data: Elements,
    usage: Option<Usage>,
}

impl CheckedResponse {
    fn verdict(self, api: Api, body: &[u8]) -> ResponseVerdict {
        let complete = ResponseVerdict::Complete { usage: self.usage };
        // A failed fine-tuning job that was requested has an `error`, and is a valid answer.
        if api == Api::Other {
            return complete;
        }
        if self.error || self.object_error || self.failed {
            return ResponseVerdict::Error(Box::new(ProviderError::parse(body)));
        }
        if self.choices.failed {
            let message = "the provider finished the answer with an error";
            return ResponseVerdict::Error(Box::new(ProviderError::named(message, "error")));
        }
        let has_what_it_needs = match api {
            Api::Chat | Api::Completions => self.choices.objects > 0,
            Api::Embeddings => self.data.objects > 0,
            Api::Responses => self.is_response,
            Api::Other => true,
        };
        if has_what_it_needs { complete } else { ResponseVerdict::WrongShape }
    }
}

impl<'de> ObjectFields<'de> for CheckedResponse {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "error" => self.error = fields::truthy(map.next_value()?),
            "object" => {
                let object = fields::quoted(map.next_value()?);
                self.object_error = object == Some("error");
                self.is_response |= object == Some("response");
            }
            "output" => self.is_response |= map.next_value::<&RawValue>()?.get().starts_with('['),
            "status" => self.failed = fields::quoted(map.next_value()?) == Some("failed"),
            "choices" => self.choices = map.next_value::<JsonList<_>>()?.0,
            "data" => self.data = map.next_value::<JsonList<_>>()?.0,
            "usage" => self.usage = map.next_value::<JsonObject<UsageCounts>>()?.0.usage(),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

/// The objects of a list.
#[derive(Default)]
struct Elements {
    objects: usize,
    failed: bool,
}

impl<'de> Items<'de> for Elements {
    type Item = Element;

    fn item(&mut self, element: Element) {
        self.objects += usize::from(element.is_object);
        self.failed |= element.failed;
    }
}

#[derive(Default)]
struct Element {
    is_object: bool,
    failed: bool,
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JsonObject::deserialize(deserializer).map(|object| object.0)
    }
}

impl<'de> ObjectFields<'de> for Element {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.is_object = true;
        match key {
            "finish_reason" => self.failed = fields::quoted(map.next_value()?) == Some("error"),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        let failed =
            br#"{"object":"response","status":"failed","output":[],"error":{"code":"c","message":"m"}}"#;
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
        assert_eq!(
            judge(Api::Responses, None, br#"{"object":"chat.completion"}"#),
            ResponseVerdict::WrongShape
        );
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
        let body =
            r#"{"choices":[{"message":{"content":"\ud83d"},"logprob":-1e999}],"choices":[{"n":0.10}]}"#;
        assert_eq!(chat(body), ResponseVerdict::Complete { usage: None });
        let deep = format!(r#"{{"choices":[{{"x":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(chat(&deep), ResponseVerdict::Complete { usage: None });
    }
}
