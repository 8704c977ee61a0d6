//! What a reader made of the bytes of one connection.

use std::fmt;

use http::{
    HeaderMap, Request, Response,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// All messages of a connection, and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Reading {
    /// In their order.
    pub messages: Vec<Message>,
    /// What came after them.
    pub end: End,
}

/// What came after the last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing, or only a part of a head.
    Closed,
    /// What is no message, in the reader's own words.
    Refused(String),
    /// HTTP/2.
    Http2,
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line, without a reason phrase.
    pub start: String,
    /// The headers, by their names; those of one name as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The content, if all of it came and was well framed.
    pub body: Option<Vec<u8>>,
}

impl Message {
    /// The head of a request.
    pub fn request<B>(request: &Request<B>) -> Self {
        let start = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        Self::new(start, request.headers())
    }

    /// The head of a response.
    pub fn response<B>(response: &Response<B>) -> Self {
        Self::new(format!("{:?} {}", response.version(), response.status().as_u16()), response.headers())
    }

    fn new(start: String, map: &HeaderMap) -> Self {
        let each = map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        let mut headers: Vec<_> = each.collect();
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        // A reader may leave out a length that says nothing new.
        let coded = map.contains_key(TRANSFER_ENCODING);
        headers.retain(|(name, _)| !(coded && name == CONTENT_LENGTH.as_str()));
        headers.dedup_by(|one, other| one.0 == CONTENT_LENGTH.as_str() && one == other);
        Self { start, headers, body: None }
    }

    fn is_chunked(&self) -> bool {
        let last = self.headers.iter().rev().find(|(name, _)| name == TRANSFER_ENCODING.as_str());
        let word = last.and_then(|(_, coding)| coding.rsplit(|byte| *byte == b',').next());
        word.is_some_and(|word| word.trim_ascii().eq_ignore_ascii_case(b"chunked"))
    }

    /// As bytes again, in the plainest spelling.
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.start.as_bytes());
        if self.start.starts_with("HTTP/") {
            bytes.push(b' ');
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("\r\n{name}: ").as_bytes());
            bytes.extend_from_slice(value);
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        match &self.body {
            Some(body) if self.is_chunked() => write_chunks(body, bytes),
            Some(body) => bytes.extend_from_slice(body),
            None => {}
        }
    }
}

/// `body` in one chunk or two.
pub fn write_chunks(body: &[u8], bytes: &mut Vec<u8>) {
    for chunk in body.chunks(body.len() / 2 + 1) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
}

impl Reading {
    /// No message.
    pub fn nothing(end: End) -> Self {
        Self { messages: Vec::new(), end }
    }

    /// The same after a message whose body broke off: nothing more can be known.
    pub fn settled(mut self) -> Self {
        if self.messages.last().is_some_and(|message| message.body.is_none()) {
            self.end = End::Closed;
        }
        self
    }

    /// Whether every message came whole.
    pub fn is_whole(&self) -> bool {
        self.messages.iter().all(|message| message.body.is_some())
    }

    /// The messages as bytes again.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.messages.iter().for_each(|message| message.write(&mut bytes));
        bytes
    }

    /// Whether the other reader came to the same, whatever words it has for a refusal.
    pub fn agrees(&self, other: &Self) -> bool {
        let refused = |reading: &Self| matches!(reading.end, End::Refused(_));
        let ends = self.end == other.end || refused(self) && refused(other);
        ends && self.messages == other.messages
    }

    /// Whether the other reader found another meaning, which is how a request is smuggled. Stricter it may be: it refused,
    /// or a body broke off, where this one went on, or the other way around.
    pub fn contradicts(&self, other: &Self) -> bool {
        for (one, another) in self.messages.iter().zip(&other.messages) {
            if (&one.start, &one.headers) != (&another.start, &another.headers) {
                return true;
            }
            match (&one.body, &another.body) {
                (Some(one), Some(another)) if one != another => return true,
                (Some(_), Some(_)) => {}
                _ => return false,
            }
        }
        let more = |one: &Self, other: &Self| {
            one.messages.len() > other.messages.len() && matches!(other.end, End::Closed) && other.is_whole()
        };
        more(self, other) || more(other, self)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.start)?;
        for (name, value) in &self.headers {
            write!(f, " [{name}: {}]", value.escape_ascii())?;
        }
        match &self.body {
            Some(body) if body.len() < 200 => write!(f, " {:?}", body.escape_ascii().to_string()),
            Some(body) => write!(f, " {} bytes", body.len()),
            None => write!(f, " (broke off)"),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.messages).finish()?;
        write!(f, " {:?}", self.end)
    }
}
