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
mod tests;
