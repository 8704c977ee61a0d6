//! The body of an answer, read within its deadlines.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use crate::{
    clock,
    upstream::client::{ConnectionError, UpstreamBody},
};

/// Why reading a body failed.
#[derive(Debug, thiserror::Error)]
pub enum TimedBodyError {
    /// No bytes arrived for too long.
    #[error("the answer stalled")]
    Stalled,
    /// The connection broke.
    #[error("the answer was cut off: {0}")]
    Cut(#[from] ConnectionError),
    /// It is larger than we read.
    #[error("the answer is larger than the gateway accepts")]
    TooLarge,
}

/// A body with deadlines for its bytes.
pub(crate) struct TimedBody {
    body: UpstreamBody,
    /// Bytes that were read by [`TimedBody::peek`] and not taken yet.
    held: Option<Bytes>,
    /// The deadline of the next bytes.
    deadline: Instant,
    stall: Duration,
    total: Instant,
}

impl TimedBody {
    /// `body`, whose first bytes are due at `deadline`, all others `stall` after the last, the end at `total`.
    pub(crate) fn new(body: UpstreamBody, deadline: Instant, stall: Duration, total: Instant) -> Self {
        Self { body, held: None, deadline, stall, total }
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TimedBodyError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            // The bytes nearly always came with the head, and then no timer is needed.
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    timeout_at(self.deadline, self.body.frame()).await.map_err(|_| TimedBodyError::Stalled)?
                }
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame?;
            let Ok(data) = frame.into_data() else { continue };
            // Some providers send blank lines for minutes: they do not show that an answer is coming.
            if !data.trim_ascii().is_empty() {
                self.deadline = self.total.min(clock::now() + self.stall);
            }
            return Ok(Some(data));
        }
    }

    /// Returns the first bytes without taking them.
    pub(crate) async fn peek(&mut self) -> Result<&[u8], TimedBodyError> {
        let first = self.next().await?;
        Ok(self.held.insert(first.unwrap_or_default()))
    }

    /// The bytes that were peeked at, and the rest of the body.
    pub(crate) fn into_rest(self) -> (Bytes, UpstreamBody) {
        (self.held.unwrap_or_default(), self.body)
    }

    /// The whole body, if it has at most `limit` bytes.
    pub(crate) async fn at_most(&mut self, limit: usize) -> Result<Bytes, TimedBodyError> {
        let first = self.next().await?.unwrap_or_default();
        // Short answers come in one piece.
        if self.body.is_end_stream() && first.len() <= limit {
            return Ok(first);
        }
        let expected = self.body.size_hint().exact().unwrap_or(0) as usize;
        let mut bytes = BytesMut::with_capacity((first.len() + expected).min(limit));
        let mut next = Some(first);
        while let Some(data) = next {
            if bytes.len() + data.len() > limit {
                return Err(TimedBodyError::TooLarge);
            }
            bytes.extend_from_slice(&data);
            next = self.next().await?;
        }
        Ok(bytes.freeze())
    }
}
