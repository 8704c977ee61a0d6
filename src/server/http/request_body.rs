//! The body of a request, whichever protocol brings it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower::BoxError;

use crate::http1::server::ConnectionBody;

/// A piece of less is copied, because that is cheaper than the buffer of the whole connection that it would hold on to.
const SMALL: usize = 16 * 1024;

pub(crate) enum RequestBody {
    /// Read from the connection itself.
    Http1(ConnectionBody),
    /// One stream of many.
    Http2(Incoming),
}

impl From<ConnectionBody> for RequestBody {
    fn from(body: ConnectionBody) -> Self {
        Self::Http1(body)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let incoming = match self.get_mut() {
            Self::Http1(body) => return Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Self::Http2(incoming) => incoming,
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(owned))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(incoming) => incoming.size_hint(),
        }
    }
}

fn owned(piece: Bytes) -> Bytes {
    if piece.len() < SMALL { Bytes::copy_from_slice(&piece) } else { piece }
}
