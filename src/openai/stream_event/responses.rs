//! One event of the Responses API, identified by the `type` inside its data.

use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::{EventKind, StreamEvent, Text, Top};
use crate::openai::{
    answer_text::is_withheld,
    json::fields::{self, JsonObject, ObjectFields},
    usage::{Usage, UsageCounts},
};

/// Reads the data of one event. `text` starts like JSON.
pub(super) fn read(text: &str) -> StreamEvent<'_> {
    let Ok(JsonObject(event)) = serde_json::from_str::<JsonObject<ResponsesEvent>>(text) else {
        return StreamEvent::with_kind(EventKind::Malformed);
    };
    let kind = event.kind.unwrap_or_default();
    let content = event.is_content(kind);
    let ends = matches!(kind, "response.completed" | "response.incomplete");
    let plain = kind == "response.output_text.delta";
    let reasoning = kind.starts_with("response.reasoning");
    StreamEvent {
        kind: match kind {
            _ if event.top.is_error() => super::error(text.as_bytes()),
            "error" | "response.failed" => super::error(text.as_bytes()),
            _ if content => EventKind::Content,
            _ if kind.starts_with("response.") => EventKind::Frame,
            _ => EventKind::Noise,
        },
        text: event.delta.filter(|_| plain && content).and_then(fields::quoted).map(Text::new),
        reasoning: content && reasoning,
        opaque: event.call || kind.contains("_call") || (content && !plain && !reasoning),
        seen: u64::from(content || ends),
        finished: u64::from(ends),
        withheld: event.withheld,
        usage: event.usage,
    }
}

#[derive(Default)]
struct ResponsesEvent<'a> {
    top: Top,
    kind: Option<&'a str>,
    delta: Option<&'a RawValue>,
    /// The item of the event is a tool call.
    call: bool,
    /// The item of the event is reasoning.
    thought: bool,
    usage: Option<Usage>,
    withheld: bool,
}

impl ResponsesEvent<'_> {
    /// Deltas are content; so is an item sent whole, because some servers send calls without deltas.
    fn is_content(&self, kind: &str) -> bool {
        if !kind.starts_with("response.") {
            return false;
        }
        match kind.rsplit('.').next() {
            Some("delta") => self.delta.is_some_and(fields::truthy),
            Some("partial_image") => true,
            _ => kind == "response.output_item.done" && !self.thought,
        }
    }
}

impl<'de> ObjectFields<'de> for ResponsesEvent<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = fields::quoted(map.next_value()?),
            "delta" => self.delta = Some(map.next_value()?),
            "response" => {
                let response = map.next_value::<JsonObject<Response>>()?.0;
                self.usage = response.usage;
                self.withheld = response.withheld;
            }
            "item" => {
                let item = map.next_value::<JsonObject<OutputItem>>()?.0.kind.unwrap_or_default();
                self.call = item.ends_with("_call");
                self.thought = item == "reasoning";
            }
            _ => return self.top.field(key, map),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Response {
    usage: Option<Usage>,
    withheld: bool,
}

impl<'de> ObjectFields<'de> for Response {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "usage" => self.usage = map.next_value::<JsonObject<UsageCounts>>()?.0.usage(),
            "incomplete_details" => {
                let reason = fields::get(map.next_value()?, "reason").and_then(fields::quoted);
                self.withheld = reason.is_some_and(is_withheld);
            }
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

#[derive(Default)]
struct OutputItem<'a> {
    kind: Option<&'a str>,
}

impl<'de> ObjectFields<'de> for OutputItem<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = fields::quoted(map.next_value()?),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}
