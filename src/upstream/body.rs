//! The request body as it goes up: the client's own bytes with a few of them exchanged, never copied.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body in a few parts, sent in order. Cloning costs a few reference counts, so each attempt has its own.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    parts: [Bytes; 3],
    next: usize,
}

impl Parts {
    /// The parts in their order; empty ones are skipped.
    pub fn new(parts: [Bytes; 3]) -> Self {
        Self { parts, next: 0 }
    }

    fn remaining(&self) -> u64 {
        self.parts[self.next..].iter().map(|part| part.len() as u64).sum()
    }
}

impl From<Bytes> for Parts {
    fn from(whole: Bytes) -> Self {
        Self::new([whole, Bytes::new(), Bytes::new()])
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while self.next < self.parts.len() {
            let next = self.next;
            self.next += 1;
            let part = std::mem::take(&mut self.parts[next]);
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn parts_arrive_in_order_with_their_whole_length() {
        let body = Parts::new([Bytes::from("ab"), Bytes::new(), Bytes::from("c")]);
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.clone().collect().await.unwrap().to_bytes(), "abc");
        assert!(Parts::default().is_end_stream());
    }
}
