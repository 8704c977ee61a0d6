//! A wire that brings what a script says, in its pieces, and takes everything.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

/// Brings `pieces` one by one, with a pause in front of each but the first, and then ends.
pub struct ScriptedWire {
    pieces: VecDeque<Bytes>,
    pauses: bool,
    /// A server speaks only after the client.
    opened: bool,
    waiting: Option<Waker>,
    /// Bytes that were read.
    pub consumed: Arc<AtomicUsize>,
}

impl ScriptedWire {
    /// What a client sends.
    pub fn client(input: &[u8], cuts: &[usize]) -> Self {
        Self::new(input, cuts, true)
    }

    /// What a server sends once it was written to.
    pub fn server(input: &[u8], cuts: &[usize]) -> Self {
        Self::new(input, cuts, false)
    }

    fn new(input: &[u8], cuts: &[usize], opened: bool) -> Self {
        let pieces = cut(input, cuts).map(Bytes::copy_from_slice).collect();
        Self { pieces, pauses: false, opened, waiting: None, consumed: Arc::default() }
    }
}

/// The pieces of `input`, cut at these ascending offsets; none is empty.
pub fn cut<'a>(input: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let ends = cuts.iter().copied().filter(|at| *at < input.len()).chain([input.len()]);
    let mut from = 0;
    ends.filter_map(move |to| {
        let piece = &input[from.min(to)..to];
        from = from.max(to);
        (!piece.is_empty()).then_some(piece)
    })
}

/// Runs to the end; nothing here ever waits for the world outside.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

impl AsyncRead for ScriptedWire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.opened {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if std::mem::take(&mut self.pauses) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(piece) = self.pieces.front_mut() {
            let length = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..length]);
            piece.advance(length);
            self.consumed.fetch_add(length, Relaxed);
        }
        if self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
            self.pauses = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ScriptedWire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.opened = true;
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
