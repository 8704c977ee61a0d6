//! A request as the fake provider received it, and the small HTTP/1.1 parser that reads it.

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;

/// The gateway's request, byte for byte.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `POST`, `GET`, …
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// Headers in their original order and spelling.
    pub headers: Vec<(String, String)>,
    /// The body, without framing.
    pub body: Bytes,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; `Null` if it is invalid.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The requested `model`; empty if there is none.
    pub fn model(&self) -> String {
        self.json()["model"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the body has `"stream": true`.
    pub fn streams(&self) -> bool {
        self.json()["stream"] == true
    }

    /// Whether the body requests the usage chunk.
    pub fn wants_usage(&self) -> bool {
        self.json()["stream_options"]["include_usage"] == true
    }

    /// The text of the last message if its role is `assistant`: the gateway wants the answer continued.
    pub fn prefill(&self) -> Option<String> {
        let body = self.json();
        let last = body["messages"].as_array()?.last()?;
        (last["role"] == "assistant").then(|| last["content"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether this is a real request and not a health check.
    pub fn is_work(&self) -> bool {
        self.method == "POST"
    }

    fn chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }
}

/// Takes a request head from the front of `buf`, if it is complete.
pub(super) fn take_head(buf: &mut BytesMut) -> Option<Request> {
    let end = buf.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = buf.split_to(end + 4);
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let mut request =
        Request { method: first.next()?.into(), path: first.next()?.into(), ..Request::default() };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(request)
}

/// Takes the body from the front of `buf`, if it is complete.
pub(super) fn take_body(request: &Request, buf: &mut BytesMut) -> Option<Bytes> {
    if request.chunked() {
        return take_chunked(buf);
    }
    let length =
        request.header("content-length").map_or(0, |v| v.parse().expect("a content-length is a number"));
    (buf.len() >= length).then(|| buf.split_to(length).freeze())
}

/// Takes a chunked body from the front of `buf`, if it is complete.
fn take_chunked(buf: &mut BytesMut) -> Option<Bytes> {
    let mut rest = &buf[..];
    let mut body = BytesMut::new();
    loop {
        let eol = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..eol]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size is hexadecimal");
        rest = &rest[eol + 2..];
        let piece = rest.get(..size + 2)?;
        rest = &rest[size + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(&piece[..size]);
    }
    let used = buf.len() - rest.len();
    buf.advance(used);
    Some(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_framings_and_waits_for_the_rest() {
        let wire = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nGET";
        for cut in 0..wire.len() - 3 {
            let mut buf = BytesMut::from(&wire[..cut]);
            let whole = take_head(&mut buf).and_then(|head| take_body(&head, &mut buf));
            assert!(whole.is_none(), "complete after {cut} bytes");
        }
        let mut buf = BytesMut::from(&wire[..]);
        let head = take_head(&mut buf).unwrap();
        assert_eq!((head.header("host"), head.path.as_str()), (Some("h"), "/v1/x"));
        assert_eq!(take_body(&head, &mut buf).unwrap(), "abcd");
        assert_eq!(&buf[..], b"GET");
    }
}
