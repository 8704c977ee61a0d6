//! The peek into a multipart/form-data body (audio, images, files): its model, and whether to stream.
//!
//! Only delimiters and part headers are read (RFC 7578, RFC 2046 section 5.1). Files are skipped, never decoded, and
//! only the two small values are copied. As with JSON, a repeated field that we act on is refused.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::{
    request_peek::PeekError,
    splice::{Edit, SplicedParts},
};

const MAX_BOUNDARY: usize = 200;
const MAX_HEADERS: usize = 16 << 10;
const MAX_VALUE: usize = 1 << 10;

/// The fields of a form that we act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The value of the part named `model`, never empty.
    pub model: String,
    /// The range of that value in the body.
    pub model_at: Range<usize>,
    /// The part named `stream` is `true`.
    pub stream: bool,
}

impl Form {
    /// `body` with another model name; unchanged if it is the same. `body` must be the one peeked into.
    pub fn with_model(&self, body: &Bytes, model: &str) -> SplicedParts {
        if model == self.model {
            return SplicedParts::from(body.clone());
        }
        let edit = Edit { range: self.model_at.clone(), with: Bytes::copy_from_slice(model.as_bytes()) };
        SplicedParts::new(body, vec![edit]).unwrap_or_else(|| SplicedParts::from(body.clone()))
    }
}

/// Peeks into a form.
///
/// # Errors
/// [`PeekError`]: no usable boundary, no closing delimiter, no model, or a repeated field that we act on.
pub(crate) fn peek(content_type: &str, body: &[u8]) -> Result<Form, PeekError> {
    let boundary =
        boundary(content_type).ok_or_else(|| invalid("The content type has no usable boundary."))?;
    let (mut model, mut stream) = (None, None);
    let mut parts = Delimiters::new(&boundary, body);
    let mut from = parts.next().ok_or_else(|| invalid("The body does not contain its boundary."))?;
    while !from.last {
        let to = parts.next().ok_or_else(|| invalid("The body ends before its last boundary."))?;
        let part = from.end..to.start;
        from = to;
        let slot = match name(body, &part) {
            Some((b"model", at)) => (&mut model, "model", at),
            Some((b"stream", at)) => (&mut stream, "stream", at),
            _ => continue,
        };
        if slot.0.replace(slot.2).is_some() {
            let message = format!("The field `{}` is given twice.", slot.1);
            return Err(PeekError::new("invalid_multipart", Some(slot.1), message));
        }
    }
    let model_at: Range<usize> = model
        .filter(|at: &Range<usize>| !at.is_empty())
        .ok_or_else(|| PeekError::new("missing_field", Some("model"), "The field `model` is required."))?;
    let model = std::str::from_utf8(&body[model_at.clone()]).ok().filter(|model| model.len() <= MAX_VALUE);
    let wrong = || PeekError::new("invalid_type", Some("model"), "The field `model` must be a short string.");
    let stream = stream.is_some_and(|at| body[at].trim_ascii().eq_ignore_ascii_case(b"true"));
    Ok(Form { model: model.ok_or_else(wrong)?.to_owned(), model_at, stream })
}

fn invalid(message: &str) -> PeekError {
    PeekError::new("invalid_multipart", None, message)
}

/// The boundary that the content type names.
fn boundary(content_type: &str) -> Option<String> {
    let (mime, parameters) = content_type.split_once(';')?;
    if !mime.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameter(parameters.as_bytes(), b"boundary")?;
    let usable =
        !value.is_empty() && value.len() <= MAX_BOUNDARY && !value.iter().any(|b| b.is_ascii_control());
    usable.then(|| String::from_utf8(value).ok())?
}

/// The position of a delimiter line.
#[derive(Debug, Clone, Copy)]
struct Delimiter {
    /// The end of the part before it.
    start: usize,
    /// The start of the next part, with its headers.
    end: usize,
    last: bool,
}

/// Finds the delimiter lines.
struct Delimiters<'a> {
    body: &'a [u8],
    finder: memmem::Finder<'static>,
    at: usize,
}

impl<'a> Delimiters<'a> {
    fn new(boundary: &str, body: &'a [u8]) -> Self {
        let finder = memmem::Finder::new(&format!("--{boundary}")).into_owned();
        Self { body, finder, at: 0 }
    }
}

impl Iterator for Delimiters<'_> {
    type Item = Delimiter;

    fn next(&mut self) -> Option<Delimiter> {
        loop {
            let found = self.at + self.finder.find(&self.body[self.at..])?;
            let after = found + self.finder.needle().len();
            self.at = after;
            let start = match &self.body[..found] {
                [] => 0,
                [.., b'\r', b'\n'] => found - 2,
                _ => continue,
            };
            let rest = &self.body[after..];
            if rest.starts_with(b"--") {
                return Some(Delimiter { start, end: after + 2, last: true });
            }
            let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            if rest[padding..].starts_with(b"\r\n") {
                // The line end stays unread, to be found again: a part without headers begins with it.
                self.at = after + padding;
                return Some(Delimiter { start, end: after + padding + 2, last: false });
            }
        }
    }
}

/// The field name of a part and the range of its value; `None` for a file, or for a part that is not a field.
fn name<'a>(body: &'a [u8], part: &Range<usize>) -> Option<(&'a [u8], Range<usize>)> {
    let bytes = body.get(part.clone())?;
    let head = memmem::find(&bytes[..bytes.len().min(MAX_HEADERS)], b"\r\n\r\n")?;
    let value = part.start + head + 4..part.end;
    let disposition = bytes[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        line[..colon].trim_ascii().eq_ignore_ascii_case(b"content-disposition").then(|| &line[colon + 1..])
    })?;
    let semicolon = memchr::memchr(b';', disposition)?;
    if !disposition[..semicolon].trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let parameters = &disposition[semicolon + 1..];
    if parameter(parameters, b"filename").is_some() {
        return None;
    }
    let ours = |name: Vec<u8>| [&b"model"[..], b"stream"].into_iter().find(|ours| **ours == name[..]);
    parameter(parameters, b"name").and_then(ours).map(|name| (name, value))
}

/// One parameter of a header, unquoted.
fn parameter(mut rest: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let key = rest[..equals].rsplit(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let (value, after) = value(rest[equals + 1..].trim_ascii_start());
        if key.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// A token or a quoted string, and the text after it.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            other => value.push(*other),
        }
    }
    (value, &[])
}

#[cfg(test)]
mod tests;
