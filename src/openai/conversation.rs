//! The text of a conversation, in chat messages or Responses input, and where a note may be inserted.
//!
//! Images, audio, files and tool traffic are not text. A body of an unknown shape has no conversation, and nothing is
//! inserted into it.

use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use super::{
    json::{fields, scan},
    request_peek::{self, Peek},
};

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpokenTurn<'a> {
    /// `user`, `assistant`, `system`, `developer`, `tool` or anything a client may write.
    pub role: Cow<'a, str>,
    /// The text, its parts joined by a line break; empty if there is none. A slice of the body where possible.
    pub text: Cow<'a, str>,
    /// Where the message lies in the body.
    pub at: Range<usize>,
}

/// A conversation, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversation<'a> {
    /// The turns.
    pub said: Vec<SpokenTurn<'a>>,
    /// `input` is one string, not a list: it must become a list before a turn can precede it.
    plain: bool,
}

impl<'a> Conversation<'a> {
    /// The conversation of `body`, which must be the body that was peeked into; `None` if it has none.
    pub(crate) fn read(body: &'a [u8], peek: &Peek) -> Option<Self> {
        let (at, plain) = match (&peek.messages, &peek.input) {
            (Some(messages), _) => (messages.clone(), false),
            (None, Some(input)) => (input.clone(), body.get(input.start) == Some(&b'"')),
            (None, None) => return None,
        };
        let text = std::str::from_utf8(body.get(at.clone())?).ok()?;
        if plain {
            let said = SpokenTurn { role: Cow::Borrowed("user"), text: fields::decoded(text)?, at };
            return Some(Self { said: vec![said], plain });
        }
        if !text.starts_with('[') {
            return None;
        }
        let said =
            scan::values(text).map(|inside| SpokenTurn::read(&text[inside.clone()], at.start + inside.start));
        Some(Self { said: said.collect(), plain })
    }

    /// The last turn, if it is the user's and has text: the one the model will answer.
    pub(crate) fn last_user(&self) -> Option<&SpokenTurn<'a>> {
        let last = self.said.iter().rposition(|said| said.role == "user" && !said.text.trim().is_empty())?;
        // A tool's result after it belongs to the same turn.
        let answered =
            self.said[last + 1..].iter().any(|said| said.role == "assistant" && !said.text.is_empty());
        (!answered).then(|| &self.said[last])
    }

    /// The position directly before `said`.
    pub(crate) fn before(&self, said: &SpokenTurn<'_>) -> InsertionPoint {
        InsertionPoint { at: said.at.clone(), plain: self.plain }
    }
}

/// Capacity for the JSON around a note, in bytes.
const FRAME: usize = 64;

/// A position where a note can be inserted into a body: directly before a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InsertionPoint {
    at: Range<usize>,
    plain: bool,
}

impl InsertionPoint {
    /// Inserts a user message of `note` here into `body`, and shifts the ranges in `peek`, which must be of this body. If
    /// the position is not in the body, both stay as they are and the result is `None`.
    pub(crate) fn put(&self, body: &mut Bytes, peek: &mut Peek, note: &str) -> Option<()> {
        let (before, asked, behind) =
            (body.get(..self.at.start)?, body.get(self.at.clone())?, body.get(self.at.end..)?);
        // Most notes need one escape per line, and few others.
        let mut with = BytesMut::with_capacity(body.len() + note.len() + note.len() / 8 + FRAME);
        let open: &[u8] = if self.plain { b"[{\"content\":\"" } else { b"{\"content\":\"" };
        with.extend_from_slice(before);
        with.extend_from_slice(open);
        fields::escape(note, &mut with);
        with.extend_from_slice(b"\",\"role\":\"user\"},");
        if self.plain {
            with.extend_from_slice(b"{\"role\":\"user\",\"content\":");
        }
        with.extend_from_slice(asked);
        if self.plain {
            with.extend_from_slice(b"}]");
        }
        with.extend_from_slice(behind);
        let with = with.freeze();
        match self.plain {
            true => *peek = request_peek::peek(&with).ok()?,
            false => peek.grow(self.at.start, with.len() - body.len()),
        }
        *body = with;
        Some(())
    }
}

impl<'a> SpokenTurn<'a> {
    /// Reads `message`, which begins at `start` of the body. Anything that is not a message has no text.
    fn read(message: &'a str, start: usize) -> Self {
        let [role, content] = scan::members(message, ["role", "content"]);
        let role = role.and_then(fields::decoded).unwrap_or_default();
        Self { role, text: content.map(words).unwrap_or_default(), at: start..start + message.len() }
    }
}

/// The text of a message; empty if it has none.
pub(super) fn words_of(message: &RawValue) -> String {
    fields::get(message, "content").map(|content| words(content.get())).unwrap_or_default().into_owned()
}

/// The text of a message's content: a string, or its text parts.
fn words(content: &str) -> Cow<'_, str> {
    if let Some(text) = fields::decoded(content) {
        return text;
    }
    if !content.starts_with('[') {
        return Cow::Borrowed("");
    }
    let text = scan::values(content).filter_map(|part| {
        let [kind, text] = scan::members(&content[part], ["type", "text"]);
        let kind = kind.and_then(fields::decoded)?;
        let is_text = matches!(&*kind, "text" | "input_text" | "output_text");
        is_text.then(|| text.and_then(fields::decoded))?
    });
    let mut text = text.collect::<Vec<_>>();
    match text.len() {
        1 => text.pop().unwrap_or_default(),
        _ => Cow::Owned(text.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(body: &str, then: impl FnOnce(&Bytes, &Conversation<'_>) -> T) -> T {
        let body = Bytes::from(body.to_owned());
        let peek = request_peek::peek(&body).unwrap();
        then(&body, &Conversation::read(&body, &peek).unwrap())
    }

    fn last(body: &str) -> Option<String> {
        with(body, |_, conversation| conversation.last_user().map(|said| said.text.to_string()))
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
    fn a_conversation_is_told_apart_wherever_blanks_and_strangers_stand() {
        let strange = r#"{"model":"m","messages":[ 1e999 ,"text",null,[{"role":"user","content":"no"}],
            {"\ud800":1,"role":"\u0075ser","content":"\ud800"}, {"role":"user","role":"assistant","content":"a, ]}"},{},
            {"content":[{"type":"text","text":"last"}],"role":"user"}	] }"#;
        with(strange, |body, conversation| {
            let said: Vec<_> = conversation
                .said
                .iter()
                .map(|said| (&*said.role, &*said.text, &body[said.at.clone()]))
                .collect();
            assert_eq!(said.len(), 8);
            assert_eq!((said[0].2, said[1].2, said[2].2), (&b"1e999"[..], &b"\"text\""[..], &b"null"[..]));
            assert!(said[..4].iter().all(|(role, text, _)| role.is_empty() && text.is_empty()));
            assert_eq!((said[4].0, said[4].1), ("user", ""));
            assert_eq!((said[5].0, said[5].1), ("assistant", "a, ]}"));
            assert_eq!((said[7].0, said[7].1), ("user", "last"));
            assert!(said[4].2.starts_with(b"{\"\\ud800") && said[7].2.ends_with(b"\"user\"}"));
        });
        with(r#"{"model":"m","messages":[]}"#, |_, conversation| assert_eq!(conversation.said, []));
    }

    #[test]
    fn a_note_goes_directly_before_the_last_words_and_changes_nothing_before_them() {
        let body = r#"{"model":"m", "messages" : [ {"role":"system","content":"s"} , {"role":"user","content":"hi"} ], "stream_options": {"include_usage": true}, "x":1e400}"#;
        with(body, |bytes, conversation| {
            let place = conversation.before(conversation.last_user().unwrap());
            let (mut noted, mut peek) = (bytes.clone(), request_peek::peek(bytes).unwrap());
            place.put(&mut noted, &mut peek, "a \"note\"").unwrap();
            assert_eq!(peek, request_peek::peek(&noted).unwrap(), "every offset has moved with it");
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
    fn what_is_no_list_of_messages_is_no_conversation() {
        for input in [r#"{"a":{"role":"user","content":"hi"}}"#, "7", "null", r#""\ud800""#] {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            assert_eq!(
                Conversation::read(body.as_bytes(), &request_peek::peek(body.as_bytes()).unwrap()),
                None
            );
        }
    }

    #[test]
    fn a_plain_input_becomes_a_list() {
        with(r#"{"input":"hi","model":"m"}"#, |bytes, conversation| {
            let place = conversation.before(conversation.last_user().unwrap());
            let (mut noted, mut peek) = (bytes.clone(), request_peek::peek(bytes).unwrap());
            place.put(&mut noted, &mut peek, "n").unwrap();
            assert_eq!(peek, request_peek::peek(&noted).unwrap());
            let value: serde_json::Value = serde_json::from_slice(&noted).unwrap();
            let expected = serde_json::json!([{"role":"user","content":"n"},{"role":"user","content":"hi"}]);
            assert_eq!(value["input"], expected);
        });
    }
}
