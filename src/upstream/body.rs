//! The request body as it goes up: the client's own bytes with a few of them exchanged, never copied.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::api::splice;

/// A body in a few parts, sent in order.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    parts: VecDeque<Bytes>,
}

impl From<splice::Parts> for Parts {
    fn from(parts: splice::Parts) -> Self {
        Self { parts: parts.iter().cloned().collect() }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::api::splice::Edit;

    #[tokio::test]
    async fn parts_arrive_in_order_with_their_whole_length() {
        let edit = Edit { range: 1..1, with: Bytes::from("b") };
        let body = Parts::from(splice::Parts::new(&Bytes::from("ac"), vec![edit]).unwrap());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.clone().collect().await.unwrap().to_bytes(), "abc");
        assert!(Parts::default().is_end_stream());
    }
}
