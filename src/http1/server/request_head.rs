//! The head of a request: what is asked for, and where its body ends. Pure.
//!
//! Where a request ends decides where the next one begins, so whatever two parsers could read in two ways is refused
//! (RFC 9112, 6.3 and 11.2), also what the standard would let pass: a proxy in front of us may have read it otherwise.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{Method, Request, Uri, Version};

use crate::http1::{
    body_framing::{Decoder, FramingError},
    headers::{FramingHeaders, headers, version},
};

/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// Why a head is refused, in words for the client; afterwards nobody knows where the next request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is none.
    #[error("Invalid request head: {0}")]
    Syntax(#[from] httparse::Error),
    /// Its target is none.
    #[error("Invalid request target")]
    Target,
    /// It leaves in doubt where it, or its body, ends.
    #[error("Invalid request head: {}", .0.0)]
    Framing(#[from] FramingError),
    /// It has more bytes or headers than we read.
    #[error("Request head too large")]
    TooLarge,
}

/// What a head says.
pub struct RequestHead {
    /// Method, address and headers.
    pub request: Request<()>,
    /// What its body is.
    pub decoder: Decoder,
    /// The body comes after a 100 (Continue).
    pub expects_continue: bool,
    /// How it is to be answered.
    pub mode: ResponseMode,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseMode {
    /// Another request may come on the connection.
    pub keep_alive: bool,
    /// HTTP/1.0 has no chunks, and keeps the connection only if the response says so.
    pub version: Version,
    /// Only the head of the answer.
    pub head_only: bool,
}

impl ResponseMode {
    /// For what could not be read.
    pub const LAST: Self = Self { keep_alive: false, version: Version::HTTP_11, head_only: false };
}

/// Reads a whole `head`.
///
/// # Errors
/// [`HeadError`]
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
pub(crate) fn read(head: &Bytes) -> Result<RequestHead, HeadError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(head, &mut fields).map_err(|error| match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        error => HeadError::Syntax(error),
    })?;
    let (true, Some(method), Some(path), Some(minor)) =
        (status.is_complete(), parsed.method, parsed.path, parsed.version)
    else {
        return Err(HeadError::Syntax(httparse::Error::NewLine));
    };
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Syntax(httparse::Error::Token))?;
    *request.uri_mut() =
        Uri::from_maybe_shared(head.slice_ref(path.as_bytes())).map_err(|_| HeadError::Target)?;
    *request.version_mut() = version(minor);
    *request.headers_mut() = headers(head, parsed.headers)?;
    let framing = FramingHeaders::new(request.headers());
    let decoder = body_of(request.version(), &framing)?;
    let expects_continue = request.version() == Version::HTTP_11 && framing.expects_continue;
    Ok(RequestHead {
        expects_continue: expects_continue && !decoder.is_over(),
        mode: ResponseMode {
            keep_alive: framing.keeps_alive(request.version()),
            version: request.version(),
            head_only: request.method() == Method::HEAD,
        },
        decoder,
        request,
    })
}

fn body_of(version: Version, framing: &FramingHeaders<'_>) -> Result<Decoder, FramingError> {
    // As a list it is read by some and not by others.
    if framing.lists_lengths {
        return Err(FramingError("content-length is a list"));
    }
    let length = framing.length?;
    let Some(coding) = framing.coding else { return Ok(Decoder::Length(length.unwrap_or(0))) };
    if length.is_some() {
        return Err(FramingError("both content-length and transfer-encoding"));
    }
    if version == Version::HTTP_10 {
        return Err(FramingError("transfer-encoding in HTTP/1.0"));
    }
    if framing.codings || !coding.eq_ignore_ascii_case(b"chunked") {
        return Err(FramingError("the only transfer-encoding supported is chunked"));
    }
    Ok(Decoder::chunked())
}

#[cfg(test)]
mod tests;
