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

/// Why a body did not come.
#[derive(Debug, thiserror::Error)]
pub enum TimedBodyError {
    /// Nothing came for too long.
    #[error("the answer stalled")]
    Stalled,
    /// The connection broke.
    #[error("the answer was cut off: {0}")]
    Cut(#[from] ConnectionError),
    /// It is larger than we read.
    #[error("the answer is larger than the gateway accepts")]
    TooLarge,
}

/// The body of an answer.
pub struct TimedBody {
    body: UpstreamBody,
    /// What was read and put back.
    held: Option<Bytes>,
    /// For what comes next.
    deadline: Instant,
    stall: Duration,
    total: Instant,
}

impl TimedBody {
    /// `body`, whose first bytes are due at `deadline`, all others `stall` after the last, the end at `total`.
    pub fn new(body: UpstreamBody, deadline: Instant, stall: Duration, total: Instant) -> Self {
        Self { body, held: None, deadline, stall, total }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TimedBodyError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        loop {
            // Nearly always it came with the head, and no clock has to be set for it.
            let frame = match self.body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    timeout_at(self.deadline, self.body.frame()).await.map_err(|_| TimedBodyError::Stalled)?
                }
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame?;
            let Ok(data) = frame.into_data() else { continue };
            // Some providers send blank lines for minutes: they are no sign of an answer.
            if !data.trim_ascii().is_empty() {
                self.deadline = self.total.min(clock::now() + self.stall);
            }
            return Ok(Some(data));
        }
    }

    /// Looks at the first bytes without taking them.
    pub async fn peek(&mut self) -> Result<&[u8], TimedBodyError> {
        let first = self.next().await?;
        Ok(self.held.insert(first.unwrap_or_default()))
    }

    /// What was put back, and the rest.
    pub fn into_rest(self) -> (Bytes, UpstreamBody) {
        (self.held.unwrap_or_default(), self.body)
    }

    /// All of it, at most `limit` bytes.
    pub async fn at_most(&mut self, limit: usize) -> Result<Bytes, TimedBodyError> {
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
