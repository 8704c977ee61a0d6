//! A provider's event stream, read event by event with running statistics.
//!
//! It reports what arrived and whether the answer is complete; it decides nothing. It never reads ahead of what is
//! requested, so a slow client slows the provider down. An end without `finish_reason` is never a proper end.

use bytes::Bytes;
use http_body_util::BodyExt;

use super::outcome::BrokenKind;
use crate::{
    openai::{
        Api,
        error::ProviderError,
        sse::{Framer, MAX_EVENT, SseEvent},
        stream_event::{ChunkReader, EventKind, StreamEvent},
        usage::Usage,
    },
    upstream::client::UpstreamBody,
};

/// Statistics of a stream so far.
#[derive(Debug, Clone, Default)]
pub struct StreamStats {
    /// Choices that have begun, as bits.
    seen: u64,
    /// Choices that have ended, as bits.
    finished: u64,
    /// The last usage that was reported.
    pub usage: Option<Usage>,
    /// Number of content events.
    pub events: u64,
    /// Text of choice 0, in bytes of JSON.
    pub text: usize,
    /// The stream carries content that no other target can continue: tools, reasoning, audio, several choices.
    pub opaque: bool,
    /// Events that were not relayed.
    pub noise: u64,
}

impl StreamStats {
    /// Whether every choice that began has ended.
    pub fn is_whole(&self) -> bool {
        self.seen != 0 && self.seen & !self.finished == 0
    }

    fn take(&mut self, reading: &StreamEvent<'_>) {
        self.seen |= reading.seen;
        self.finished |= reading.finished;
        self.usage = reading.usage.or(self.usage);
        self.events += u64::from(reading.kind == EventKind::Content);
        self.text += reading.text.as_ref().map_or(0, |text| text.escaped().len());
        self.opaque |= reading.opaque || reading.reasoning || self.seen > 1;
        self.noise += u64::from(reading.kind == EventKind::Noise);
    }
}

/// The next item of a stream.
#[derive(Debug)]
pub enum StreamItem {
    /// An event for the client.
    Event(SseEvent, EventRole),
    /// The end of a complete answer; with the `[DONE]` event if there was one.
    End(Option<SseEvent>),
    /// The end of an incomplete answer.
    Broken(StreamError),
}

/// The role of an event in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventRole {
    /// Content of the answer, or its end: commits, and resets the timers.
    Content,
    /// Belongs to the answer without being content.
    Frame,
}

/// Why a stream broke.
#[derive(Debug, Clone)]
pub struct StreamError {
    /// The kind of break, for the outcome.
    pub kind: BrokenKind,
    /// The provider's error event, if it sent one.
    pub error: Option<Box<ProviderError>>,
}

impl StreamError {
    fn new(kind: BrokenKind) -> Self {
        Self { kind, error: None }
    }
}

/// A provider's event stream.
pub struct EventStream {
    api: Api,
    /// The client requested the chunk that has only usage.
    wants_usage: bool,
    body: Option<UpstreamBody>,
    /// The connection broke: the body is not complete.
    cut: bool,
    framer: Framer,
    reader: ChunkReader,
    /// Statistics so far.
    pub tally: StreamStats,
}

impl EventStream {
    /// Reads `body`, of which `first` was read already.
    pub fn new(api: Api, wants_usage: bool, first: Bytes, body: UpstreamBody) -> Self {
        let mut framer = Framer::new(MAX_EVENT);
        framer.push(first);
        let (reader, tally) = (ChunkReader::new(api), StreamStats::default());
        Self { api, wants_usage, body: Some(body), cut: false, framer, reader, tally }
    }

    /// The next item among the bytes that have been read; `None` until [`EventStream::read`] has read more.
    pub fn next_framed(&mut self) -> Option<StreamItem> {
        self.next_heard(|_| ())
    }

    /// The same, passing the meaning of each event to `hear`: parsing it twice would double the cost.
    pub fn next_heard(&mut self, mut hear: impl FnMut(&StreamEvent<'_>)) -> Option<StreamItem> {
        loop {
            let event = match self.framer.next_event() {
                Ok(Some(event)) => event,
                Ok(None) if self.body.is_some() => return None,
                Ok(None) => match self.framer.finish() {
                    Some(event) => event,
                    None => return Some(self.ended(None)),
                },
                Err(_) => return Some(StreamItem::Broken(StreamError::new(BrokenKind::Malformed))),
            };
            if let Some(item) = self.weigh(event, &mut hear) {
                return Some(item);
            }
        }
    }

    /// Waits for more bytes, or the end. Cancel-safe.
    pub async fn read(&mut self) {
        let Some(body) = &mut self.body else { return };
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.framer.push(data);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "stream cut off");
                (self.body, self.cut) = (None, true);
            }
            None => self.body = None,
        }
    }

    /// Reads to the end of the HTTP message, so that the connection can be reused.
    pub async fn drain(&mut self) {
        while self.body.is_some() {
            self.read().await;
        }
    }

    fn weigh(&mut self, event: SseEvent, hear: &mut impl FnMut(&StreamEvent<'_>)) -> Option<StreamItem> {
        let reading = self.reader.read(&event);
        self.tally.take(&reading);
        let finishes = reading.finished != 0;
        let role = match &reading.kind {
            EventKind::Content => EventRole::Content,
            EventKind::Frame if finishes && self.tally.is_whole() => EventRole::Content,
            EventKind::Frame => EventRole::Frame,
            EventKind::UsageOnly if self.wants_usage => EventRole::Frame,
            EventKind::UsageOnly | EventKind::Noise => return None,
            EventKind::Done => return Some(self.ended(Some(event))),
            EventKind::Error(error) => {
                let error = Some(error.clone());
                return Some(StreamItem::Broken(StreamError { kind: BrokenKind::Error, error }));
            }
            EventKind::Malformed => return Some(StreamItem::Broken(StreamError::new(BrokenKind::Malformed))),
        };
        hear(&reading);
        Some(StreamItem::Event(event, role))
    }

    /// For an API we do not know, the end of the message is the end of the answer.
    fn ended(&self, done: Option<SseEvent>) -> StreamItem {
        let unknown = matches!(self.api, Api::Other | Api::Embeddings);
        if (unknown && !self.cut) || self.tally.is_whole() {
            StreamItem::End(done)
        } else {
            StreamItem::Broken(StreamError::new(BrokenKind::Cut))
        }
    }
}
