//! From a [`Script`] to socket operations: framing, then cuts, then the size of the writes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{End, Framing, Script, Step};

impl Script {
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
        if tail_missing(&steps) && matches!(self.framing, Framing::Close | Framing::Http10) {
            steps.push(Step::Over(End::Fin));
        }
        steps
    }

    /// Everything that would be written without a cut, each with the pause before it.
    pub(super) fn writes(&self) -> Vec<(Duration, Bytes)> {
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

    /// A body piece in the script's framing.
    pub(super) fn framed(&self, piece: &Bytes) -> Bytes {
        if self.framing == Framing::Chunked { chunk(piece) } else { piece.clone() }
    }

    /// The head of the final answer.
    pub(super) fn head(&self) -> Bytes {
        let mut head = BytesMut::new();
        let version = if self.framing == Framing::Http10 { "1.0" } else { "1.1" };
        let line = format!("HTTP/{version} {} {}\r\n", self.status, reason(self.status));
        head.extend_from_slice(line.as_bytes());
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
            Framing::Http10 => {}
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

/// The reason phrase; it is not used, but some parsers insist on the space before it.
fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Odd")
}
