//! What one event of a stream means: content, frame, usage, end, error, noise, or damage.
//!
//! The event is checked as a whole and read in one pass; only escaped data, or data split over lines, is copied.
//! Damage must never be taken for noise: an event that starts like JSON and is invalid is lost content.

mod chat;
#[cfg(test)]
mod corpus_tests;
mod reader;
mod responses;

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Api,
    error::ProviderError,
    json::fields,
    sse::{SseEvent, SseFields},
    usage::Usage,
};

pub(crate) use reader::ChunkReader;

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Carries a part of the answer: text, reasoning, a tool call, a refusal, audio. Commits the attempt.
    Content,
    /// Belongs to the answer without being content: roles, finish reasons, ids. Relayed, but does not commit.
    Frame,
    /// Usage and nothing else: relayed only if the client asked for it.
    UsageOnly,
    /// `[DONE]`
    Done,
    /// The provider reported an error.
    Error(Box<ProviderError>),
    /// Nothing a client should see: empty or non-JSON data, pings, comments, events of unknown types.
    Noise,
    /// Starts like JSON and is invalid, or is not UTF-8.
    Malformed,
}

/// One event after reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent<'a> {
    /// What kind of event it is.
    pub kind: EventKind,
    /// New text of choice 0, never empty: what a rescue may have to replay.
    pub text: Option<Text<'a>>,
    /// Carries reasoning, which a rescue cannot hand to another target.
    pub reasoning: bool,
    /// Carries a part of the answer that is neither text nor reasoning (tool or function call, refusal, audio,
    /// images): must not be spliced.
    pub opaque: bool,
    /// Choices that this event mentions, as bits; choice 63 and above share the last bit.
    pub seen: u64,
    /// Choices that this event finishes, as bits. The answer is whole when every choice ever seen has finished.
    pub finished: u64,
    /// Finishes a choice for a reason that means its text is not the whole answer: a filter, a tool call.
    pub withheld: bool,
    /// Usage so far. Later ones replace earlier ones.
    pub usage: Option<Usage>,
}

impl StreamEvent<'_> {
    fn with_kind(kind: EventKind) -> Self {
        Self {
            kind,
            text: None,
            reasoning: false,
            opaque: false,
            seen: 0,
            finished: 0,
            withheld: false,
            usage: None,
        }
    }

    fn into_owned(self) -> StreamEvent<'static> {
        StreamEvent { text: self.text.map(Text::into_owned), ..self }
    }
}

/// Text still JSON-escaped.
///
/// A character outside the basic plane may be written as two escapes, and providers cut between them: such a piece is
/// not valid text by itself. To collect an answer, append the [`escaped`](Self::escaped) pieces and decode the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    fn new(escaped: &'a str) -> Self {
        Self(Cow::Borrowed(escaped))
    }

    fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    /// The inside of the JSON string, escapes undecoded.
    pub fn escaped(&self) -> &str {
        &self.0
    }

    /// The text, or `None` if this piece ends or begins in the middle of a character.
    pub fn decode(&self) -> Option<Cow<'_, str>> {
        unescape(&self.0)
    }
}

/// Decodes the inside of a JSON string, such as the joined [`Text::escaped`] pieces of an answer.
pub(crate) fn unescape(escaped: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', escaped.as_bytes()).is_none() {
        return Some(Cow::Borrowed(escaped));
    }
    serde_json::from_str(&format!("\"{escaped}\"")).ok().map(Cow::Owned)
}

/// Reads one event of a stream of `api`.
pub(crate) fn read(api: Api, event: &SseEvent) -> StreamEvent<'_> {
    let SseFields { name, data, .. } = event.fields();
    match data {
        None if name == Some(b"error") => StreamEvent::with_kind(error(b"")),
        None => StreamEvent::with_kind(EventKind::Noise),
        Some(Cow::Borrowed(data)) => read_data(api, name, data),
        Some(Cow::Owned(data)) => read_data(api, name, &data).into_owned(),
    }
}

/// `event` with its text replaced; `None` if it has none, or if its data is split over lines.
pub(crate) fn with_text(api: Api, event: &SseEvent, text: &str) -> Option<SseEvent> {
    let reading = read(api, event);
    let Text(Cow::Borrowed(old)) = reading.text? else { return None };
    let bytes = event.bytes();
    let start = (old.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let (before, after) = (bytes.get(..start)?, bytes.get(start + old.len()..)?);
    let quoted = serde_json::to_string(text).ok()?;
    let escaped = quoted.get(1..quoted.len() - 1)?;
    Some(SseEvent::from(Bytes::from([before, escaped.as_bytes(), after].concat())))
}

fn read_data<'a>(api: Api, name: Option<&[u8]>, data: &'a [u8]) -> StreamEvent<'a> {
    let data = data.trim_ascii();
    if name == Some(b"error") {
        return StreamEvent::with_kind(error(data));
    }
    // Half a `[DONE]` at the end of a stream is not damage: nothing of the answer can be in it.
    if data.is_empty() || (api != Api::Other && b"[DONE".starts_with(data)) {
        return StreamEvent::with_kind(EventKind::Noise);
    }
    // By its prefix, as OpenAI's Python SDK does.
    if data.starts_with(b"[DONE]") {
        return StreamEvent::with_kind(EventKind::Done);
    }
    let Ok(text) = std::str::from_utf8(data) else { return StreamEvent::with_kind(EventKind::Malformed) };
    let json = matches!(data[0], b'{' | b'[');
    match api {
        Api::Chat | Api::Completions if json => chat::read(name, text),
        Api::Responses if json => responses::read(text),
        Api::Chat | Api::Completions | Api::Responses => StreamEvent::with_kind(EventKind::Noise),
        Api::Embeddings | Api::Other => other(text, json),
    }
}

/// An API we do not know: any event with data is content, unless it is an error.
fn other(text: &str, json: bool) -> StreamEvent<'_> {
    let top = if json { serde_json::from_str::<fields::JsonObject<Top>>(text).ok() } else { None };
    match top {
        Some(fields::JsonObject(top)) if top.is_error() => StreamEvent::with_kind(error(text.as_bytes())),
        _ => StreamEvent { opaque: true, ..StreamEvent::with_kind(EventKind::Content) },
    }
}

fn error(data: &[u8]) -> EventKind {
    EventKind::Error(Box::new(ProviderError::parse(data)))
}

/// The top-level fields that mark an error in any API.
#[derive(Debug, Default)]
pub(super) struct Top {
    error: bool,
    object_error: bool,
}

impl Top {
    /// A truthy `error`, or `{"object": "error"}`.
    pub(super) fn is_error(&self) -> bool {
        self.error || self.object_error
    }

    /// Reads `key` if it is one of ours.
    pub(super) fn take<'de, A: serde::de::MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
    ) -> Result<bool, A::Error> {
        match key {
            "error" => self.error = fields::truthy(map.next_value()?),
            "object" => self.object_error = fields::quoted(map.next_value()?) == Some("error"),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> fields::ObjectFields<'de> for Top {
    fn field<A: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        if self.take(key, map)? { Ok(()) } else { fields::skip(map) }
    }
}

#[cfg(test)]
mod tests;
