//! What goes down to the client: bytes at hand, or bytes as they come.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use super::patience::Reader;

/// Bytes at hand go out in pieces of this size, so that what is kept until the last byte is kept until then.
const PIECE: usize = 64 * 1024;

/// A stream that ends before its end; the connection is closed so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct BrokenOff;

/// Bytes as they come. `Err` cuts the connection.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>> + Send>>;

/// The body of a reply, and whatever must live until its last byte has gone.
pub struct ReplyBody {
    content: Content,
    reader: Option<Arc<Reader>>,
    _until_sent: Option<Box<dyn Send>>,
}

enum Content {
    Whole(Bytes),
    Stream(ByteStream),
}

impl ReplyBody {
    /// Bytes at hand.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(bytes.into()), reader: None, _until_sent: None }
    }

    /// Bytes as they come.
    pub fn stream(stream: ByteStream) -> Self {
        Self { content: Content::Stream(stream), reader: None, _until_sent: None }
    }

    /// Tells `reader` whenever the client has something to take, and when it has taken it.
    pub fn watched(mut self, reader: Option<Arc<Reader>>) -> Self {
        self.reader = reader.inspect(|reader| reader.given());
        self
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
        let polled = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Content::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|item| item.map(|bytes| bytes.map(Frame::data)))
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
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
