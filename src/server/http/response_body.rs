//! What goes down to the client: bytes at hand, or bytes as they come.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};

use super::gateway_headers::GatewayHeaders;
use crate::{http1::server::OutgoingBody, server::http2_stall::StallReader};

/// Bytes at hand go out in pieces of this size, so that what is kept until the last byte is kept until then.
const PIECE: usize = 64 * 1024;

/// A stream that ends before its end; the connection is closed so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct TruncatedBody;

/// Bytes as they come. `Err` cuts the connection.
pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, TruncatedBody>> + Send>>;

/// The body of a reply, and whatever must live until its last byte has gone.
pub(crate) struct ResponseBody {
    /// The gateway's own headers. Here, because a response has no other place for them that costs nothing; on the heap,
    /// because they are gone with the head and the body may live for long.
    headers: Option<Box<GatewayHeaders>>,
    content: ResponseBodyKind,
    reader: Option<Arc<StallReader>>,
    _until_sent: Option<Box<dyn Send>>,
}

enum ResponseBodyKind {
    Whole(Bytes),
    Stream(ByteStream),
}

impl ResponseBody {
    /// Bytes at hand.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::new(ResponseBodyKind::Whole(bytes.into()))
    }

    /// Bytes as they come.
    pub(crate) fn stream(stream: ByteStream) -> Self {
        Self::new(ResponseBodyKind::Stream(stream))
    }

    fn new(content: ResponseBodyKind) -> Self {
        Self { headers: None, content, reader: None, _until_sent: None }
    }

    /// The gateway's own headers, to be written into the head.
    pub(crate) fn headers_mut(&mut self) -> &mut GatewayHeaders {
        self.headers.get_or_insert_default()
    }

    /// Tells `reader` whenever the client has something to take, and when it has taken it.
    pub(crate) fn watched(mut self, reader: Option<Arc<StallReader>>) -> Self {
        self.reader = reader.inspect(|reader| reader.given());
        self
    }

    /// Keeps `guard` (a slot) until the body has been sent or dropped, beside what is kept already.
    pub(crate) fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        self._until_sent = Some(Box::new((self._until_sent.take(), guard)));
        self
    }

    /// After a panic: a bug of ours costs this answer, not the other streams of its connection. It must not look whole.
    fn break_off(&mut self) -> Poll<Option<Result<Bytes, TruncatedBody>>> {
        tracing::error!("answer aborted by a bug in the gateway; see the panic above");
        *self = Self::whole(Bytes::new());
        Poll::Ready(Some(Err(TruncatedBody)))
    }
}

impl OutgoingBody for ResponseBody {
    fn take_headers(&mut self, line: impl FnMut(&HeaderName, &[u8])) {
        if let Some(headers) = self.headers.take() {
            headers.each(line);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = TruncatedBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TruncatedBody>>> {
        let polled = match &mut self.content {
            ResponseBodyKind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            ResponseBodyKind::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            ResponseBodyKind::Stream(stream) => {
                let polled = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
                let item = polled.unwrap_or_else(|_| self.break_off());
                item.map(|item| item.map(|bytes| bytes.map(Frame::data)))
            }
        };
        if let Some(reader) = &self.reader {
            match polled {
                Poll::Ready(_) => reader.given(),
                Poll::Pending => reader.waits(),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, ResponseBodyKind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            ResponseBodyKind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            ResponseBodyKind::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_breaks_the_answer_off_and_lets_go_of_what_it_held() {
        let slot = Arc::new(());
        let bug = stream::once(async { panic!("a bug") });
        let mut body = ResponseBody::stream(Box::pin(bug)).with_guard(slot.clone());
        assert!(body.frame().await.unwrap().is_err(), "cut, not ended");
        assert_eq!(Arc::strong_count(&slot), 1, "before the body is dropped");
        assert!(body.frame().await.is_none(), "and not polled again");
    }
}
