//! The bytes below HTTP/1.1: TCP, or TLS over it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once.
pub const READ_AHEAD: usize = 16 * 1024;

/// TCP, or TLS over it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What one read brings, from a buffer on the stack: while it waits, a connection holds none. No bytes are the end.
///
/// # Errors
/// The wire's.
pub fn poll_read<T>(
    wire: &mut Box<dyn Io>,
    cx: &mut Context<'_>,
    see: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut scratch = [const { MaybeUninit::uninit() }; READ_AHEAD];
    let mut buffer = ReadBuf::uninit(&mut scratch);
    ready!(Pin::new(wire).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(see(buffer.filled())))
}

/// Writes some of `slices`; answers how many bytes, never none.
///
/// # Errors
/// The wire's.
pub fn poll_write(
    wire: &mut Box<dyn Io>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let wire = Pin::new(wire);
    let polled = match slices {
        // Cheaper than the call for many.
        [one] => wire.poll_write(cx, one),
        many => wire.poll_write_vectored(cx, many),
    };
    match ready!(polled)? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

/// A wire of which something was read already, as if it had not been.
pub struct RewindIo {
    read: Bytes,
    wire: Box<dyn Io>,
}

impl RewindIo {
    /// `wire`, with `read` in front of what comes.
    pub fn new(read: Bytes, wire: Box<dyn Io>) -> Self {
        Self { read, wire }
    }
}

impl AsyncRead for RewindIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RewindIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
