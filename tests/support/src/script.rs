//! What a fake provider does with one request: the answer, and what is wrong with it.
//!
//! A [`Script`] describes head, framing and body, and then faults over them: a cut after n bytes, a stall, a
//! reset. [`Script::steps`] compiles it to plain socket operations, so that every fault composes with every answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// How a connection ends where the script says so.
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

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `content-length`, plus this lie (0 = the truth).
    Length(isize),
    /// `transfer-encoding: chunked`, a chunk per piece.
    Chunked,
    /// By closing the connection, as HTTP/1.0 did.
    Close,
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

/// One answer of a fake provider. See the module.
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

    /// One body piece instead of what was there.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = vec![(Duration::ZERO, body.into())];
        self
    }

    /// How the body's end is told.
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

    /// Stops after exactly `n` bytes behind the head, chunk framing included.
    pub fn cut_body(self, n: usize, end: End) -> Self {
        let head = self.head_len();
        self.cut(head + n, end)
    }

    /// Writes `size` bytes at a time, each flushed, with `pause` between them.
    pub fn dribble(mut self, size: usize, pause: Duration) -> Self {
        self.dribble = Some((size, pause));
        self
    }

    /// Bytes of the head as it goes over the wire, 1xx included.
    pub fn head_len(&self) -> usize {
        self.interim.len() + self.head().len()
    }

    /// Bytes of the whole answer on the wire, when nothing is cut.
    pub fn wire_len(&self) -> usize {
        self.writes().iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The socket operations, in order.
    pub fn steps(&self) -> Vec<Step> {
        let mut writes = self.writes();
        let mut tail = self.tail.clone();
        if let Some((n, end)) = self.cut {
            tail = Some(Step::Over(end));
            writes = take_bytes(writes, n);
        }
        if let Some((size, pause)) = self.dribble {
            writes = dribbled(writes, size.max(1), pause);
        }
        let mut steps = Vec::with_capacity(writes.len() + 1);
        for (pause, bytes) in writes {
            if !pause.is_zero() {
                steps.push(Step::Pause(pause));
            }
            steps.push(Step::Write(bytes));
        }
        steps.extend(tail);
        if tail_missing(&steps) && self.framing == Framing::Close {
            steps.push(Step::Over(End::Fin));
        }
        steps
    }

    /// Everything that would be written if nothing were cut, each with the pause before it.
    fn writes(&self) -> Vec<(Duration, Bytes)> {
        if let Some(raw) = &self.raw {
            return vec![(self.before_head, raw.clone())];
        }
        let head = [self.interim.clone(), self.head()].concat();
        let mut writes = vec![(self.before_head, Bytes::from(head))];
        for (i, (pause, piece)) in self.body.iter().enumerate() {
            let pause = if i == 0 { *pause + self.before_first } else { *pause };
            writes.push((pause, self.framed(piece)));
        }
        let endless = matches!(self.tail, Some(Step::Over(_) | Step::Repeat(..)));
        if self.framing == Framing::Chunked && !endless {
            writes.push((Duration::ZERO, Bytes::from_static(b"0\r\n\r\n")));
        }
        writes
    }

    /// A body piece as the framing wants it.
    fn framed(&self, piece: &Bytes) -> Bytes {
        if self.framing == Framing::Chunked { chunk(piece) } else { piece.clone() }
    }

    /// The head of the final answer.
    fn head(&self) -> Bytes {
        let mut head = BytesMut::new();
        head.extend_from_slice(format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).as_bytes());
        for (name, value) in &self.headers {
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match self.framing {
            Framing::Length(lie) => {
                let length: usize = self.body.iter().map(|(_, piece)| piece.len()).sum();
                let told = length.saturating_add_signed(lie);
                head.extend_from_slice(format!("content-length: {told}\r\n").as_bytes());
            }
            Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::Close => head.extend_from_slice(b"connection: close\r\n"),
        }
        head.extend_from_slice(b"\r\n");
        head.freeze()
    }
}

/// One chunk of `transfer-encoding: chunked`.
fn chunk(piece: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(piece.len() + 16);
    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

/// Whether the last step leaves the connection open.
fn tail_missing(steps: &[Step]) -> bool {
    !matches!(steps.last(), Some(Step::Over(_) | Step::Repeat(..)))
}

/// The first `n` bytes of the writes.
fn take_bytes(writes: Vec<(Duration, Bytes)>, mut n: usize) -> Vec<(Duration, Bytes)> {
    let mut taken = Vec::new();
    for (pause, bytes) in writes {
        if n == 0 {
            break;
        }
        let now = bytes.len().min(n);
        taken.push((pause, bytes.slice(..now)));
        n -= now;
    }
    taken
}

/// The writes in pieces of `size` bytes.
fn dribbled(writes: Vec<(Duration, Bytes)>, size: usize, pause: Duration) -> Vec<(Duration, Bytes)> {
    let mut out = Vec::new();
    for (before, bytes) in writes {
        for (i, from) in (0..bytes.len()).step_by(size).enumerate() {
            let to = (from + size).min(bytes.len());
            out.push((if i == 0 { before + pause } else { pause }, bytes.slice(from..to)));
        }
    }
    out
}

/// The reason phrase; nobody reads it, some parsers insist on the space before it.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Odd")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(script: &Script) -> String {
        let mut out = Vec::new();
        for step in script.steps() {
            if let Step::Write(bytes) = step {
                out.extend_from_slice(&bytes);
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_json_answer_is_plain_http() {
        let expect = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(wire(&Script::json("{}")), expect);
    }

    #[test]
    fn a_stream_is_chunked_and_ends() {
        let script = Script::sse(["data: 1\n\n"]);
        assert!(wire(&script).ends_with("\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"));
        assert_eq!(script.wire_len(), wire(&script).len());
    }

    #[test]
    fn a_cut_counts_bytes_on_the_wire() {
        let script = Script::sse(["data: 1\n\n", "data: 2\n\n"]);
        for n in 0..=script.wire_len() {
            assert_eq!(wire(&script.clone().cut(n, End::Fin)).len(), n);
        }
        let body = script.clone().cut_body(0, End::Reset);
        assert_eq!(wire(&body).len(), script.head_len());
        assert!(matches!(body.steps().last(), Some(Step::Over(End::Reset))));
    }

    #[test]
    fn stopping_after_events_leaves_the_body_open() {
        let script = Script::sse(["data: 1\n\n", "data: 2\n\n"]).stop_after(1, End::Hang);
        assert!(wire(&script).ends_with("data: 1\n\n\r\n"));
    }

    #[test]
    fn dribbling_changes_the_writes_and_not_the_bytes() {
        let script = Script::json("{\"a\":1}");
        assert_eq!(wire(&script.clone().dribble(1, Duration::ZERO)), wire(&script));
    }

    #[test]
    fn a_wrong_length_is_told() {
        let script = Script::json("{}").framing(Framing::Length(5));
        assert!(wire(&script).contains("content-length: 7\r\n"));
    }
}
