//! What the model says in answer to a call, for a memory that keeps answers.
//!
//! Only an answer that is whole, in words alone and not too long is worth keeping; anything else is let go of as soon
//! as that is known. It must never hold up or change the answer: it listens.

use parking_lot::Mutex;

use crate::openai::{
    Api, answer_text,
    stream_event::{self, StreamEvent},
};

/// Longer answers are not kept, in bytes of JSON.
const LONGEST: usize = 64 << 10;

/// An answer as far as it was heard.
#[derive(Debug, Default)]
pub struct AnswerCapture(Mutex<Captured>);

#[derive(Debug)]
enum Captured {
    /// So far, escaped as it came.
    Pieces(String),
    Whole(String),
    /// It is none that is kept.
    Lost,
}

impl Default for Captured {
    fn default() -> Self {
        Self::Pieces(String::new())
    }
}

impl AnswerCapture {
    /// One event of a stream has gone to the client.
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

    /// The stream has come to its proper end.
    pub fn finish(&self) {
        let mut heard = self.0.lock();
        if let Captured::Pieces(said) = &*heard {
            *heard = stream_event::unescape(said)
                .map_or(Captured::Lost, |said| Captured::Whole(said.into_owned()));
        }
    }

    /// The answer came in one piece.
    pub fn whole(&self, api: Api, body: &[u8]) {
        let said = answer_text::words(api, body).filter(|said| said.len() <= LONGEST);
        *self.0.lock() = said.map_or(Captured::Lost, Captured::Whole);
    }

    /// The words of a whole answer, if there were any.
    pub fn take(&self) -> Option<String> {
        match std::mem::take(&mut *self.0.lock()) {
            Captured::Whole(said) if !said.trim().is_empty() => Some(said),
            _ => None,
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
        // Half a character per piece, and reasoning that is not said.
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
