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
    StreamEvent { text: Some(Text::new(text)), seen: 1, ..StreamEvent::of(EventKind::Content) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunk(text: &[u8]) -> SseEvent {
        let (before, behind) = (
            &b"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""[..],
            &b"\"},\"finish_reason\":null}]}\n\n"[..],
        );
        SseEvent::from(Bytes::from([before, text, behind].concat()))
    }

    /// Reads `event` with a reader that has read `first`; whether it matched.
    fn after(first: &SseEvent, event: &SseEvent) -> bool {
        let mut reader = ChunkReader::new(Api::Chat);
        drop(reader.read(first));
        let fits = reader.text_of(event.bytes()).is_some();
        assert_eq!(reader.read(event), read(Api::Chat, event), "{}", event.bytes().escape_ascii());
        fits
    }

    #[test]
    fn text_that_needs_no_decoding_fits() {
        for text in ["b", " ", "a longer text, {with} [signs]: 1,2", "naïve 東京 🦀", "\u{7f}"] {
            assert!(after(&chunk(b"a"), &chunk(text.as_bytes())), "{text}");
        }
    }

    #[test]
    fn any_other_text_is_read_whole() {
        let ends_itself = br#"b"},"finish_reason":"stop"}],"x":[{"y":{"z":""#;
        for text in [&b""[..], b"\\n", b"\\ud83d", b"\xff", b"\xe6\x9d", b"\x01", b"\"", b"\\", ends_itself] {
            assert!(!after(&chunk(b"a"), &chunk(text)), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn any_other_event_is_read_whole_and_makes_no_mould() {
        let others = [
            r#"{"id":"y","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            r#"{"id":"x","choices":[{"index":1,"delta":{"content":"a"},"finish_reason":null}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"reasoning":"r","content":"a"}}]}"#,
            r#"{"id":"x","choices":[],"usage":{"prompt_tokens":1}}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{}}]}"#,
            "[DONE]",
        ];
        for other in others {
            let other = SseEvent::from(Bytes::from(format!("data: {other}\n\n")));
            assert!(!after(&chunk(b"a"), &other));
            assert!(!after(&other, &chunk(b"a")));
        }
        assert!(!after(&chunk(b"a"), &SseEvent::from(Bytes::from_static(b"data: {\"id\":\"x\",\"ch"))));
    }

    #[test]
    fn a_large_mould_is_not_kept() {
        let large = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"x\":\"{}\"}}\n\n",
            "x".repeat(LARGEST)
        );
        let large = SseEvent::from(Bytes::from(large));
        assert!(!after(&large, &large));
    }
}
