//! A response body over time: it arrives word by word, or is cut off.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::sleep;

use super::response::DemoEvents;

/// A body that is cut off: the connection is closed in the middle of it.
#[derive(Debug, thiserror::Error)]
#[error("the simulated provider broke off")]
pub(crate) struct DemoTruncated;

/// The body of every response.
pub(crate) type PacedBody = StreamBody<BoxStream<'static, Result<Frame<Bytes>, DemoTruncated>>>;

/// The speed of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    /// Delay before the first word.
    pub first: Duration,
    /// Delay before each further word.
    pub gap: Duration,
}

impl Pacing {
    /// How long `words` words take in total.
    pub(crate) fn of_all(&self, words: usize) -> Duration {
        self.first + self.gap * u32::try_from(words).unwrap_or(u32::MAX)
    }
}

/// All of `text` at once; with `cut`, half of it.
pub(crate) fn whole(text: String, cut: bool) -> PacedBody {
    let mut bytes = Bytes::from(text);
    if cut {
        bytes.truncate(bytes.len() / 2);
    }
    body(stream::once(async { bytes }), cut)
}

/// `events` at `pace`; with `cut`, half of the words.
pub(crate) fn paced(events: DemoEvents, pace: Pacing, cut: bool) -> PacedBody {
    let DemoEvents { opening, mut words, closing } = events;
    if cut {
        words.truncate(words.len().div_ceil(2));
    }
    let spoken = words.into_iter().enumerate().map(move |(index, word)| {
        let pause = if index == 0 { pace.first } else { pace.gap };
        (pause, word)
    });
    let closing = Some(closing).filter(|_| !cut);
    let at_once = |events: Vec<String>| events.into_iter().map(|event| (Duration::ZERO, event));
    let script = at_once(opening).chain(spoken).chain(closing.into_iter().flat_map(at_once));
    let events = stream::iter(script).then(|(pause, event)| async move {
        sleep(pause).await;
        Bytes::from(event)
    });
    body(events, cut)
}

fn body(pieces: impl Stream<Item = Bytes> + Send + 'static, cut: bool) -> PacedBody {
    let end = stream::iter(cut.then_some(Err(DemoTruncated)));
    StreamBody::new(pieces.map(|bytes| Ok(Frame::data(bytes))).chain(end).boxed())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    const PACE: Pacing = Pacing { first: Duration::from_millis(80), gap: Duration::from_millis(20) };

    fn events() -> DemoEvents {
        let list = |texts: &[&str]| texts.iter().copied().map(str::to_owned).collect();
        DemoEvents {
            opening: list(&["role "]),
            words: list(&["a ", "b ", "c ", "d "]),
            closing: list(&["done"]),
        }
    }

    async fn read(mut body: PacedBody) -> (String, bool) {
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap(),
                Err(DemoTruncated) => return (text, false),
            }
        }
        (text, true)
    }

    #[tokio::test(start_paused = true)]
    async fn words_come_at_their_pace() {
        let start = Instant::now();
        assert_eq!(read(paced(events(), PACE, false)).await, ("role a b c d done".to_owned(), true));
        let took = start.elapsed().as_millis();
        assert!((140..150).contains(&took), "{took} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_answer_has_words_and_no_end() {
        assert_eq!(read(paced(events(), PACE, true)).await, ("role a b ".to_owned(), false));
        assert_eq!(read(whole("0123456789".to_owned(), true)).await, ("01234".to_owned(), false));
        assert_eq!(read(whole("0123456789".to_owned(), false)).await, ("0123456789".to_owned(), true));
    }
}
