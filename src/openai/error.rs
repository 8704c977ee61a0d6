//! Errors on the wire: reading a provider's error body, and writing our own in OpenAI's shape.
//!
//! Providers use many shapes: OpenAI's `{"error": {…}}`, the bare `{"object": "error", "message"}` of vLLM and
//! Mistral, FastAPI's `detail`, Google's list, a string, an HTML page. All of them become one [`ProviderError`],
//! bounded in size. It is used for logs and classification; the client gets the provider's own bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// The longest message kept, in bytes.
pub(crate) const MAX_MESSAGE: usize = 2 << 10;
const MAX_WORD: usize = 128;

/// A provider's error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderError {
    /// The provider's message on one line, at most [`MAX_MESSAGE`] bytes; empty if it gave none.
    pub message: String,
    /// `type`, or Google's `status`.
    pub kind: Option<String>,
    /// `code`; a number as its digits.
    pub code: Option<String>,
    /// The parameter that the error is about.
    pub param: Option<String>,
}

impl ProviderError {
    /// Reads any error body: JSON of any shape, HTML or text. Never fails; an empty body gives an empty message.
    pub fn parse(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => Self::from_value(&value),
            Ok(_) => Self::default(),
            Err(_) => Self::plain(&String::from_utf8_lossy(&body[..body.len().min(64 << 10)])),
        }
    }

    /// An error known only by its name, such as `finish_reason: "error"`.
    pub fn named(message: &str, code: &str) -> Self {
        Self { message: message.to_owned(), code: Some(code.to_owned()), ..Self::default() }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
    fn from_value(value: &Value) -> Self {
        let outer = match value {
            Value::Array(list) => list.first().unwrap_or(&Value::Null),
            other => other,
        };
        let inner =
            ["error", "response"].iter().find_map(|key| error_fields(outer.get(key))).unwrap_or(outer);
        // `response.failed` nests its error one level deeper.
        let inner = error_fields(inner.get("error")).filter(|e| e.is_object()).unwrap_or(inner);
        let both = |keys: &[&str]| {
            [inner, outer].iter().find_map(|level| keys.iter().find_map(|key| error_fields(level.get(key))))
        };
        let message = match inner {
            Value::String(text) => text.clone(),
            _ => both(&["message", "detail", "msg", "error_description", "errors"])
                .map(words)
                .unwrap_or_default(),
        };
        // The type of the envelope ("error") is not the type of the error.
        let kind = both(&["type", "status"])
            .and_then(code_token)
            .filter(|kind| kind != "error" && kind != "response.failed");
        let code = both(&["code", "error_code"]).and_then(code_token);
        Self {
            message: bounded(&message, MAX_MESSAGE),
            kind,
            code,
            param: both(&["param"]).and_then(code_token),
        }
    }

    fn plain(text: &str) -> Self {
        let html = text.trim_start().starts_with('<');
        let message = if html { bounded(&without_tags(text), 200) } else { bounded(text, MAX_MESSAGE) };
        Self { message, ..Self::default() }
    }
}

pub(crate) fn body(message: &str, kind: &str, param: Option<&str>, code: &str) -> Bytes {
    #[derive(Serialize)]
    struct ErrorBody<'a> {
        error: ErrorDetails<'a>,
    }
    #[derive(Serialize)]
    struct ErrorDetails<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    let body = ErrorBody { error: ErrorDetails { message, r#type: kind, param, code } };
    // Serializing strings into memory cannot fail.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}

/// Our own error as the last event of a stream. No `[DONE]` may follow it.
pub(crate) fn event(message: &str, kind: &str, param: Option<&str>, code: &str) -> Bytes {
    let body = body(message, kind, param, code);
    Bytes::from([b"data: ", &body[..], b"\n\n"].concat())
}

/// The same for the Responses API, whose clients read the name and the type of an event.
pub(crate) fn responses_event(message: &str, kind: &str, code: &str) -> Bytes {
    let error = serde_json::json!({ "message": message, "type": kind, "param": null, "code": code });
    let event = serde_json::json!({
        "type": "error", "code": code, "message": message, "param": null, "error": error
    });
    Bytes::from(format!("event: error\ndata: {event}\n\n"))
}

/// A value that is neither absent nor empty.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
fn error_fields(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    })
}

/// A message that may be text, FastAPI's list of errors, or an object.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            let mut all = String::new();
            for item in list.iter().take(8) {
                let item = words(item);
                let _ = write!(all, "{}{item}", if all.is_empty() { "" } else { "; " });
            }
            all
        }
        Value::Object(map) => ["message", "msg", "detail"]
            .iter()
            .find_map(|key| error_fields(map.get(*key)))
            .map_or_else(|| value.to_string(), words),
        other => other.to_string(),
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
fn code_token(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(bounded(text, MAX_WORD)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One line of at most `max` bytes: runs of white space and control characters become one space.
fn bounded(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > max {
            break;
        }
    }
    let end = (0..=max.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    line.truncate(end);
    line
}

/// The title of a page if it has one, otherwise its text.
fn without_tags(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let title = lower.find("<title>").zip(lower.find("</title>")).filter(|(open, close)| open < close);
    if let Some(title) =
        title.and_then(|(open, close)| html.get(open + 7..close)).filter(|t| !t.trim().is_empty())
    {
        return title.to_owned();
    }
    let mut text = String::new();
    let mut in_tag = false;
    for c in html.chars() {
        match c {
            '<' => (in_tag, _) = (true, text.push(' ')),
            '>' => in_tag = false,
            _ if !in_tag => text.push(c),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests;
