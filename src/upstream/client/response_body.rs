//! The body of a response, over HTTP/1.1 or HTTP/2.
//!
//! Reading it to its end returns an HTTP/1.1 connection to the pool; dropping it earlier closes the connection, so one
//! whose answer was given up is never reused.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{ConnectionPool, Stream};
use crate::{
    http1::client::{ClientResponseBody, ResponseError},
    upstream::exchange::request_body::SplicedBody,
};

/// Why a response failed or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// HTTP/1.1 failed.
    #[error(transparent)]
    Http1(#[from] ResponseError),
    /// HTTP/2 failed.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

/// As HTTP/1.1 has it.
type Http1Body = ClientResponseBody<SplicedBody, Arc<ConnectionPool>>;

/// The body of an answer.
pub struct UpstreamBody(UpstreamBodyKind);

enum UpstreamBodyKind {
    Http1(Http1Body),
    /// One stream of a connection that others use as well.
    Http2(Incoming, #[expect(dead_code, reason = "counts as a user of the connection")] Stream),
}

impl UpstreamBody {
    pub(super) fn http1(body: Http1Body) -> Self {
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
            UpstreamBodyKind::Http1(body) => {
                body.poll_run(cx).map(|run| run.map(|run| Ok(Frame::data(run?))))
            }
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
