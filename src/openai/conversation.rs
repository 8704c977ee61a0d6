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
mod tests;
