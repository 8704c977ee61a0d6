//! One server-sent event: its bytes, its fields, and runs of adjacent events.
//!
//! An event is a slice of the chunk it came in; nothing here may copy the data of a one-line event.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// One whole event with its blank line.
#[derive(Debug, Clone)]
pub struct SseEvent {
    whole: Bytes,
    start: usize,
    end: usize,
}

impl SseEvent {
    /// The bytes `start..end` of `whole`.
    pub(super) fn new(whole: Bytes, start: usize, end: usize) -> Self {
        Self { whole, start, end }
    }

    /// The event as it came, with its blank line.
    pub fn bytes(&self) -> &[u8] {
        &self.whole[self.start..self.end]
    }

    /// The event as it came, without a copy.
    pub fn raw(&self) -> Bytes {
        self.whole.slice(self.start..self.end)
    }

    /// Name and data, in one pass over the lines.
    pub fn fields(&self) -> SseFields<'_> {
        let mut fields = SseFields::default();
        let mut rest = self.bytes();
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.strip_prefix(b"\r\n").or(after.get(1..)).unwrap_or_default();
            fields.line(line);
        }
        fields
    }

    /// The data lines joined by `\n`; `None` without a data line.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        self.fields().data
    }

    /// The value of the `event` field.
    pub fn name(&self) -> Option<&[u8]> {
        self.fields().name
    }
}

impl From<Bytes> for SseEvent {
    /// `whole` must be one event with its blank line.
    fn from(whole: Bytes) -> Self {
        let end = whole.len();
        Self { whole, start: 0, end }
    }
}

/// The fields of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SseFields<'a> {
    /// The value of the last `event` line.
    pub name: Option<&'a [u8]>,
    /// The data lines joined by `\n`; borrowed when there is just one.
    pub data: Option<Cow<'a, [u8]>>,
}

impl<'a> SseFields<'a> {
    fn line(&mut self, line: &'a [u8]) {
        let (field, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = Some(value),
            b"data" => self.add_data(value),
            _ => {}
        }
    }

    fn add_data(&mut self, value: &'a [u8]) {
        match &mut self.data {
            None => self.data = Some(Cow::Borrowed(value)),
            Some(data) => {
                let data = data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
}

/// Joins events that are adjacent in one chunk, so that a burst is sent as one slice.
#[derive(Debug, Default)]
pub(crate) struct Run(Option<SseEvent>);

impl Run {
    /// Adds an event; if it is not adjacent to the run, returns the run so far and begins a new one.
    #[must_use = "the bytes that come back must be sent first"]
    pub(crate) fn add(&mut self, event: SseEvent) -> Option<Bytes> {
        match &mut self.0 {
            // The same memory: both slices are alive, so the address cannot have been reused.
            Some(run)
                if run.end == event.start
                    && run.whole.as_ptr() == event.whole.as_ptr()
                    && run.whole.len() == event.whole.len() =>
            {
                run.end = event.end;
                None
            }
            run => run.replace(event).map(|done| done.raw()),
        }
    }

    /// Ends the run and takes its bytes.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.0.take().map(|run| run.raw())
    }
}
