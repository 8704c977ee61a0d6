//! What was said in a conversation: the words of chat messages and of Responses input, and where a note may go.
//!
//! Pictures, sounds, files and tool traffic are no words. A body whose shape we do not know has no conversation, and
//! then nothing is put into it.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::{
    json::{self, Fields, Object},
    request::{self, Peek},
    splice::{Edit, Parts},
};

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// `user`, `assistant`, `system`, `developer`, `tool` or anything a client may write.
    pub role: Cow<'a, str>,
    /// The words, text parts joined by a line break; empty where there are none.
    pub text: String,
    /// Where the message lies in the body.
    pub at: Range<usize>,
}

/// A conversation, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation<'a> {
    /// What was said.
    pub said: Vec<Said<'a>>,
    /// `input` is one string, not a list: to put something before it, it has to become one.
    plain: bool,
}

impl<'a> Conversation<'a> {
    /// The conversation of `body`, which must be the body that was peeked into; `None` if it has none.
    pub fn read(body: &'a [u8], peek: &Peek) -> Option<Self> {
        let (at, plain) = match (&peek.messages, &peek.input) {
            (Some(messages), _) => (messages.clone(), false),
            (None, Some(input)) => (input.clone(), body.get(input.start) == Some(&b'"')),
            (None, None) => return None,
        };
        let text = std::str::from_utf8(body.get(at.clone())?).ok()?;
        if plain {
            let text: String = serde_json::from_str(text).ok()?;
            return Some(Self { said: vec![Said { role: Cow::Borrowed("user"), text, at }], plain });
        }
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let said = items.into_iter().map(|item| {
            let inside = json::range_in(text, item);
            read_one(item, at.start + inside.start..at.start + inside.end)
        });
        Some(Self { said: said.collect(), plain })
    }

    /// What the user said last, if the user was the last to speak in words: to this the model will answer.
    pub fn last_user(&self) -> Option<&Said<'a>> {
        let last = self.said.iter().rposition(|said| said.role == "user" && !said.text.trim().is_empty())?;
        // A tool's result after it belongs to the same turn.
        let answered =
            self.said[last + 1..].iter().any(|said| said.role == "assistant" && !said.text.is_empty());
        (!answered).then(|| &self.said[last])
    }

    /// The place directly before `said`.
    pub fn before(&self, said: &Said<'_>) -> Place {
        Place { at: said.at.clone(), plain: self.plain }
    }
}

/// Where a note can be put into a body: directly before something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    at: Range<usize>,
    plain: bool,
}

impl Place {
    /// `body` with a user message of `note` here, and what was read of it. Everything before stays byte for byte.
    pub fn put(&self, body: &Bytes, peek: &Peek, note: &str) -> Option<(Bytes, Peek)> {
        let note = serde_json::to_string(note).ok()?;
        let message = format!("{{\"content\":{note},\"role\":\"user\"}}");
        if !self.plain {
            let (at, with) = (self.at.start, Bytes::from(message + ","));
            let peek = peek.grown(at, with.len());
            return Some((Parts::new(body, vec![Edit { range: at..at, with }])?.concat(), peek));
        }
        let asked = std::str::from_utf8(body.get(self.at.clone())?).ok()?;
        let list = format!("[{message},{{\"role\":\"user\",\"content\":{asked}}}]");
        let body = Parts::new(body, vec![Edit { range: self.at.clone(), with: Bytes::from(list) }])?.concat();
        let peek = request::peek(&body).ok()?;
        Some((body, peek))
    }
}

/// What is read of a message, in one pass.
#[derive(Default)]
struct Message<'a> {
    role: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
}

impl<'de> Fields<'de> for Message<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "role" => self.role = Some(map.next_value()?),
            "content" => self.content = Some(map.next_value()?),
            _ => return json::skip(map),
        }
        Ok(())
    }
}

fn read_one<'a>(item: &'a RawValue, at: Range<usize>) -> Said<'a> {
    let message: Object<Message<'a>> = serde_json::from_str(item.get()).unwrap_or_default();
    let role = message.0.role.and_then(json::string).unwrap_or(Cow::Borrowed(""));
    Said { role, text: message.0.content.map(words).unwrap_or_default(), at }
}

/// The words of a message; empty if it has none.
pub(super) fn words_of(message: &RawValue) -> String {
    json::get(message, "content").map(words).unwrap_or_default()
}

/// The words of a message's content: a string, or the text of its text parts.
fn words(content: &RawValue) -> String {
    if let Some(text) = json::string(content) {
        return text.into_owned();
    }
    let parts: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let text = parts.into_iter().filter_map(|part| {
        let kind = json::get(part, "type").and_then(json::string)?;
        let is_text = matches!(&*kind, "text" | "input_text" | "output_text");
        is_text.then(|| json::get(part, "text").and_then(json::string))?
    });
    text.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(body: &str, then: impl FnOnce(&Bytes, &Conversation<'_>) -> T) -> T {
        let body = Bytes::from(body.to_owned());
        let peek = request::peek(&body).unwrap();
        then(&body, &Conversation::read(&body, &peek).unwrap())
    }

    fn last(body: &str) -> Option<String> {
        with(body, |_, conversation| conversation.last_user().map(|said| said.text.clone()))
    }

    #[test]
    fn the_last_words_of_the_user_are_found_in_every_shape() {
        let chat = |messages: &str| format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        let cases = [
            (chat(r#"{"role":"system","content":"s"},{"role":"user","content":"hi"}"#), Some("hi")),
            (chat(r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#), None),
            (
                chat(
                    r#"{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"t"}"#,
                ),
                Some("a"),
            ),
            (
                chat(
                    r#"{"role":"user","content":[{"type":"text","text":"what"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"is it"}]}"#,
                ),
                Some("what\nis it"),
            ),
            (chat(r#"{"role":"user","content":[{"type":"image_url"}]}"#), None),
            (r#"{"model":"m","input":"plain \u0041"}"#.to_owned(), Some("plain A")),
            (
                r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"q"}]}]}"#
                    .to_owned(),
                Some("q"),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(last(&body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_note_goes_directly_before_the_last_words_and_changes_nothing_before_them() {
        let body = r#"{"model":"m", "messages" : [ {"role":"system","content":"s"} , {"role":"user","content":"hi"} ], "stream_options": {"include_usage": true}, "x":1e400}"#;
        with(body, |bytes, conversation| {
            let place = conversation.before(conversation.last_user().unwrap());
            let (noted, peek) = place.put(bytes, &request::peek(bytes).unwrap(), "a \"note\"").unwrap();
            assert_eq!(peek, request::peek(&noted).unwrap(), "every offset has moved with it");
            let noted = String::from_utf8(noted.to_vec()).unwrap();
            let at = body.find(r#"{"role":"user""#).unwrap();
            assert_eq!(&noted[..at], &body[..at]);
            assert_eq!(
                &noted[at..],
                format!("{}{}", r#"{"content":"a \"note\"","role":"user"},"#, &body[at..])
            );
        });
    }

    #[test]
    fn a_plain_input_becomes_a_list() {
        with(r#"{"input":"hi","model":"m"}"#, |bytes, conversation| {
            let place = conversation.before(conversation.last_user().unwrap());
            let (noted, peek) = place.put(bytes, &request::peek(bytes).unwrap(), "n").unwrap();
            assert_eq!(peek, request::peek(&noted).unwrap());
            let value: serde_json::Value = serde_json::from_slice(&noted).unwrap();
            let expected = serde_json::json!([{"role":"user","content":"n"},{"role":"user","content":"hi"}]);
            assert_eq!(value["input"], expected);
        });
    }
}
