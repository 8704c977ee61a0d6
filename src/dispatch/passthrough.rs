//! Carries what we do not look into (speech, images, files): bytes as they come.
//!
//! If it breaks, the connection to the client is cut: nothing else would tell it.

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

/// Bytes that nobody looks into, on their way to the client.
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

    /// The next bytes; `Err`: the connection to the client must be cut, for nothing else would tell it.
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

    /// The end of the call's time, or of ours: nobody's fault.
    fn cut_off(&mut self) -> Option<Result<Bytes, ()>> {
        self.over = true;
        let report = &mut self.search.call.record;
        report.carried(self.raw.head.status);
        report.broke();
        report.ended_with("stream_interrupted");
        Some(Err(()))
    }
}
