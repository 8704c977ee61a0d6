//! One client connection: sends a request, reads its answer, and notes when what came.
//!
//! It must never judge by less than the whole answer: one that ends early, or without `[DONE]`, is an error.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    now_ns,
    wire::{self, Shape},
};

/// A connection that is kept for the next request.
pub struct Connection {
    stream: TcpStream,
    buf: Vec<u8>,
}

/// What one answer brought, nanoseconds.
#[derive(Debug, Default)]
pub struct Answer {
    /// When its first content came; none in an answer that is not streamed.
    pub first_at: Option<u64>,
    /// How long each chunk was under way.
    pub transits: Vec<u64>,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(addr: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buf: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the whole answer. `seen` is told of every chunk when it comes.
    pub async fn ask(
        &mut self,
        request: &[u8],
        shape: Shape,
        mut seen: impl FnMut(usize),
    ) -> io::Result<Answer> {
        self.buf.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            match wire::head_end(&self.buf) {
                Some(end) => break end,
                None => self.more().await?,
            };
        };
        let length = wire::content_length(&self.buf[..head]);
        let (mut answer, mut scanned) = (Answer::default(), head);
        loop {
            let (stamps, done) = wire::stamps(&self.buf[scanned..]);
            scanned += done;
            answer.note(&stamps);
            seen(stamps.len());
            if ends(&self.buf[head..], length) {
                break;
            }
            self.more().await?;
        }
        self.judge(head, shape, answer)
    }

    fn judge(&self, head: usize, shape: Shape, answer: Answer) -> io::Result<Answer> {
        let tail = &self.buf[self.buf.len().saturating_sub(200).max(head)..];
        let whole = shape.chunks() == 0 || wire::find(tail, b"[DONE]").is_some();
        let good = self.buf.starts_with(b"HTTP/1.1 2") && answer.transits.len() == shape.chunks() && whole;
        let what = || String::from_utf8_lossy(&self.buf[..self.buf.len().min(400)]).into_owned();
        good.then_some(answer).ok_or_else(|| io::Error::other(what()))
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buf).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Answer {
    fn note(&mut self, stamps: &[u64]) {
        let now = now_ns();
        if !stamps.is_empty() {
            self.first_at.get_or_insert(now);
        }
        self.transits.extend(stamps.iter().map(|stamp| now.saturating_sub(*stamp)));
    }
}

/// Whether the body is whole: by its length, or by its last chunk.
fn ends(body: &[u8], length: Option<usize>) -> bool {
    length.map_or_else(|| body.ends_with(b"\r\n0\r\n\r\n"), |length| body.len() >= length)
}

/// Sends one request over a connection of its own; status line, headers and body of the answer as text.
pub async fn exchange(addr: &str, request: &[u8]) -> io::Result<String> {
    let mut connection = Connection::open(addr).await?;
    connection.ask(request, Shape::Plain, |_| ()).await?;
    Ok(String::from_utf8_lossy(&connection.buf).into_owned())
}
