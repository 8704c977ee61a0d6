//! Requests on raw keep-alive connections: cheap enough for ten thousand at once and for millions in a row.
//!
//! It must never retry or reconnect: whoever measures decides what a failure means.

use std::io;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One connection; one request at a time, or many in a pipeline.
pub struct Line {
    stream: TcpStream,
    buf: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// What follows the head.
    pub body: Vec<u8>,
    /// Bytes on the wire, body included.
    pub length: usize,
}

impl Line {
    /// Connects to `host:port`.
    pub async fn open(addr: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buf: Vec::new() })
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request).await?;
        self.answer().await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits for the next answer that states its length.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let head = String::from_utf8_lossy(&self.until(b"\r\n\r\n").await?).into_owned();
        let body: usize = header(&head, "content-length").parse().map_err(|_| odd(&head))?;
        let status = head.get(9..12).and_then(|code| code.parse().ok()).ok_or_else(|| odd(&head))?;
        let length = head.len() + body;
        let body = self.take(body).await?;
        Ok(Answer { status, head, body, length })
    }

    /// Reads `length` bytes and hands them out.
    pub async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buf.len() < length {
            self.more().await?;
        }
        Ok(self.buf.drain(..length).collect())
    }

    /// Reads until `end` has come, whatever it is in; everything up to there.
    pub async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.buf.windows(end.len()).position(|window| window == end);
            match found {
                Some(at) => return self.take(at + end.len()).await,
                None => self.more().await?,
            }
        }
    }

    /// Closes with a reset instead of a farewell.
    pub fn reset(self) {
        // It is closed either way.
        drop(self.stream.set_zero_linger());
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buf).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Answer {
    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The bytes of a chat of `user`; whatever `more` holds is added to its body.
pub fn chat(user: &str, more: &Value) -> Vec<u8> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Name a colour."}]});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    post("/v1/chat/completions", user, &body)
}

/// The bytes of a request of `user` with a JSON body.
pub fn post(path: &str, user: &str, body: &Value) -> Vec<u8> {
    send("POST", path, &[("x-user-id", user)], body.to_string().as_bytes())
}

/// The bytes of a request with these headers; a body is JSON.
pub fn send(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let named = head.lines().filter_map(|line| line.split_once(':'));
    named.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
}

fn odd(head: &str) -> io::Error {
    io::Error::other(format!("an odd answer: {head}"))
}
