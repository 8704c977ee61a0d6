//! The text of the model's answer to a call, for a memory that stores answers.
//!
//! Only a complete answer of plain text below a size limit is kept. Anything else is discarded as soon as that is
//! known. Capturing must never delay or change the answer: it only observes.

use parking_lot::Mutex;

use crate::openai::{
    Api, answer_text,
    stream_event::{self, StreamEvent},
};

/// The longest answer that is kept, in bytes of JSON.
const LONGEST: usize = 64 << 10;

/// The answer captured so far.
#[derive(Debug, Default)]
pub struct AnswerCapture(Mutex<Captured>);

#[derive(Debug)]
enum Captured {
    /// The text so far, still JSON-escaped as it arrived.
    Pieces(String),
    Whole(String),
    /// The answer will not be kept.
    Lost,
}

impl Default for Captured {
    fn default() -> Self {
        Self::Pieces(String::new())
    }
}

impl AnswerCapture {
    /// Observes one event of a stream that has gone to the client.
    pub fn event(&self, reading: &StreamEvent<'_>) {
        let mut heard = self.0.lock();
        let Captured::Pieces(said) = &mut *heard else { return };
        if let Some(text) = &reading.text {
            said.push_str(text.escaped());
        }
        let several = reading.seen > 1;
        if reading.opaque || reading.withheld || several || said.len() > LONGEST {
            *heard = Captured::Lost;
        }
    }

    /// The stream has ended properly.
    pub fn finish(&self) {
        let mut heard = self.0.lock();
        if let Captured::Pieces(said) = &*heard {
            *heard = stream_event::unescape(said)
                .map_or(Captured::Lost, |said| Captured::Whole(said.into_owned()));
        }
    }

    /// Captures an answer that arrived in one piece.
    pub fn whole(&self, api: Api, body: &[u8]) {
        let said = answer_text::words(api, body).filter(|said| said.len() <= LONGEST);
        *self.0.lock() = said.map_or(Captured::Lost, Captured::Whole);
    }

    /// The text of a complete answer, if there was any.
    pub fn take(&self) -> Option<String> {
        match std::mem::take(&mut *self.0.lock()) {
            Captured::Whole(said) if !said.trim().is_empty() => Some(said),
            Captured::Pieces(_) | Captured::Whole(_) | Captured::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::sse::SseEvent;

    fn hear(chunks: &[&str]) -> AnswerCapture {
        let capture = AnswerCapture::default();
        for data in chunks {
            let event = SseEvent::from(bytes::Bytes::from(format!("data: {data}\n\n")));
            capture.event(&stream_event::read(Api::Chat, &event));
        }
        capture
    }

    fn said(words: &str) -> String {
        format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{words}"}}}}]}}"#)
    }

    fn end(reason: &str) -> String {
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
    }

    #[test]
    fn an_answer_is_kept_once_it_has_ended() {
        // Half a character per piece, and reasoning that is not part of the text.
        let thought = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#;
        for reason in ["stop", "length", "end_turn"] {
            let heard = hear(&[thought, &said("a \\ud83d"), &said("\\udc1d \\n"), &end(reason)]);
            assert_eq!(heard.take(), None, "not before its end");
            let heard = hear(&[thought, &said("a \\ud83d"), &said("\\udc1d \\n"), &end(reason)]);
            heard.finish();
            assert_eq!(heard.take().as_deref(), Some("a 🐝 \n"));
            assert_eq!(heard.take(), None);
        }
    }

    #[test]
    fn what_is_no_plain_whole_answer_is_not_kept() {
        let tool = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}"#;
        let second = r#"{"choices":[{"index":1,"delta":{"content":"b"}}]}"#;
        let long = said(&"x".repeat(LONGEST + 1));
        let (stop, calls, filtered) = (end("stop"), end("tool_calls"), end("content_filter"));
        let a = said("a");
        for chunks in [
            [&a[..], tool, &stop],
            [&a, second, &stop],
            [&a, &long, &stop],
            [&a, &calls, ""],
            [&a, &filtered, ""],
        ] {
            let heard = hear(&chunks);
            heard.finish();
            assert_eq!(heard.take(), None, "{:.60}", chunks[1]);
        }
        let silent = hear(&[&stop]);
        silent.finish();
        assert_eq!(silent.take(), None);
    }
}
