//! One chunk of a chat completion or of a completion.

use serde::de::{Deserialize, Deserializer, MapAccess};
use serde_json::value::RawValue;

use super::{EventKind, ProviderError, StreamEvent, Text, Top};
use crate::openai::{
    answer_text::is_withheld,
    json::fields::{self, Items, JsonList, JsonObject, ObjectFields},
    usage::{Usage, UsageCounts},
};

/// Reads the data of one event. `text` starts like JSON.
pub(super) fn read<'a>(name: Option<&[u8]>, text: &'a str) -> StreamEvent<'a> {
    let Ok(JsonObject(chunk)) = serde_json::from_str::<JsonObject<Chunk>>(text) else {
        return StreamEvent::with_kind(EventKind::Malformed);
    };
    let choices = chunk.choices;
    let kind = if chunk.top.is_error() {
        super::error(text.as_bytes())
    } else if choices.failed {
        failed(text)
    } else if choices.content {
        EventKind::Content
    } else if choices.seen == 0 && chunk.usage.is_some() {
        EventKind::UsageOnly
    } else if choices.seen != 0 || (chunk.frame && named_as_usual(name)) {
        EventKind::Frame
    } else {
        EventKind::Noise
    };
    StreamEvent {
        kind,
        text: choices.text.map(Text::new),
        reasoning: choices.reasoning,
        opaque: choices.opaque,
        seen: choices.seen,
        finished: choices.finished,
        withheld: choices.withheld,
        usage: chunk.usage.or(chunk.groq),
    }
}

/// `finish_reason: "error"` without an error object at the top; OpenRouter may put one into the choice.
fn failed(text: &str) -> EventKind {
    #[derive(serde::Deserialize)]
    struct WholeChoice {
        choices: Vec<serde_json::Value>,
    }
    let inner =
        serde_json::from_str::<WholeChoice>(text).ok().and_then(|whole| whole.choices.into_iter().next());
    let error = inner.filter(|choice| choice.get("error").is_some_and(serde_json::Value::is_object));
    EventKind::Error(Box::new(match error {
        Some(choice) => ProviderError::parse(choice.to_string().as_bytes()),
        None => ProviderError::named("the provider finished the answer with an error", "error"),
    }))
}

/// SDKs read a chunk under any event name, so the name only decides about an event without content.
fn named_as_usual(name: Option<&[u8]>) -> bool {
    matches!(name, None | Some(b"" | b"message"))
}

#[derive(Default)]
struct Chunk<'a> {
    top: Top,
    choices: FoldedChoices<'a>,
    /// Looks like a chunk: has `choices` of any value, or an `object` (also Azure's first chunk).
    frame: bool,
    usage: Option<Usage>,
    groq: Option<Usage>,
}

impl<'de> ObjectFields<'de> for Chunk<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "choices" => {
                self.frame = true;
                self.choices = map.next_value::<JsonList<_>>()?.0;
            }
            "usage" => self.usage = map.next_value::<JsonObject<UsageCounts>>()?.0.usage(),
            "x_groq" => self.groq = map.next_value::<JsonObject<Groq>>()?.0.0,
            _ => {
                self.frame |= key == "object";
                return self.top.field(key, map);
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Groq(Option<Usage>);

impl<'de> ObjectFields<'de> for Groq {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "usage" => self.0 = map.next_value::<JsonObject<UsageCounts>>()?.0.usage(),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

/// All choices of a chunk, folded.
#[derive(Default)]
struct FoldedChoices<'a> {
    /// Position of the next item, for choices without an index.
    place: u64,
    seen: u64,
    finished: u64,
    failed: bool,
    withheld: bool,
    content: bool,
    text: Option<&'a str>,
    reasoning: bool,
    opaque: bool,
}

impl<'de> Items<'de> for FoldedChoices<'de> {
    type Item = ChunkChoice<'de>;

    fn item(&mut self, choice: ChunkChoice<'de>) {
        let index = choice.index.unwrap_or(self.place).min(63);
        self.place += 1;
        self.seen |= 1 << index;
        self.finished |= u64::from(choice.finished) << index;
        self.failed |= choice.failed;
        self.withheld |= choice.withheld;
        let parts = [choice.parts, choice.delta];
        for part in parts {
            self.content |= part.text.is_some() || part.reasoning || part.opaque;
            self.reasoning |= part.reasoning;
            // Two texts for one choice in one chunk: whichever came first, it is no longer plain.
            self.opaque |= part.opaque || (index == 0 && part.text.is_some() && self.text.is_some());
            if index == 0 {
                self.text = self.text.or(part.text);
            }
        }
    }
}

#[derive(Default)]
struct ChunkChoice<'a> {
    index: Option<u64>,
    finished: bool,
    failed: bool,
    withheld: bool,
    /// `text` of a completion.
    parts: DeltaParts<'a>,
    delta: DeltaParts<'a>,
}

impl<'de> Deserialize<'de> for ChunkChoice<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JsonObject::deserialize(deserializer).map(|object| object.0)
    }
}

impl<'de> ObjectFields<'de> for ChunkChoice<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "index" => self.index = fields::count(map.next_value()?),
            "finish_reason" => {
                let reason: &RawValue = map.next_value()?;
                self.finished = fields::truthy(reason);
                self.failed = fields::quoted(reason) == Some("error");
                self.withheld = fields::quoted(reason).is_some_and(is_withheld);
            }
            "delta" => self.delta = map.next_value::<JsonObject<_>>()?.0,
            "text" => {
                self.parts = DeltaParts::default();
                self.parts.content(map.next_value()?);
            }
            // A whole message in place of a delta: content, but nothing that can be continued.
            "message" => self.parts.opaque |= fields::truthy(map.next_value()?),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

/// What a delta carries.
#[derive(Default)]
struct DeltaParts<'a> {
    text: Option<&'a str>,
    reasoning: bool,
    opaque: bool,
}

impl<'a> DeltaParts<'a> {
    fn content(&mut self, raw: &'a RawValue) {
        let text = fields::quoted(raw);
        self.text = text.filter(|text| !text.is_empty());
        // Mistral's list of typed parts.
        self.opaque |= text.is_none() && fields::truthy(raw);
    }
}

impl<'de> ObjectFields<'de> for DeltaParts<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "content" => self.content(map.next_value()?),
            "reasoning_content" | "reasoning" | "reasoning_details" | "thinking" => {
                self.reasoning |= fields::truthy(map.next_value()?);
            }
            "tool_calls" | "function_call" | "refusal" | "audio" | "images" => {
                self.opaque |= fields::truthy(map.next_value()?);
            }
            _ => return fields::skip(map),
        }
        Ok(())
    }
}
