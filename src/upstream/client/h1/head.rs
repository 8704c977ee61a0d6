//! Heads of HTTP/1.1 messages: the request's as it is written, the answer's as it is understood. Pure.
//!
//! What an answer says about its own length decides where the next one begins, so whatever is contradictory is an
//! error (RFC 9112, 6.3).

use std::{io::Write, mem::MaybeUninit};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};

use super::Broken;
use crate::http1::{
    framing::{BadFraming, Decoder},
    head::{content_length, headers, keeps_alive, version, words},
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
    let headers = headers(head, parsed.headers)?;
    let code = StatusCode::from_u16(code).map_err(|_| BadFraming("a status that is none"))?;
    let version = version(minor);
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
    if *method == Method::HEAD || code == StatusCode::NO_CONTENT || code == StatusCode::NOT_MODIFIED {
        return Ok((Decoder::Length(0), true));
    }
    if let Some(last) = words(headers, header::TRANSFER_ENCODING).last() {
        if version == Version::HTTP_10 {
            return Err(BadFraming("transfer-encoding in HTTP/1.0"));
        }
        let decoder =
            if last.eq_ignore_ascii_case(b"chunked") { Decoder::chunked() } else { Decoder::ToClose };
        return Ok((decoder, length.is_none()));
    }
    Ok((length.map_or(Decoder::ToClose, Decoder::Length), true))
}

#[cfg(test)]
mod tests;
