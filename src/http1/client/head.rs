//! Heads of HTTP/1.1 messages: the request's as it is written, the response's as it is read. Pure.
//!
//! What a response says about its own length decides where the next one begins, so whatever is contradictory is an
//! error (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, Version};

use super::{error::ResponseError, fixed_headers::FixedHeaders};
use crate::http1::{
    body_framing::{Decoder, FramingError},
    headers::{FramingHeaders, digits, headers, version, words},
};

/// Headers of a response.
const MAX_HEADERS: usize = 200;

/// Writes the head of `request`, whose body has `length` bytes. The URI is a path and query.
pub(crate) fn write<B>(head: &mut BytesMut, (request, fixed): (&Request<B>, &FixedHeaders), length: usize) {
    let mut line = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    line(&[request.method().as_str().as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1\r\n"]);
    for (name, value) in request.headers().iter().filter(|(name, _)| !fixed.has(name)) {
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    line(&[fixed.lines()]);
    let usual = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    if length > 0 || usual {
        line(&[b"content-length: ", digits(length as u64, &mut [0; 20]), b"\r\n"]);
    }
    line(&[b"\r\n"]);
}

/// What a head says.
pub(crate) struct ResponseHead {
    /// Status and headers.
    pub response: Response<()>,
    /// What its body is.
    pub decoder: Decoder,
    /// Another request may be sent on the connection.
    pub keep_alive: bool,
}

/// Reads a whole `head`, the response to a request of `method`.
///
/// # Errors
/// [`ResponseError`]
pub(crate) fn read(head: &Bytes, method: &Method) -> Result<ResponseHead, ResponseError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields)?;
    let (true, Some(code), Some(minor)) = (status.is_complete(), parsed.code, parsed.version) else {
        return Err(FramingError("empty lines before the status line").into());
    };
    let headers = headers(head, parsed.headers)?;
    let code = StatusCode::from_u16(code).map_err(|_| FramingError("invalid status code"))?;
    let version = version(minor);
    let framing = FramingHeaders::new(&headers);
    let (decoder, clear) = body_of((code, version), &framing, method)?;
    let keep_alive = clear && framing.keeps_alive(version);
    let mut response = Response::new(());
    (*response.status_mut(), *response.version_mut(), *response.headers_mut()) = (code, version, headers);
    Ok(ResponseHead { response, decoder, keep_alive })
}

/// What the body is, and whether everybody on the way must have understood it so.
fn body_of(
    (code, version): (StatusCode, Version),
    framing: &FramingHeaders<'_>,
    method: &Method,
) -> Result<(Decoder, bool), FramingError> {
    let length = framing.length?;
    if *method == Method::HEAD || code == StatusCode::NO_CONTENT || code == StatusCode::NOT_MODIFIED {
        return Ok((Decoder::Length(0), true));
    }
    if let Some(last) = framing.coding.and_then(|line| words(line).last()) {
        if version == Version::HTTP_10 {
            return Err(FramingError("transfer-encoding in HTTP/1.0"));
        }
        let decoder =
            if last.eq_ignore_ascii_case(b"chunked") { Decoder::chunked() } else { Decoder::ToClose };
        return Ok((decoder, length.is_none()));
    }
    Ok((length.map_or(Decoder::ToClose, Decoder::Length), true))
}

#[cfg(test)]
mod tests;
