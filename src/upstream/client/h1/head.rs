//! Heads of HTTP/1.1 messages: the request's as it is written, the answer's as it is understood. Pure.
//!
//! What an answer says about its own length decides where the next one begins, so whatever is contradictory is an
//! error (RFC 9112, 6.3).

use std::{io::Write, mem::MaybeUninit};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use memchr::memchr_iter;

use super::{
    Broken,
    framing::{BadFraming, Decoder},
};

/// Headers of an answer.
const MAX_HEADERS: usize = 200;

/// The head of `request`, whose body has `length` bytes. The URI is a path and query.
pub(super) fn write<B>(request: &Request<B>, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    let usual = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    if length > 0 || usual {
        // Into a vector it does not fail.
        drop(write!(head, "content-length: {length}\r\n"));
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Where the head ends that `heard` begins with, if its empty line is at or behind `from`.
pub(super) fn end(heard: &[u8], from: usize) -> Option<usize> {
    // The end of the last line may have come before.
    let from = from.saturating_sub(3);
    memchr_iter(b'\n', &heard[from..]).map(|at| from + at + 1).find_map(|line| match &heard[line..] {
        [b'\n', ..] => Some(line + 1),
        [b'\r', b'\n', ..] => Some(line + 2),
        _ => None,
    })
}

/// What a head says.
pub(super) struct Head {
    /// Status and headers.
    pub response: Response<()>,
    /// What its body is.
    pub decoder: Decoder,
    /// Another request may be sent on the connection.
    pub keep_alive: bool,
}

/// Reads a whole `head`, the answer to a request of `method`.
pub(super) fn read(head: &Bytes, method: &Method) -> Result<Head, Broken> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields)?;
    let (true, Some(code), Some(minor)) = (status.is_complete(), parsed.code, parsed.version) else {
        return Err(BadFraming("a head that begins with empty lines").into());
    };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BadFraming("a header that is none").into());
        };
        headers.append(name, value);
    }
    let code = StatusCode::from_u16(code).map_err(|_| BadFraming("a status that is none"))?;
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let (decoder, clear) = body_of((code, version), &headers, method)?;
    let keep_alive = clear && keeps_alive(version, &headers);
    let mut response = Response::new(());
    (*response.status_mut(), *response.version_mut(), *response.headers_mut()) = (code, version, headers);
    Ok(Head { response, decoder, keep_alive })
}

/// What the body is, and whether everybody on the way must have understood it so.
fn body_of(
    (code, version): (StatusCode, Version),
    headers: &HeaderMap,
    method: &Method,
) -> Result<(Decoder, bool), BadFraming> {
    let length = content_length(headers)?;
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter().peekable();
    if *method == Method::HEAD || code == StatusCode::NO_CONTENT || code == StatusCode::NOT_MODIFIED {
        return Ok((Decoder::Length(0), true));
    }
    if codings.peek().is_some() {
        if version == Version::HTTP_10 {
            return Err(BadFraming("transfer-encoding in HTTP/1.0"));
        }
        let last = codings.last().and_then(|value| value.as_bytes().rsplit(|byte| *byte == b',').next());
        let chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        let decoder = if chunked { Decoder::chunked() } else { Decoder::ToClose };
        return Ok((decoder, length.is_none()));
    }
    Ok((length.map_or(Decoder::ToClose, Decoder::Length), true))
}

/// Said several times it must be the same each time.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, BadFraming> {
    let mut length = None;
    let values = headers.get_all(header::CONTENT_LENGTH).iter();
    for value in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let digits = value.trim_ascii();
        // `parse` alone would take a sign.
        let number =
            digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok());
        let number: u64 = number.flatten().ok_or(BadFraming("a content-length that is no number"))?;
        if length.is_some_and(|length| length != number) {
            return Err(BadFraming("two lengths that differ"));
        }
        length = Some(number);
    }
    Ok(length)
}

fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut words =
        values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    match version {
        Version::HTTP_10 => words.any(|word| word.eq_ignore_ascii_case(b"keep-alive")),
        _ => !words.any(|word| word.eq_ignore_ascii_case(b"close")),
    }
}

#[cfg(test)]
mod tests;
