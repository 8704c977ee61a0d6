//! The body of an answer, whichever protocol brings it.
//!
//! Read to its end it hands an HTTP/1.1 connection back; dropped before, it closes it: a connection on which somebody
//! ran out of patience is never used again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Stream;
use crate::http1::{body_framing::FramingError, client};

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The socket failed: reset, timed out.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side closed it too early.
    #[error("the connection was closed before the end of the answer")]
    Closed,
    /// The head is no head.
    #[error("the answer's head is not HTTP/1.1: {0}")]
    Head(#[from] httparse::Error),
    /// The head is larger than we read.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// Its length cannot be known.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// An error of the HTTP/2 connection.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

/// The body of an answer.
pub struct UpstreamBody(UpstreamBodyKind);

enum UpstreamBodyKind {
    Http1(client::ClientResponseBody),
    /// One stream of a connection that others use as well.
    Http2(Incoming, #[expect(dead_code, reason = "counts as a user of the connection")] Stream),
}

impl UpstreamBody {
    pub(crate) fn http1(body: client::ClientResponseBody) -> Self {
        Self(UpstreamBodyKind::Http1(body))
    }

    pub(super) fn http2(incoming: Incoming, stream: Stream) -> Self {
        Self(UpstreamBodyKind::Http2(incoming, stream))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ConnectionError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionError>>> {
        match &mut self.0 {
            UpstreamBodyKind::Http1(body) => body.poll_run(cx).map(|run| run.map(|run| run.map(Frame::data))),
            UpstreamBodyKind::Http2(incoming, _) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(ConnectionError::from)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            UpstreamBodyKind::Http1(body) => body.is_over(),
            UpstreamBodyKind::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            UpstreamBodyKind::Http1(body) => body.size_hint(),
            UpstreamBodyKind::Http2(incoming, _) => incoming.size_hint(),
        }
    }
}
