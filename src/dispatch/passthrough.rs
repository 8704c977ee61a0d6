//! Relays bodies that we do not read (speech, images, files) byte by byte as they arrive.
//!
//! If one breaks, the connection to the client is closed: no other signal could show the error.

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::{select, time::sleep_until};

use super::attempt_loop::AttemptLoop;
use crate::{
    clock,
    failpoint::{self, Failpoint},
    upstream::exchange::{
        RawStream,
        outcome::{BrokenKind, Outcome},
    },
};

/// A body that is not read, on its way to the client.
pub struct RawRelay {
    search: AttemptLoop,
    raw: RawStream,
    over: bool,
}

impl RawRelay {
    /// The relay of `raw`.
    pub fn new(search: AttemptLoop, raw: RawStream) -> Self {
        Self { search, raw, over: false }
    }

    /// The next bytes; `Err`: the connection to the client must be closed, the only signal of an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ()>> {
        if !self.raw.first.is_empty() {
            return Some(Ok(std::mem::take(&mut self.raw.first)));
        }
        while !self.over {
            let cut = self.search.dispatcher.tasks().abort_streams().clone();
            let (stalls, ends) = (clock::now() + self.raw.stall, self.search.call.deadline);
            let frame = select! {
                biased;
                () = sleep_until(ends) => return self.cut_off(),
                () = cut.cancelled() => return self.cut_off(),
                () = sleep_until(stalls) => return self.broken(BrokenKind::Stalled),
                frame = self.raw.body.frame() => frame,
            };
            match frame {
                Some(Ok(frame)) => {
                    failpoint::request(Failpoint::Stream, &self.search.call.id);
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Some(Err(_)) => return self.broken(BrokenKind::Cut),
                None => {
                    self.over = true;
                    self.search.call.record.carried(self.raw.head.status);
                }
            }
        }
        None
    }

    fn broken(&mut self, kind: BrokenKind) -> Option<Result<Bytes, ()>> {
        self.raw.attempt.failed(Outcome::Broken(kind), "broke in the middle of the answer");
        self.cut_off()
    }

    /// The call's deadline passed, or the process shuts down: not the target's fault.
    fn cut_off(&mut self) -> Option<Result<Bytes, ()>> {
        self.over = true;
        let report = &mut self.search.call.record;
        report.carried(self.raw.head.status);
        report.broke();
        report.ended_with("stream_interrupted");
        Some(Err(()))
    }
}
