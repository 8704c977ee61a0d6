//! HTTP/2 by hand: frames as a test needs them, valid or not.
//!
//! A library would refuse to send most of what is sent here. It acknowledges settings and pings, so that a connection
//! stays open while one of its streams is broken; it opens a window only on request.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Types of frames.
pub mod kind {
    #![allow(missing_docs, reason = "the names of RFC 9113, section 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flag of the last frame of a stream.
pub const END_STREAM: u8 = 1;
/// Flag of the last frame of a head.
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type, one of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether this is the head of an answer with status 200.
    pub fn is_ok(&self) -> bool {
        // Index 8 of HPACK's static table, which every encoder uses.
        self.kind == kind::HEADERS && self.payload.first() == Some(&0x88)
    }
}

/// A client connection.
pub struct RawH2 {
    tcp: TcpStream,
    read: BytesMut,
}

impl RawH2 {
    /// Connects to `host:port` and announces `window` bytes for each answer.
    pub async fn connect(addr: &str, window: u32) -> Self {
        let mut tcp = TcpStream::connect(addr).await.expect("it listens");
        let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
        let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &setting)].concat();
        tcp.write_all(&hello).await.expect("it reads");
        Self { tcp, read: BytesMut::new() }
    }

    /// Sends these bytes; false once the peer has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.tcp.write_all(bytes).await.is_ok()
    }

    /// The next frame other than settings and pings, which are acknowledged; `None` once the peer has closed, or
    /// `quiet` has passed without a byte.
    pub async fn next(&mut self, quiet: Duration) -> Option<Frame> {
        loop {
            let Some(frame) = self.take() else {
                let read = timeout(quiet, self.tcp.read_buf(&mut self.read)).await;
                match read {
                    Ok(Ok(n)) if n > 0 => continue,
                    _ => return None,
                }
            };
            match frame.kind {
                kind::SETTINGS | kind::PING if frame.flags & ACK == 0 => {
                    let payload = if frame.kind == kind::PING { &frame.payload[..] } else { &[] };
                    self.send(&self::frame(frame.kind, ACK, 0, payload)).await;
                }
                kind::SETTINGS | kind::PING => {}
                _ => return Some(frame),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.read.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.read.get(9..9 + length)?.to_vec();
        self.read.advance(9 + length);
        Some(Frame { kind, flags, stream, payload })
    }
}

/// A frame as it is on the wire.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A whole head in one frame.
pub fn headers(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | flags, stream, &block(fields))
}

/// A body, or the end of one, in frames of the size that every peer accepts.
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, END_STREAM, stream, bytes)
}

/// Resets a stream.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Allows `bytes` more bytes to be received.
pub fn open_window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A header block (RFC 7541): every field a literal that is never indexed, in this order and this exact spelling.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn length(mut n: usize, out: &mut Vec<u8>) {
    if n < 127 {
        return out.push(n as u8);
    }
    out.push(127);
    n -= 127;
    while n >= 128 {
        out.push((n % 128) as u8 | 128);
        n /= 128;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_blocks_are_as_the_standards_say() {
        assert_eq!(frame(kind::DATA, END_STREAM, 3, b"ab"), [0, 0, 2, 0, 1, 0, 0, 0, 3, b'a', b'b']);
        assert_eq!(block(&[("a", "bc")]), [0, 1, b'a', 2, b'b', b'c']);
        let long = block(&[("a", &"x".repeat(1337))]);
        // RFC 7541, C.1.2 has 1337 with five bits; with seven it is 127, then 1210 as 186 and 9.
        assert_eq!(long[3..6], [127, 186, 9]);
    }
}
