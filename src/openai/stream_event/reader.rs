//! Reads the events of one stream, most of which differ from the previous one in their text alone.
//!
//! The last event read is kept as a template: the bytes before its text and those after it. An event that matches the
//! template, with text that needs no decoding, means the same with that text; it is compared instead of parsed, at a
//! tenth of the cost. Any other event is parsed as if there were no template: the result may not depend on it.

use std::borrow::Cow;

use super::{Api, EventKind, SseEvent, StreamEvent, Text, read};

/// A template of more bytes is not kept, because a silent stream holds it.
const LARGEST: usize = 1024;

/// Reads the events of one stream.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    api: Api,
    /// The bytes before the text, then those after it; empty before the first event with text.
    template: Vec<u8>,
    /// Where the bytes after the text begin.
    behind: usize,
}

impl ChunkReader {
    /// A reader without a template.
    pub(crate) fn new(api: Api) -> Self {
        Self { api, template: Vec::new(), behind: 0 }
    }

    /// The same as [`read`].
    pub(crate) fn read<'a>(&mut self, event: &'a SseEvent) -> StreamEvent<'a> {
        if let Some(text) = self.text_of(event.bytes()) {
            return only(text);
        }
        let reading = read(self.api, event);
        self.learn(&reading, event.bytes());
        reading
    }

    /// The text of an event that matches the template.
    fn text_of<'a>(&self, event: &'a [u8]) -> Option<&'a str> {
        let (before, behind) = self.template.split_at_checked(self.behind)?;
        let text = event.strip_prefix(before)?.strip_suffix(behind)?;
        // Without a branch per byte, so that the compiler can vectorize it.
        let plain = text.iter().fold(true, |plain, byte| plain & (*byte >= b' ' && !b"\"\\".contains(byte)));
        (plain && !text.is_empty() && !before.is_empty()).then(|| std::str::from_utf8(text).ok())?
    }

    /// Makes a template of an event that carries nothing but its text.
    fn learn(&mut self, reading: &StreamEvent<'_>, event: &[u8]) {
        let Some(Text(Cow::Borrowed(text))) = &reading.text else { return };
        let start = (text.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        let (Some(before), Some(behind)) = (event.get(..start), event.get(start + text.len()..)) else {
            return;
        };
        if *reading == only(text) && before.len() + behind.len() <= LARGEST {
            self.template.clear();
            self.template.extend_from_slice(before);
            self.template.extend_from_slice(behind);
            self.behind = start;
        }
    }
}

/// An event with only text, of the only choice.
fn only(text: &str) -> StreamEvent<'_> {
    StreamEvent { text: Some(Text::new(text)), seen: 1, ..StreamEvent::with_kind(EventKind::Content) }
}

#[cfg(test)]
mod tests;
