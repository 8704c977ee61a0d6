//! The request body as it is sent: the client's own bytes with a few of them replaced, never copied.

use std::{
    collections::VecDeque,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::openai::splice;

/// A body in a few parts, none of them empty, sent in order.
#[derive(Debug, Clone, Default)]
pub struct SplicedBody {
    parts: VecDeque<Bytes>,
}

impl Buf for SplicedBody {
    fn remaining(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.parts.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let each = slices.iter_mut().zip(&self.parts);
        each.map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(part) = self.parts.front_mut().filter(|_| sent > 0) {
            let of_part = sent.min(part.len());
            part.advance(of_part);
            sent -= of_part;
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
    }
}

impl From<splice::SplicedParts> for SplicedBody {
    fn from(parts: splice::SplicedParts) -> Self {
        Self { parts: parts.iter().filter(|part| !part.is_empty()).cloned().collect() }
    }
}

impl Body for SplicedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        !self.has_remaining()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::openai::splice::Edit;

    #[tokio::test]
    async fn parts_arrive_in_order_with_their_whole_length() {
        let edit = Edit { range: 1..1, with: Bytes::from("b") };
        let body = SplicedBody::from(splice::SplicedParts::new(&Bytes::from("ac"), vec![edit]).unwrap());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.clone().collect().await.unwrap().to_bytes(), "abc");
        assert!(SplicedBody::default().is_end_stream());
    }

    #[test]
    fn what_was_sent_is_forgotten_byte_by_byte() {
        let edit = Edit { range: 2..2, with: Bytes::from("cd") };
        let mut body =
            SplicedBody::from(splice::SplicedParts::new(&Bytes::from("abef"), vec![edit]).unwrap());
        let mut sent = Vec::new();
        while body.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = body.chunks_vectored(&mut slices);
            sent.push(slices[..filled].iter().map(|slice| slice.len()).sum::<usize>());
            body.advance(3.min(body.remaining()));
        }
        assert_eq!(sent, [4, 3], "two slices at a time; three bytes are taken of them");
    }
}
