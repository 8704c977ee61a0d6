//! The peek: what routing, admission and memory need of a request body.
//!
//! The body is checked once from end to end and read in one pass. Only offsets and a few small values are kept. The
//! bytes are relayed as they came, so numbers, key order and unknown fields survive. A key that we act on must not
//! be repeated: the provider's parser might take the other value, and then another model would answer, or
//! another user be charged, than the one we checked.

use std::{ops::Range, sync::LazyLock};

use memchr::{
    memchr,
    memmem::{self, Finder},
};
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::json::fields::{self, JsonObject, ObjectFields};

/// The keys that we act on.
const KEYS: [&str; 21] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "input",
    "prompt",
    "instructions",
    "tools",
    "functions",
    "response_format",
    "text",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "user",
    "safety_identifier",
    "metadata",
    "continue_final_message",
    "add_generation_prompt",
    "previous_response_id",
];

/// Why a body is rejected, for a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PeekError {
    /// `invalid_json`, `invalid_type`, `missing_field` or `invalid_multipart`.
    pub code: &'static str,
    /// The key that the error is about.
    pub param: Option<&'static str>,
    /// One sentence for the client, with the position where there is one.
    pub message: String,
}

impl PeekError {
    pub(super) fn new(code: &'static str, param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { code, param, message: message.into() }
    }
}

/// The fields of a request body that we act on. Ranges are byte offsets in that body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peek {
    /// The requested model, decoded, never empty.
    pub model: String,
    /// The range of the JSON value of `model`, quotes included.
    pub model_at: Range<usize>,
    /// Directly after the `{` of the body: where keys can be added.
    pub open: usize,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Requested choices (`n`), 1 by default.
    pub choices: u64,
    /// The request offers tools or functions.
    pub has_tools: bool,
    /// The request wants JSON: `response_format`, or `text.format` of the Responses API.
    pub json_output: bool,
    /// `user`, a claimed user id.
    pub user: Option<String>,
    /// `safety_identifier`, a claimed user id.
    pub safety_identifier: Option<String>,
    /// `metadata.user_id`, a claimed user id.
    pub metadata_user_id: Option<String>,
    /// The request wants the usage chunk of a stream.
    pub include_usage: bool,
    /// The most tokens to write, by any of its three names.
    pub max_tokens: Option<u64>,
    /// The range of `messages`, brackets included, if it is an array.
    pub messages: Option<Range<usize>>,
    /// The range of `input` (embeddings and the Responses API), of any type.
    pub input: Option<Range<usize>>,
    /// Bytes of everything the model reads: messages, input, prompt, instructions, tools.
    pub prompt_bytes: usize,
    /// Images and sounds that are inlined in the body: their number and total bytes.
    pub inline: (usize, usize),
    /// The request continues a response that only one provider has (`previous_response_id`).
    pub has_previous_response: bool,
    /// The request already states how to treat a last assistant message.
    pub(super) says_how_to_continue: bool,
}

/// One message of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeekedMessage<'a> {
    /// The range of the JSON value of the message.
    pub at: Range<usize>,
    /// Its role; empty if it has none.
    pub role: &'a str,
}

impl Peek {
    /// Updates the peek as if the body had been read with `length` more bytes at `at`: a text message among
    /// `messages` or `input`.
    pub(super) fn grow(&mut self, at: usize, length: usize) {
        let lists = [&mut self.messages, &mut self.input];
        for range in lists.into_iter().flatten().chain([&mut self.model_at]) {
            range.start += if range.start >= at { length } else { 0 };
            range.end += if range.end > at { length } else { 0 };
        }
        self.prompt_bytes += length;
    }

    /// The JSON text of a field of `body` that the peek does not read: at the top level, or `messages[].key` for the
    /// first message that has it.
    pub fn field<'a>(&self, body: &'a [u8], path: &str) -> Option<&'a str> {
        let key = path.rsplit('.').next()?;
        // Hardly any request has one of them: one fast search instead of one more parse.
        memmem::find(body, format!("\"{key}\"").as_bytes())?;
        if path == key {
            let whole: &RawValue = serde_json::from_slice(body).ok()?;
            return fields::get(whole, key).map(RawValue::get);
        }
        self.messages(body).into_iter().find_map(|message| {
            let message: &RawValue = serde_json::from_slice(body.get(message.at)?).ok()?;
            fields::get(message, key).map(RawValue::get)
        })
    }

    /// The messages of `body`, which must be the body that was peeked into. Parses them anew on each call: use it once.
    pub fn messages<'a>(&self, body: &'a [u8]) -> Vec<PeekedMessage<'a>> {
        let text = self
            .messages
            .clone()
            .and_then(|range| Some((range.start, std::str::from_utf8(body.get(range)?).ok()?)));
        let Some((start, text)) = text else { return Vec::new() };
        let message = |raw: &'a RawValue| {
            let at = fields::range_in(text, raw);
            let role = serde_json::from_str::<JsonObject<MessageRole<'a>>>(raw.get())
                .map_or("", |object| object.0.0);
            PeekedMessage { at: start + at.start..start + at.end, role }
        };
        serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_default().into_iter().map(message).collect()
    }
}

#[derive(Default)]
struct MessageRole<'a>(&'a str);

impl<'de> ObjectFields<'de> for MessageRole<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "role" => self.0 = fields::quoted(map.next_value()?).unwrap_or_default(),
            _ => return fields::skip(map),
        }
        Ok(())
    }
}

/// Peeks into a JSON body.
///
/// # Errors
/// [`PeekError`]: not UTF-8, not JSON, not an object, a repeated key that we act on, no model, or a `model` or `stream`
/// of another type. Wrong types elsewhere are left to the provider's validation.
pub(crate) fn peek(body: &[u8]) -> Result<Peek, PeekError> {
    let text = parse_text(body)?;
    let JsonObject(fields) = serde_json::from_str::<JsonObject<RequestFields>>(text).map_err(|error| {
        PeekError::new("invalid_json", None, format!("The body is not valid JSON: {error}."))
    })?;
    if let Some(key) = fields.twice {
        return Err(PeekError::new("invalid_json", Some(key), format!("The key `{key}` is given twice.")));
    }
    let (model, model_at) = fields.model(text)?;
    let options = fields.get("stream_options");
    let include_usage = options.and_then(|options| fields::get(options, "include_usage"));
    let at = |raw: &RawValue| fields::range_in(text, raw);
    let bytes = |key: &&str| fields.get(key).map_or(0, |raw| raw.get().len());
    Ok(Peek {
        model,
        model_at,
        open: text.find('{').map_or(0, |brace| brace + 1),
        stream: fields.stream()?,
        choices: fields.get("n").and_then(fields::count).unwrap_or(1),
        has_tools: ["tools", "functions"].iter().any(|key| fields.get(key).is_some_and(fields::truthy)),
        json_output: fields.json_output(),
        user: fields.get("user").and_then(text_of),
        safety_identifier: fields.get("safety_identifier").and_then(text_of),
        metadata_user_id: fields
            .get("metadata")
            .and_then(|raw| fields::get(raw, "user_id"))
            .and_then(text_of),
        include_usage: include_usage.is_some_and(|raw| raw.get() == "true"),
        max_tokens: ["max_completion_tokens", "max_tokens", "max_output_tokens"]
            .iter()
            .find_map(|key| fields.get(key).and_then(fields::count)),
        messages: fields.get("messages").filter(|raw| raw.get().starts_with('[')).map(at),
        input: fields.get("input").map(at),
        inline: inline_data(body),
        prompt_bytes: ["messages", "input", "prompt", "instructions", "tools", "functions"]
            .iter()
            .map(bytes)
            .sum(),
        has_previous_response: fields.get("previous_response_id").is_some_and(fields::truthy),
        says_how_to_continue: ["continue_final_message", "add_generation_prompt"]
            .iter()
            .any(|key| fields.get(key).is_some()),
    })
}

fn inline_data(body: &[u8]) -> (usize, usize) {
    // Built once: for most bodies, building the searcher costs more than the search.
    static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b";base64,"));
    let data = MARK.find_iter(body).map(|at| {
        let rest = &body[at..];
        memchr(b'"', rest).unwrap_or(rest.len())
    });
    data.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
}

fn parse_text(body: &[u8]) -> Result<&str, PeekError> {
    let invalid = |message: String| PeekError::new("invalid_json", None, message);
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(format!("The body is not UTF-8 at byte {}.", error.valid_up_to())))?;
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => Ok(text),
        None => Err(invalid("The body is empty; it must be a JSON object with a `model`.".to_owned())),
        Some(_) => Err(invalid("The body must be a JSON object.".to_owned())),
    }
}

fn text_of(raw: &RawValue) -> Option<String> {
    fields::string(raw).filter(|text| !text.is_empty()).map(std::borrow::Cow::into_owned)
}

/// The top level of a body: the keys that we act on, and which of them are repeated.
#[derive(Default)]
struct RequestFields<'a> {
    values: [Option<&'a RawValue>; KEYS.len()],
    twice: Option<&'static str>,
}

impl<'de> ObjectFields<'de> for RequestFields<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let Some(place) = KEYS.iter().position(|ours| *ours == key) else { return fields::skip(map) };
        if self.values[place].replace(map.next_value()?).is_some() {
            self.twice = Some(KEYS[place]);
        }
        Ok(())
    }
}

impl<'a> RequestFields<'a> {
    /// The value of one of our keys, also when it is `null`.
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        KEYS.iter().position(|ours| *ours == key).and_then(|place| self.values[place])
    }

    fn model(&self, text: &str) -> Result<(String, Range<usize>), PeekError> {
        let missing = || PeekError::new("missing_field", Some("model"), "The field `model` is required.");
        let raw =
            self.get("model").filter(|raw| !matches!(raw.get(), "null" | "\"\"")).ok_or_else(missing)?;
        let wrong = || PeekError::new("invalid_type", Some("model"), "The field `model` must be a string.");
        let model = text_of(raw).ok_or_else(wrong)?;
        Ok((model, fields::range_in(text, raw)))
    }

    fn stream(&self) -> Result<bool, PeekError> {
        match self.get("stream").map(RawValue::get) {
            Some("true") => Ok(true),
            None | Some("false" | "null") => Ok(false),
            Some(_) => Err(PeekError::new(
                "invalid_type",
                Some("stream"),
                "The field `stream` must be true or false.",
            )),
        }
    }

    fn json_output(&self) -> bool {
        let format = self.get("text").and_then(|text| fields::get(text, "format"));
        [self.get("response_format"), format]
            .into_iter()
            .flatten()
            .filter_map(|format| fields::get(format, "type").and_then(fields::string))
            .any(|kind| matches!(&*kind, "json_object" | "json_schema"))
    }
}

#[cfg(test)]
mod tests;
