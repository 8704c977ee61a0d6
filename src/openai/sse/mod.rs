//! Server-sent events: splits a stream of chunks into whole events, on bytes.
//!
//! Lines end in `\n`, `\r\n` or `\r`, mixed as they come, and a chunk may be cut anywhere (HTML Living Standard,
//! 9.2.6). An event inside one chunk is a slice of it; only one that straddles chunks is copied, once.
//! Every byte is searched once, however small the chunks are. Nothing here decodes text or reads the data, and
//! nothing may ever delay an event whose blank line has arrived.

mod event;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

pub(crate) use event::{Run, SseEvent, SseFields};

/// The largest event we accept, in bytes: base64 images come as one line of several MiB.
pub(crate) const MAX_EVENT: usize = 8 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event grew past the limit; the stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is larger than {limit} bytes")]
pub(crate) struct EventTooLarge {
    /// The limit that was exceeded, in bytes.
    pub limit: usize,
}

/// Splits chunks into events. Push a chunk, then take events until there is none.
#[derive(Debug)]
pub(crate) struct Framer {
    max_event: usize,
    queue: VecDeque<Bytes>,
    /// The chunk being read: everything before `start` has been returned, everything before `scanned` searched.
    chunk: Bytes,
    start: usize,
    scanned: usize,
    /// The beginning of the current event, from earlier chunks.
    held: BytesMut,
    /// The current line is not empty.
    line_open: bool,
    /// The last byte searched was a `\r`: a `\n` directly after it belongs to it.
    after_cr: bool,
    /// The last event was returned at a `\r`: a `\n` directly after it is not part of the next event.
    swallow_lf: bool,
    /// No event has been returned yet, so a byte order mark may come.
    first: bool,
    overflown: bool,
}

impl Framer {
    /// A framer that rejects events longer than `max_event` bytes (usually [`MAX_EVENT`]).
    pub(crate) fn new(max_event: usize) -> Self {
        Self {
            max_event,
            queue: VecDeque::new(),
            chunk: Bytes::new(),
            start: 0,
            scanned: 0,
            held: BytesMut::new(),
            line_open: false,
            after_cr: false,
            swallow_lf: false,
            first: true,
            overflown: false,
        }
    }

    /// Adds a chunk from the network. After an event that was too large, nothing more is kept.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() && !self.overflown {
            self.queue.push_back(chunk);
        }
    }

    /// The next whole event, or `None` until more is pushed. A lone blank line is an event without fields.
    ///
    /// # Errors
    /// [`EventTooLarge`], and again on every later call: the rest of the stream cannot be trusted.
    pub(crate) fn next_event(&mut self) -> Result<Option<SseEvent>, EventTooLarge> {
        while !self.overflown {
            if self.scanned == self.chunk.len() && !self.next_chunk() {
                return Ok(None);
            }
            let end = self.find_end();
            if self.held.len() + self.scanned - self.start > self.max_event {
                *self = Self { overflown: true, ..Self::new(self.max_event) };
                break;
            }
            match end {
                Some(blank) => return Ok(Some(self.split_line(blank))),
                None => {
                    self.held.extend_from_slice(&self.chunk[self.start..]);
                    self.start = self.scanned;
                }
            }
        }
        Err(EventTooLarge { limit: self.max_event })
    }

    /// The event that the end of the stream left without its blank line, completed with one.
    ///
    /// The standard drops it, but servers that forget the last blank line, often after `[DONE]`, are common. Taking
    /// it is safe: a JSON object that was cut is never valid JSON, so a torn event reads as malformed, not as less.
    /// Call it after [`next_event`](Self::next_event) has returned `None`.
    pub(crate) fn finish(&mut self) -> Option<SseEvent> {
        if self.held.is_empty() {
            return None;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(if self.line_open || self.after_cr { b"\n\n" } else { b"\n" });
        (self.line_open, self.after_cr) = (false, false);
        let end = held.len();
        Some(self.event(held.freeze(), 0, end))
    }

    /// Moves on to the next chunk; false when there is none. A chunk that has been returned whole is freed: a silent stream
    /// holds no memory.
    fn next_chunk(&mut self) -> bool {
        let Some(chunk) = self.queue.pop_front() else {
            (self.chunk, self.start, self.scanned) = (Bytes::new(), 0, 0);
            return false;
        };
        let skip = usize::from(self.swallow_lf && chunk.first() == Some(&b'\n'));
        self.swallow_lf = false;
        (self.chunk, self.start, self.scanned) = (chunk, skip, skip);
        true
    }

    /// Searches for the blank line that ends the event; leaves `scanned` behind it, or at the end of the chunk.
    fn find_end(&mut self) -> Option<Blank> {
        while let Some(&byte) = self.chunk.get(self.scanned) {
            let after_cr = std::mem::take(&mut self.after_cr);
            if after_cr && byte == b'\n' {
                self.scanned += 1;
                continue;
            }
            let Some(at) = memchr2(b'\n', b'\r', &self.chunk[self.scanned..]) else {
                self.scanned = self.chunk.len();
                self.line_open = true;
                return None;
            };
            let blank = at == 0 && !self.line_open;
            let cr = self.chunk[self.scanned + at] == b'\r';
            self.scanned += at + 1;
            self.line_open = false;
            match (blank, cr) {
                (false, _) => self.after_cr = cr,
                (true, false) => return Some(Blank::Whole),
                (true, true) => return Some(self.blank_by_cr()),
            }
        }
        None
    }

    /// The blank line ended in `\r`: its `\n` may be here, may still come, or may never come.
    fn blank_by_cr(&mut self) -> Blank {
        match self.chunk.get(self.scanned) {
            Some(b'\n') => self.scanned += 1,
            Some(_) => {}
            None => return Blank::PerhapsHalf,
        }
        Blank::Whole
    }

    /// Takes the event that ends at `scanned`.
    ///
    /// Half a `\r\n` is enough to return the event at once. Where the line before ended in `\r\n` the missing `\n`
    /// is added, because some clients search for exactly `\r\n\r\n`; the real one is dropped when it arrives.
    fn split_line(&mut self, blank: Blank) -> SseEvent {
        let (from, to) = (self.start, self.scanned);
        self.start = to;
        self.swallow_lf = blank == Blank::PerhapsHalf;
        let tail = &self.chunk[from..to];
        if self.held.is_empty() && !(self.swallow_lf && tail.ends_with(b"\r\n\r")) {
            let whole = self.chunk.clone();
            return self.event(whole, from, to);
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(tail);
        if self.swallow_lf && whole.ends_with(b"\r\n\r") {
            whole.extend_from_slice(b"\n");
        }
        let end = whole.len();
        self.event(whole.freeze(), 0, end)
    }

    /// A byte order mark is removed: the client may have got bytes before, and in mid-stream it is part of a name.
    fn event(&mut self, whole: Bytes, mut start: usize, end: usize) -> SseEvent {
        if std::mem::take(&mut self.first)
            && let Some(rest) = whole[start..end].strip_prefix(BOM)
            // A second one is part of a name; at the beginning the client would take it for the mark.
            && !rest.starts_with(BOM)
        {
            start += BOM.len();
        }
        SseEvent::new(whole, start, end)
    }
}

/// How the blank line at the end of an event was recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blank {
    Whole,
    /// It ended in a `\r` at the end of the chunk: a `\n` may follow.
    PerhapsHalf,
}

#[cfg(test)]
mod tests;
