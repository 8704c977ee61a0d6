//! A fake provider's answer to one request, and the faults in it.
//!
//! A [`Script`] describes head, framing and body, and then faults over them: a cut after n bytes, a stall, a
//! reset. [`Script::steps`] compiles it to plain socket operations, so that every fault composes with every answer.

#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use bytes::Bytes;

/// How the connection ends where the script says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer is whole; the connection is kept (or closed, if the framing needs it).
    Clean,
    /// An orderly close at this point.
    Fin,
    /// `SO_LINGER` 0: the peer sees a reset.
    Reset,
    /// Nothing more, until the peer goes away.
    Hang,
}

/// How the end of the body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `content-length`, off by this much (0 = correct).
    Length(isize),
    /// `transfer-encoding: chunked`, a chunk per piece.
    Chunked,
    /// By closing the connection, which HTTP/1.1 allows.
    Close,
    /// The same from a server that speaks HTTP/1.0.
    Http10,
}

/// One operation on the socket.
#[derive(Clone, Debug)]
pub enum Step {
    /// Write and flush.
    Write(Bytes),
    /// Do nothing for a while.
    Pause(Duration),
    /// Write this after each pause, for ever.
    Repeat(Bytes, Duration),
    /// The connection ends like this. Always the last step; absent means [`End::Clean`].
    Over(End),
}

/// One answer of a fake provider, as described above.
#[derive(Clone, Debug)]
pub struct Script {
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    body: Vec<(Duration, Bytes)>,
    before_head: Duration,
    before_first: Duration,
    interim: Bytes,
    tail: Option<Step>,
    cut: Option<(usize, End)>,
    dribble: Option<(usize, Duration)>,
    raw: Option<Bytes>,
}

impl Script {
    /// An answer with this status and an empty body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            framing: Framing::Length(0),
            body: Vec::new(),
            before_head: Duration::ZERO,
            before_first: Duration::ZERO,
            interim: Bytes::new(),
            tail: None,
            cut: None,
            dribble: None,
            raw: None,
        }
    }

    /// 200 with a JSON body.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::status(200, body)
    }

    /// Any status with a JSON body.
    pub fn status(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status).header("content-type", "application/json").body(body)
    }

    /// A 200 event stream, one piece per event. Each must bring its own blank line; see [`crate::openai::event`].
    pub fn sse<B: Into<Bytes>>(events: impl IntoIterator<Item = B>) -> Self {
        let mut script = Self::new(200).header("content-type", "text/event-stream").framing(Framing::Chunked);
        script.body = events.into_iter().map(|e| (Duration::ZERO, e.into())).collect();
        script
    }

    /// These bytes instead of any HTTP; then the connection closes.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        let mut script = Self::new(0);
        script.raw = Some(bytes.into());
        script.tail = Some(Step::Over(End::Fin));
        script
    }

    /// Reads the request and never answers.
    pub fn silent() -> Self {
        Self::new(200).cut(0, End::Hang)
    }

    /// Reads the request, then resets the connection.
    pub fn reset() -> Self {
        Self::new(200).cut(0, End::Reset)
    }

    /// Adds a response header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Replaces the body by one piece.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = vec![(Duration::ZERO, body.into())];
        self
    }

    /// Sets how the end of the body is marked.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Waits before the head.
    pub fn head_after(mut self, pause: Duration) -> Self {
        self.before_head = pause;
        self
    }

    /// Sends the head, waits, then sends the first piece: a slow first token.
    pub fn first_after(mut self, pause: Duration) -> Self {
        self.before_first = pause;
        self
    }

    /// Waits this long before every piece but the first.
    pub fn every(mut self, pause: Duration) -> Self {
        self.body.iter_mut().skip(1).for_each(|piece| piece.0 = pause);
        self
    }

    /// Raw bytes before the head, such as `HTTP/1.1 103 Early Hints\r\n\r\n`.
    pub fn interim(mut self, bytes: impl Into<Bytes>) -> Self {
        self.interim = bytes.into();
        self
    }

    /// Only the first `n` pieces (events), then `end`; the body is never completed.
    pub fn stop_after(mut self, n: usize, end: End) -> Self {
        self.body.truncate(n);
        self.tail = Some(Step::Over(end));
        self
    }

    /// After the pieces, writes `bytes` (framed like them) again and again after each `pause`, for ever.
    pub fn then_repeat(mut self, bytes: impl Into<Bytes>, pause: Duration) -> Self {
        let bytes = self.framed(&bytes.into());
        self.tail = Some(Step::Repeat(bytes, pause));
        self
    }

    /// Stops after exactly `n` bytes on the wire, head included.
    pub fn cut(mut self, n: usize, end: End) -> Self {
        self.cut = Some((n, end));
        self
    }

    /// Stops after exactly `n` bytes after the head, chunk framing included.
    pub fn cut_body(self, n: usize, end: End) -> Self {
        let head = self.head_len();
        self.cut(head + n, end)
    }

    /// Writes `size` bytes at a time, each flushed, with `pause` between them.
    pub fn dribble(mut self, size: usize, pause: Duration) -> Self {
        self.dribble = Some((size, pause));
        self
    }

    /// Length of the head on the wire in bytes, 1xx included.
    pub fn head_len(&self) -> usize {
        self.interim.len() + self.head().len()
    }

    /// Length of the whole answer on the wire in bytes, when nothing is cut.
    pub fn wire_len(&self) -> usize {
        self.writes().iter().map(|(_, bytes)| bytes.len()).sum()
    }
}
