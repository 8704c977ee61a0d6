//! The text of an answer that came in one piece.
//!
//! Only of an answer that has one choice, is text alone, and was ended by the model or by its length. Half an
//! answer, or one that calls tools, does not mean what its text alone suggests.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{Api, conversation::words_of, json::fields};

/// Finish reasons that mean the text is not the whole answer.
const WITHHELD: [&str; 4] = ["tool_calls", "function_call", "content_filter", "error"];

/// Whether an answer with this finish reason is not the model's whole answer.
pub(super) fn is_withheld(reason: &str) -> bool {
    WITHHELD.contains(&reason)
}

/// The text of `body`, an answer of `api`; `None` unless it is complete and plain text.
pub(crate) fn words(api: Api, body: &[u8]) -> Option<String> {
    let root: &RawValue = serde_json::from_slice(body).ok()?;
    match api {
        Api::Chat => of_chat(root),
        Api::Responses => of_response(root),
        Api::Completions | Api::Embeddings | Api::Other => None,
    }
}

fn of_chat(root: &RawValue) -> Option<String> {
    let choices: Vec<&RawValue> = serde_json::from_str(fields::get(root, "choices")?.get()).ok()?;
    let [choice] = choices[..] else { return None };
    let reason = fields::get(choice, "finish_reason").and_then(fields::string)?;
    let message = fields::get(choice, "message")?;
    let more = ["tool_calls", "function_call", "refusal", "audio"];
    let plain = !more.iter().any(|key| fields::get(message, key).is_some_and(fields::truthy));
    (plain && !is_withheld(&reason)).then(|| words_of(message))
}

fn of_response(root: &RawValue) -> Option<String> {
    let reason = fields::get(root, "incomplete_details").and_then(|why| fields::get(why, "reason"));
    if reason.and_then(fields::string).is_some_and(|reason| is_withheld(&reason)) {
        return None;
    }
    let status = fields::get(root, "status").and_then(fields::string);
    if !matches!(status.as_deref(), None | Some("completed" | "incomplete")) {
        return None;
    }
    let output: Vec<&RawValue> = serde_json::from_str(fields::get(root, "output")?.get()).ok()?;
    let kind = |item: &RawValue| fields::get(item, "type").and_then(fields::string).map(Cow::into_owned);
    let mut said = Vec::new();
    for item in output {
        match kind(item).as_deref() {
            Some("message") | None => said.push(words_of(item)),
            Some("reasoning") => {}
            Some(_) => return None,
        }
    }
    Some(said.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(choices: &str) -> Option<String> {
        words(Api::Chat, format!(r#"{{"id":"x","choices":[{choices}]}}"#).as_bytes())
    }

    #[test]
    fn a_whole_plain_chat_answer_has_words() {
        let says = |reason: &str, more: &str| {
            chat(&format!(
                r#"{{"finish_reason":"{reason}","message":{{"role":"assistant","content":"Rex \u0026 co"{more}}}}}"#
            ))
        };
        for reason in ["stop", "length", "eos"] {
            assert_eq!(says(reason, r#","tool_calls":null,"refusal":null"#).as_deref(), Some("Rex & co"));
        }
        for reason in WITHHELD {
            assert_eq!(says(reason, ""), None, "{reason}");
        }
        assert_eq!(says("stop", r#","tool_calls":[{"id":"c"}]"#), None);
        assert_eq!(chat(r#"{"message":{"content":"a"}}"#), None, "it has not ended");
        let one = r#"{"finish_reason":"stop","message":{"content":"a"}}"#;
        assert_eq!(chat(&format!("{one},{one}")), None, "two answers are none");
        assert_eq!(words(Api::Chat, b"{"), None);
        assert_eq!(words(Api::Embeddings, br#"{"data":[]}"#), None);
    }

    #[test]
    fn a_response_has_the_words_of_its_messages() {
        let says = |status: &str, item: &str| {
            let message = r#"{"type":"message","content":[{"type":"output_text","text":"Rex"}]}"#;
            let body = format!(r#"{{"status":"{status}","output":[{item}{message}]}}"#);
            words(Api::Responses, body.as_bytes())
        };
        assert_eq!(says("completed", r#"{"type":"reasoning"},"#).as_deref(), Some("Rex"));
        assert_eq!(says("incomplete", "").as_deref(), Some("Rex"));
        assert_eq!(says("cancelled", ""), None);
        assert_eq!(says("completed", r#"{"type":"function_call"},"#), None);
    }
}
