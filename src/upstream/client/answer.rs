//! The body of an answer, and what becomes of its connection.
//!
//! Read to its end it hands an HTTP/1.1 connection back; dropped before, it closes it: a connection on which somebody
//! ran out of patience is never used again.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Http1, Pool, Stream};

/// The body of an answer.
pub struct AnswerBody {
    incoming: Incoming,
    connection: Lease,
}

/// What the body holds of its connection.
pub(super) enum Lease {
    /// All of it, and the pool that it goes back to.
    Http1(Option<(Http1, Arc<Pool>)>),
    /// One of its streams.
    Http2 { _stream: Stream },
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        Self { incoming, connection: lease }
    }

    fn hand_back(&mut self) {
        if let Lease::Http1(lease) = &mut self.connection
            && let Some((connection, pool)) = lease.take()
        {
            pool.put(connection);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(None) = polled {
            self.hand_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
