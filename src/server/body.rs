//! What goes down to the client: bytes at hand, or bytes as they come.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

/// A stream that ends before its end; the connection is closed so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct BrokenOff;

/// Bytes as they come. `Err` cuts the connection.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// The body of a reply, and whatever must live until its last byte has gone.
pub struct ReplyBody {
    content: Content,
    _until_sent: Option<Box<dyn Send>>,
}

enum Content {
    Whole(Option<Bytes>),
    Stream(ByteStream),
}

impl ReplyBody {
    /// Bytes at hand.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { content: Content::Whole((!bytes.is_empty()).then_some(bytes)), _until_sent: None }
    }

    /// Bytes as they come.
    pub fn stream(stream: ByteStream) -> Self {
        Self { content: Content::Stream(stream), _until_sent: None }
    }

    /// Keeps `guard` (a slot) until the body has been sent or dropped, beside what is kept already.
    pub fn keeping(mut self, guard: impl Send + 'static) -> Self {
        self._until_sent = Some(Box::new((self._until_sent.take(), guard)));
        self
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|item| item.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
