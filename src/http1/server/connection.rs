//! What a connection reads: heads, and the bodies behind them, from one wire.
//!
//! The server and the body of the request at hand share it. Both are polled by one task, one after the other, so the
//! lock is never waited for. While it waits it holds no buffer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use super::request_head::{self, HeadError, RequestHead};
use crate::http1::{
    body_framing::{Decoder, FramingError},
    headers::end_of_request,
    io::{Io, poll_read, poll_write},
};

/// How a client begins that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONTINUE: Bytes = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");

/// Why there is no more of a body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The wire failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The client closed it too early.
    #[error("the connection was closed before the end of the body")]
    Closed,
    /// It is not framed as its head promised.
    #[error(transparent)]
    Framing(#[from] FramingError),
}

/// What comes between two requests.
pub enum NextRequest {
    /// A request; its body is to be read from the connection.
    Head(Box<RequestHead>),
    Bad(HeadError),
    /// The client speaks HTTP/2.
    Http2,
    /// Nothing any more.
    Over,
}

/// One connection, and what was read from it.
pub struct Connection {
    wire: Box<dyn Io>,
    /// What was read and belongs to nothing yet.
    buffer: BytesMut,
    /// Of the body of the request at hand.
    decoder: Decoder,
    /// The interim response that the client waits for before it sends the body.
    interim: Bytes,
}

impl Connection {
    /// The connection over `wire`, which is new.
    pub fn new(wire: Box<dyn Io>) -> Self {
        Self { wire, buffer: BytesMut::new(), decoder: Decoder::Length(0), interim: Bytes::new() }
    }

    /// The wire, and what was read from it.
    pub fn into_parts(self) -> (Box<dyn Io>, Bytes) {
        (self.wire, self.buffer.freeze())
    }

    /// The wire, to write to.
    pub fn wire(&mut self) -> &mut Box<dyn Io> {
        &mut self.wire
    }

    /// The next request's head, of at most `most` bytes.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<NextRequest> {
        let mut searched = 0;
        loop {
            // Empty lines before a request are not part of it.
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
                searched = 0;
            }
            let maybe_http2 = PREFACE.starts_with(&self.buffer[..self.buffer.len().min(PREFACE.len())]);
            if maybe_http2 && self.buffer.len() >= PREFACE.len() {
                return Poll::Ready(NextRequest::Http2);
            }
            if !maybe_http2 {
                let head = &self.buffer[..self.buffer.len().min(most)];
                match end_of_request(head, searched) {
                    Ok(Some(end)) => return Poll::Ready(self.begin(end)),
                    Ok(None) if head.len() < most => searched = head.len(),
                    Ok(None) => return Poll::Ready(NextRequest::Bad(HeadError::TooLarge)),
                    Err(bad) => return Poll::Ready(NextRequest::Bad(bad.into())),
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(NextRequest::Over),
                Ok(_) => {}
            }
        }
    }

    /// The request whose head is the first `end` bytes.
    fn begin(&mut self, end: usize) -> NextRequest {
        let read = request_head::read(&self.buffer.split_to(end).freeze());
        self.release_buffer();
        match read {
            Ok(mut head) => {
                self.decoder = std::mem::replace(&mut head.decoder, Decoder::Length(0));
                self.interim = if head.expects_continue { CONTINUE } else { Bytes::new() };
                NextRequest::Head(Box::new(head))
            }
            Err(bad) => NextRequest::Bad(bad),
        }
    }

    /// Reads once, behind what is in the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let buffer = &mut self.buffer;
        poll_read(&mut self.wire, cx, |bytes| {
            buffer.extend_from_slice(bytes);
            bytes.len()
        })
    }

    /// What the next read brings of the body, in one piece; `None` at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let run = self.decode()?;
            if !run.is_empty() {
                return Poll::Ready(Some(Ok(run)));
            }
            if self.decoder.is_over() {
                return Poll::Ready(None);
            }
            while !self.interim.is_empty() {
                let written = ready!(poll_write(&mut self.wire, cx, &[IoSlice::new(&self.interim)]))?;
                self.interim.advance(written);
                ready!(Pin::new(&mut self.wire).poll_flush(cx))?;
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Some(Err(BodyError::Closed)));
            }
        }
    }

    /// What the buffer has of the body.
    fn decode(&mut self) -> Result<Bytes, FramingError> {
        if self.buffer.is_empty() || self.decoder.is_over() {
            return Ok(Bytes::new());
        }
        let mut rest = &self.buffer[..];
        let mut run = BytesMut::with_capacity(rest.len());
        if let Err(bad) = self.decoder.decode(&mut rest, &mut run) {
            // Nobody knows any more where the next request begins.
            (self.decoder, self.buffer) = (Decoder::ToClose, BytesMut::new());
            return Err(bad);
        }
        let used = self.buffer.len() - rest.len();
        self.buffer.advance(used);
        self.release_buffer();
        Ok(run.freeze())
    }

    fn release_buffer(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Ready once the client has gone. It is looked for only behind the end of the body, and not behind a request that
    /// came before its turn.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.decoder.is_over() || !self.buffer.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Throws away what has come of a body that nobody wants, at most `most` bytes; true at its end, where the next
    /// request begins.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
    pub fn skip_body(&mut self, cx: &mut Context<'_>, most: usize) -> bool {
        let mut skipped = 0;
        while !self.decoder.is_over() && self.interim.is_empty() && skipped <= most {
            match self.poll_body(cx) {
                Poll::Ready(Some(Ok(run))) => skipped += run.len(),
                Poll::Ready(None) => break,
                _ => return false,
            }
        }
        self.decoder.is_over()
    }

    /// Reads on until the client closes.
    pub fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.buffer = BytesMut::new();
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }
}

/// The body of a request, read from the connection that it came on.
pub struct ConnectionBody(pub Arc<Mutex<Connection>>);

impl Body for ConnectionBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.lock().poll_body(cx).map(|run| run.map(|run| run.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().decoder.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.lock().decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Chunked(_) | Decoder::ToClose => SizeHint::default(),
        }
    }
}
