//! A response on its way to the client.
//!
//! Pieces are copied together, so that head and body of a short response, or the last event and the end of a stream,
//! leave with one write; large ones are written from where they are. Nothing is taken from the body before everything
//! taken earlier has been written: a slow reader holds one piece, and a silent response holds no buffer.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode, Version, header, response::Parts};
use http_body::Body;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::{connection::Connection, request_head::ResponseMode};
use crate::http1::{
    headers::digits,
    io::{Io, READ_AHEAD, poll_write},
};

/// The body of a response, which may bring headers of its own for the head in front of it.
pub trait OutgoingBody: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin {
    /// Calls `line` with each of its headers; there are none by default. Called once, before the first frame.
    fn take_headers(&mut self, _line: impl FnMut(&HeaderName, &[u8])) {}
}

/// A piece of a body is copied if it is at most this large: what one read brought, and what was put around it.
const COPIED: usize = READ_AHEAD + 1024;
/// Bytes that are copied together before they are written: a burst is cheaper as one write.
const TOGETHER: usize = 2 * READ_AHEAD;
/// Bytes of a head, about.
const HEAD: usize = 1024;
/// Bytes around a chunk, at most.
const AROUND: usize = 24;

/// Headers that say how a response is written, which is decided here.
static OURS: [HeaderName; 3] = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// How the client is told where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is none.
    Nothing,
    Length(u64),
    Chunked,
    /// It ends with the connection.
    ToClose,
}

impl Framing {
    fn for_response(status: StatusCode, body: &impl Body, mode: ResponseMode) -> Self {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        match body.size_hint().exact() {
            _ if bodiless || status.is_informational() => Self::Nothing,
            Some(length) => Self::Length(length),
            None if mode.version == Version::HTTP_10 => Self::ToClose,
            None => Self::Chunked,
        }
    }
}

/// A response, and how far it has been written.
pub(crate) struct ResponseWriter<B: Body> {
    framing: Framing,
    /// `None` once its end has been taken.
    body: Option<B>,
    broken: Option<B::Error>,
    /// What is being written: copied pieces, a large one, and what comes behind it.
    copied: Vec<u8>,
    large: Bytes,
    behind: &'static [u8],
    written: usize,
    /// Whether some of it was tried to be written: nothing more is added.
    writing: bool,
    /// Whether the connection must end with the response.
    pub last: bool,
}

impl<B: OutgoingBody> ResponseWriter<B> {
    /// The response to a request, as its head wants it; `wall` is asked for its date.
    pub(crate) fn new(response: Response<B>, mode: ResponseMode, wall: fn() -> SystemTime) -> Self {
        let (head, mut body) = response.into_parts();
        let framing = Framing::for_response(head.status, &body, mode);
        let last = !mode.keep_alive || framing == Framing::ToClose || wants_to_close(&head.headers);
        let short = match framing {
            Framing::Length(length) if length <= COPIED as u64 => length as usize,
            Framing::Nothing | Framing::Length(_) | Framing::Chunked | Framing::ToClose => 0,
        };
        let mut copied = Vec::with_capacity(HEAD + short);
        write_head(&mut copied, (&head, &mut body), (framing, mode.version, last), wall);
        let body = (!mode.head_only && framing != Framing::Nothing).then_some(body);
        let (large, behind) = (Bytes::new(), &b""[..]);
        Self { framing, body, broken: None, copied, large, behind, written: 0, writing: false, last }
    }

    /// Ready when all of it has been written. When it is pending on the body, everything taken from that has been written.
    ///
    /// # Errors
    /// The wire's, or that the body broke off: the connection is to be closed, so that the client sees it.
    pub(crate) fn poll_send(
        &mut self,
        connection: &Mutex<Connection>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.writing {
                ready!(self.poll_take(cx));
            }
            ready!(self.poll_write(connection.lock().wire(), cx))?;
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(io::Error::other(broken)));
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes what was taken.
    fn poll_write(&mut self, wire: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let total = self.copied.len() + self.large.len() + self.behind.len();
        if total == 0 {
            return Poll::Ready(Ok(()));
        }
        self.writing = true;
        while self.written < total {
            let mut slices = [&self.copied[..], &self.large[..], self.behind].map(IoSlice::new);
            let used = if self.large.is_empty() { 1 } else { slices.len() };
            let mut left = &mut slices[..used];
            IoSlice::advance_slices(&mut left, self.written);
            self.written += ready!(poll_write(wire, cx, left))?;
        }
        ready!(Pin::new(wire).poll_flush(cx))?;
        (self.copied, self.large, self.behind) = (Vec::new(), Bytes::new(), b"");
        (self.written, self.writing) = (0, false);
        Poll::Ready(Ok(()))
    }

    /// Takes from the body what is there; ready if that is anything.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(body) = &mut self.body
            && self.large.is_empty()
            && self.copied.len() < TOGETHER
        {
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        self.add(piece);
                    }
                }
                Poll::Ready(Some(Err(broken))) => (self.broken, self.body) = (Some(broken), None),
                Poll::Ready(None) => self.end(),
                Poll::Pending if self.copied.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }

    fn add(&mut self, piece: Bytes) {
        let chunked = self.framing == Framing::Chunked;
        if piece.is_empty() {
            return;
        }
        let small = piece.len() <= COPIED;
        self.copied.reserve(AROUND + if small { piece.len() } else { 0 });
        if chunked {
            write_size(&mut self.copied, piece.len());
        }
        match small {
            true => self.copied.extend_from_slice(&piece),
            false => self.large = piece,
        }
        match (chunked, small) {
            (true, true) => self.copied.extend_from_slice(b"\r\n"),
            (true, false) => self.behind = b"\r\n",
            (false, _) => {}
        }
    }

    fn end(&mut self) {
        self.body = None;
        if self.framing == Framing::Chunked {
            self.copied.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// The size of a chunk, in digits of 16, and its end of line.
fn write_size(copied: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        copied.push(b"0123456789abcdef"[(size >> (4 * place)) & 15]);
    }
    copied.extend_from_slice(b"\r\n");
}

/// The handler may ask for it. There are few headers: to look one up would cost more.
fn wants_to_close(headers: &HeaderMap) -> bool {
    headers.iter().any(|(name, value)| *name == header::CONNECTION && value == "close")
}

fn write_head(
    copied: &mut Vec<u8>,
    (head, body): (&Parts, &mut impl OutgoingBody),
    (framing, version, last): (Framing, Version, bool),
    wall: fn() -> SystemTime,
) {
    let mut line = |parts: &[&[u8]]| parts.iter().for_each(|part| copied.extend_from_slice(part));
    let reason = head.status.canonical_reason().unwrap_or_default();
    line(&[b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    let mut dated = false;
    for (name, value) in head.headers.iter().filter(|(name, _)| !OURS.contains(name)) {
        dated |= *name == header::DATE;
        line(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    body.take_headers(|name, value| line(&[name.as_str().as_bytes(), b": ", value, b"\r\n"]));
    match framing {
        Framing::Length(length) => {
            line(&[b"content-length: ", digits(length, &mut [0; 20]), b"\r\n"]);
        }
        Framing::Chunked => line(&[b"transfer-encoding: chunked\r\n"]),
        Framing::Nothing | Framing::ToClose => {}
    }
    match version {
        _ if last => line(&[b"connection: close\r\n"]),
        Version::HTTP_10 => line(&[b"connection: keep-alive\r\n"]),
        _ => {}
    }
    if !dated {
        with_date(wall(), |date| line(&[b"date: ", date.as_bytes(), b"\r\n"]));
    }
    line(&[b"\r\n"]);
}

/// The date as a header has it, written once in a second.
fn with_date(now: SystemTime, see: impl FnOnce(&str)) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(written, date)| {
        if *written != second || date.is_empty() {
            (*written, *date) = (second, httpdate::fmt_http_date(now));
        }
        see(date);
    });
}

#[cfg(test)]
mod tests;
