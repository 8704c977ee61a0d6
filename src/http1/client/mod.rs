//! One HTTP/1.1 connection to a provider, read and written in the poll of its response.
//!
//! There is no task and no channel between the socket and the response's reader: what one read returned is what the
//! reader gets, and a connection that nobody reads holds no buffer. A connection is used again only if the last byte
//! of the response was read, nothing came after it, and all of the request had been taken.

mod error;
pub mod fixed_headers;
pub(crate) mod head;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::SizeHint;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

pub use self::error::ResponseError;
use self::{fixed_headers::FixedHeaders, head::ResponseHead};
use super::{
    body_framing::{Decoder, FramingError},
    headers,
    io::{Io, poll_read, poll_write},
};

/// Bytes of a response's head.
const MAX_HEAD: usize = 16 * 1024;
/// Interim responses (1xx) before the final one.
const MAX_INFORMATIONAL: usize = 16;
/// Bytes of a request's head, about, without what stands in each.
const HEAD: usize = 256;
/// A request's body is copied behind its head if it is at most this large.
const TOGETHER: usize = 4 * 1024;
/// Slices of a request that are written at once: its head, and the parts of its body.
const SLICES: usize = 8;

/// Takes back connections that may carry another request.
pub trait Reuse {
    /// The whole response was read from this one.
    fn reuse(&self, connection: Http1);
}

/// A connection without a request on it.
pub struct Http1 {
    wire: Box<dyn Io>,
    /// When it was made.
    pub born: Instant,
}

impl Http1 {
    /// The connection over `wire`, which is new.
    pub fn new(wire: impl Io + 'static, now: Instant) -> Self {
        Self { wire: Box::new(wire), born: now }
    }

    /// Whether nothing has come since the last response: an end, or bytes that nobody asked for, make it useless. Costs no
    /// system call while the runtime knows of nothing to read.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0];
        Pin::new(&mut self.wire).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends `request`, whose URI is a path and query, and waits for the head of the response. The connection goes back to
    /// `pool` when the body has been read.
    ///
    /// # Errors
    /// [`ResponseError`]
    pub async fn send<B: Buf, P: Reuse>(
        mut self,
        (request, fixed): (Box<Request<B>>, &FixedHeaders),
        pool: P,
    ) -> Result<Response<ClientResponseBody<B, P>>, ResponseError> {
        let method = request.method().clone();
        let mut request = NotSent::new(*request, fixed);
        let (mut buffer, mut informational) = (BytesMut::new(), 0);
        let head = poll_fn(|cx| self.poll_head(cx, &mut request, (&mut buffer, &mut informational), &method))
            .await?;
        let ResponseHead { response, mut decoder, keep_alive } = head;
        let piece = BodySegment::decode(&buffer, &mut decoder);
        let (connection, run) = (Some(self), Bytes::new());
        let unsent = (!request.flushed).then(|| Box::new(request));
        let mut body =
            ClientResponseBody { connection, unsent, decoder, keep_alive, run, broken: None, pool };
        body.take(piece);
        Ok(response.map(|()| body))
    }

    /// Reads while it writes: a provider may refuse a request that it has not read to its end.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut NotSent<impl Buf>,
        (buffer, informational): (&mut BytesMut, &mut usize),
        method: &Method,
    ) -> Poll<Result<ResponseHead, ResponseError>> {
        let mut searched = 0;
        loop {
            while let Some(end) = headers::end(buffer, searched).filter(|end| *end <= MAX_HEAD) {
                let head = head::read(&buffer.split_to(end).freeze(), method)?;
                match head.response.status() {
                    StatusCode::SWITCHING_PROTOCOLS => {
                        return Poll::Ready(Err(FramingError("unexpected 101 Switching Protocols").into()));
                    }
                    status if !status.is_informational() => return Poll::Ready(Ok(head)),
                    _ if *informational == MAX_INFORMATIONAL => {
                        return Poll::Ready(Err(FramingError("too many 1xx responses").into()));
                    }
                    _ => (*informational, searched) = (*informational + 1, 0),
                }
            }
            if buffer.len() >= MAX_HEAD {
                return Poll::Ready(Err(ResponseError::HeadTooLarge));
            }
            searched = buffer.len();
            request.poll_send(&mut self.wire, cx);
            let read = ready!(poll_read(&mut self.wire, cx, |bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            }));
            match read {
                Ok(0) => {
                    return Poll::Ready(Err(request
                        .failed
                        .take()
                        .map_or(ResponseError::Closed, ResponseError::Io)));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// What is left of a request that is being written.
struct NotSent<B> {
    head: BytesMut,
    body: B,
    flushed: bool,
    /// Nobody takes the rest; there may be an answer all the same.
    failed: Option<io::Error>,
}

impl<B: Buf> NotSent<B> {
    fn new(request: Request<B>, fixed: &FixedHeaders) -> Self {
        let length = request.body().remaining();
        // One plain write is cheaper than the copy it saves.
        let together = length <= TOGETHER;
        let room = HEAD + fixed.lines().len() + if together { length } else { 0 };
        let mut head = BytesMut::with_capacity(room);
        head::write(&mut head, (&request, fixed), length);
        let mut body = request.into_body();
        if together {
            head.put(&mut body);
        }
        Self { head, body, flushed: false, failed: None }
    }

    /// Writes what can be written, head and body at once.
    fn poll_send(&mut self, wire: &mut Box<dyn Io>, cx: &mut Context<'_>) {
        if self.flushed || self.failed.is_some() {
            return;
        }
        match self.poll_write(wire, cx) {
            Poll::Ready(Ok(())) => (self.head, self.flushed) = (BytesMut::new(), true),
            Poll::Ready(Err(error)) => self.failed = Some(error),
            Poll::Pending => {}
        }
    }

    fn poll_write(&mut self, wire: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.head.is_empty() || self.body.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            slices[0] = IoSlice::new(&self.head);
            let filled = 1 + self.body.chunks_vectored(&mut slices[1..]);
            let written = ready!(poll_write(wire, cx, &slices[..filled]))?;
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.body.advance(written - of_head);
        }
        Pin::new(wire).poll_flush(cx)
    }
}

/// The body of a response, which owns the connection until it has been read.
pub struct ClientResponseBody<B, P> {
    connection: Option<Http1>,
    /// What the provider has not taken of the request when it responds: usually nothing.
    unsent: Option<Box<NotSent<B>>>,
    decoder: Decoder,
    keep_alive: bool,
    /// What came with the head.
    run: Bytes,
    /// The error that comes after the run.
    broken: Option<ResponseError>,
    pool: P,
}

impl<B: Buf, P: Reuse> ClientResponseBody<B, P> {
    /// What the next read brought, in one piece; `None` at the end.
    ///
    /// # Errors
    /// [`ResponseError`]
    pub fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ResponseError>>> {
        loop {
            if !self.run.is_empty() {
                return Poll::Ready(Some(Ok(std::mem::take(&mut self.run))));
            }
            if let Some(broken) = self.broken.take() {
                self.connection = None;
                return Poll::Ready(Some(Err(broken)));
            }
            let Some(Http1 { wire, .. }) = &mut self.connection else { return Poll::Ready(None) };
            if let Some(unsent) = &mut self.unsent {
                unsent.poll_send(wire, cx);
            }
            let decoder = &mut self.decoder;
            match ready!(
                poll_read(wire, cx, |bytes| (!bytes.is_empty()).then(|| BodySegment::decode(bytes, decoder)))
            ) {
                Ok(Some(piece)) => self.take(piece),
                Ok(None) if matches!(self.decoder, Decoder::ToClose) => self.connection = None,
                Ok(None) => self.broken = Some(ResponseError::Closed),
                Err(error) => self.broken = Some(error.into()),
            }
        }
    }

    /// Whether nothing is left to read.
    pub fn is_over(&self) -> bool {
        self.connection.is_none() && self.run.is_empty() && self.broken.is_none()
    }

    /// How much is left, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left + self.run.len() as u64),
            Decoder::Chunked(_) | Decoder::ToClose => SizeHint::default(),
        }
    }

    /// Takes what was read. After the last byte the connection is free.
    fn take(&mut self, piece: BodySegment) {
        (self.run, self.broken) = (piece.run, piece.broken.map(ResponseError::from));
        if !self.decoder.is_over() {
            return;
        }
        let is_sent = self.unsent.as_ref().is_none_or(|unsent| unsent.flushed);
        let reusable = self.keep_alive && !piece.excess && is_sent;
        if let Some(connection) = self.connection.take().filter(|_| reusable) {
            self.pool.reuse(connection);
        }
    }
}

/// What one read brought.
struct BodySegment {
    run: Bytes,
    broken: Option<FramingError>,
    /// Something came after the end.
    excess: bool,
}

impl BodySegment {
    fn decode(mut bytes: &[u8], decoder: &mut Decoder) -> Self {
        let mut run = BytesMut::with_capacity(bytes.len());
        let broken = decoder.decode(&mut bytes, &mut run).err();
        Self { run: run.freeze(), broken, excess: !bytes.is_empty() }
    }
}

#[cfg(test)]
mod tests;
