//! Carries an answer to the client: events as they arrive, with nothing added, reordered or invented.
//!
//! The relay is the response body itself, polled by the client's connection: no task, no channel. When a client
//! leaves, the relay is dropped, which closes the connection to the provider and frees the slot.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{
    select,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{attempt_loop::AttemptLoop, rescue, transcript::Transcript};
use crate::{
    call::{AnswerCapture, Phase},
    clock,
    failpoint::{self, Failpoint},
    openai::{
        Api, error,
        sse::{Run, SseEvent},
        stream_event::{self, StreamEvent},
    },
    upstream::{
        Attempt,
        exchange::{
            OpenStream,
            event_stream::{EventRole, EventStream, StreamError, StreamItem},
            outcome::BrokenKind,
        },
    },
};

/// Silence after which the client gets a comment.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A comment is the one keep-alive that every client accepts.
pub(crate) const KEEP_ALIVE_COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Wait for usage and `[DONE]` after the answer is complete.
const AFTER_THE_END: Duration = Duration::from_secs(2);
/// Wait for the end of the message after `[DONE]`, so that the connection can be reused.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest text that is kept for a rescue, in bytes.
const MAX_TRANSCRIPT: usize = 256 << 10;
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// An event stream on its way to the client.
pub struct Relay {
    search: AttemptLoop,
    source: Option<RelaySource>,
    /// Events that were read and not sent yet.
    lead: std::vec::IntoIter<SseEvent>,
    run: Run,
    /// The text the client has, still JSON-escaped; `None` once it cannot be spliced.
    said: Option<Transcript>,
    state: RelayState,
    /// When the client last got bytes.
    sent_at: Instant,
    /// When the client last polled: any silence before that was the client's and not the provider's.
    resumed_at: Instant,
    /// Bytes were handed to the client, and it has not polled again yet.
    fed: bool,
    /// Wakes the relay when a deadline may have passed. It stays armed from read to read: arming it for each chunk costs
    /// more than relaying the chunk.
    alarm: Pin<Box<Sleep>>,
    /// Resolves when streams must end for a shutdown.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Drop for RelaySource {
    /// If the client leaves, records what was counted so far.
    fn drop(&mut self) {
        self.attempt.used(self.stream.tally.usage);
        self.attempt.left_out(self.stream.tally.noise);
    }
}

/// Where the events come from.
struct RelaySource {
    stream: EventStream,
    attempt: Attempt,
    stall: Duration,
    last_content: Instant,
    longest_gap: Option<Duration>,
}

enum RelayState {
    Flowing,
    /// The answer is complete; these bytes are the last.
    Ending(Option<Bytes>),
    Broken(StreamError),
    Over,
}

impl Relay {
    /// The relay of `open`.
    pub fn new(search: AttemptLoop, open: OpenStream) -> Self {
        let said = rescue::can_splice(&search.call).then(Transcript::default);
        let alarm = Box::pin(sleep(KEEP_ALIVE));
        let cut = Box::pin(search.dispatcher.tasks().abort_streams().clone().cancelled_owned());
        let mut relay = Self {
            search,
            source: None,
            lead: Vec::new().into_iter(),
            run: Run::default(),
            said,
            state: RelayState::Flowing,
            sent_at: clock::now(),
            resumed_at: clock::now(),
            fed: false,
            alarm,
            cut,
        };
        relay.take_over(open);
        relay
    }

    /// The next bytes for the client; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.fed) {
            self.resumed_at = clock::now();
        }
        loop {
            if let Some(bytes) = self.framed() {
                (self.sent_at, self.fed) = (clock::now(), true);
                return Some(bytes);
            }
            match std::mem::replace(&mut self.state, RelayState::Flowing) {
                RelayState::Flowing => {
                    let comment = self.read().await;
                    failpoint::request(Failpoint::Stream, &self.search.call.id);
                    if comment.is_some() {
                        return comment;
                    }
                }
                RelayState::Ending(last) => {
                    self.complete();
                    self.state = RelayState::Over;
                    if last.is_some() {
                        return last;
                    }
                }
                RelayState::Broken(broken) => {
                    // On the heap, because it is rare and large: a healthy stream must not carry its size.
                    if let Some(error) = Box::pin(self.resume_after(broken)).await {
                        return Some(error);
                    }
                }
                RelayState::Over => {
                    self.state = RelayState::Over;
                    return None;
                }
            }
        }
    }

    fn take_over(&mut self, open: OpenStream) {
        let OpenStream { lead, stream, attempt, stall, .. } = open;
        self.lead = lead.into_iter();
        let last_content = clock::now();
        self.source = Some(RelaySource { stream, attempt, stall, last_content, longest_gap: None });
        self.state = RelayState::Flowing;
    }

    /// The events that have been read and can be sent, in as few slices as possible.
    fn framed(&mut self) -> Option<Bytes> {
        // One for all: the events framed here arrived with one read.
        let mut now = None;
        while let RelayState::Flowing = self.state {
            match self.next_item() {
                Some(StreamItem::Event(event, role)) => {
                    if role == EventRole::Content {
                        self.content_received(*now.get_or_insert_with(clock::now));
                    }
                    if let Some(bytes) = self.run.add(event) {
                        return Some(bytes);
                    }
                }
                Some(StreamItem::End(done)) => {
                    self.state = RelayState::Ending(done.map(|done| done.raw()).or_else(|| self.done()));
                }
                Some(StreamItem::Broken(broken)) => self.state = RelayState::Broken(broken),
                None => break,
            }
        }
        self.run.take()
    }

    fn next_item(&mut self) -> Option<StreamItem> {
        let Self { search, source, lead, said, .. } = self;
        let mut ears = TextObservers { said, capture: search.call.capture.as_deref() };
        if let Some(event) = lead.next() {
            ears.observe(&stream_event::read(search.call.api, &event));
            return Some(StreamItem::Event(event, EventRole::Frame));
        }
        source.as_mut()?.stream.next_heard(|reading| ears.observe(reading))
    }

    /// The terminator of a complete answer whose provider did not send one.
    fn done(&self) -> Option<Bytes> {
        matches!(self.search.call.api, Api::Chat | Api::Completions).then_some(DONE)
    }

    fn content_received(&mut self, now: Instant) {
        if let Some(source) = &mut self.source {
            let gap = now.saturating_duration_since(source.last_content.max(self.resumed_at));
            source.longest_gap = source.longest_gap.max(Some(gap));
            source.last_content = now;
        }
    }

    /// Waits for more, up to the next deadline. Returns a comment if the client has received nothing for too long.
    async fn read(&mut self) -> Option<Bytes> {
        let Some(source) = &mut self.source else {
            self.state = RelayState::Over;
            return None;
        };
        let whole = source.stream.tally.is_whole();
        let silence = if whole { AFTER_THE_END } else { source.stall };
        let stalls = source.last_content.max(self.resumed_at) + silence;
        let ends = self.search.call.deadline;
        // Checked first: where the provider is always ahead of a slow client, the wait below never happens.
        if ends <= clock::now() && !whole {
            return Some(self.out_of_time());
        }
        let due = stalls.min(ends).min(self.sent_at + KEEP_ALIVE);
        // It is nearly always due later than before. The timer stays, and is armed anew when it has fired too early.
        if due < self.alarm.deadline() {
            self.alarm.as_mut().reset(due);
        }
        select! {
            biased;
            () = source.stream.read() => return None,
            () = self.alarm.as_mut() => {}
            () = self.cut.as_mut() => return Some(self.shut_down()),
        }
        let now = clock::now();
        if now < due {
            self.alarm.as_mut().reset(due);
        } else if stalls.min(ends) > due {
            self.sent_at = now;
            return Some(KEEP_ALIVE_COMMENT);
        } else if whole {
            self.state = RelayState::Ending(self.done());
        } else if stalls <= ends {
            self.state = RelayState::Broken(StreamError { kind: BrokenKind::Stalled, error: None });
        }
        None
    }

    fn shut_down(&mut self) -> Bytes {
        self.state = RelayState::Over;
        self.abandon();
        self.error("The gateway is shutting down.", "server_error", "shutting_down")
    }

    /// The call's deadline has passed. That proves nothing against the target, which was answering.
    fn out_of_time(&mut self) -> Bytes {
        self.state = RelayState::Over;
        if let Some(source) = self.source.take() {
            let tally = &source.stream.tally;
            self.search.call.record.streamed(tally.usage, tally.events);
        }
        let message = "The answer is incomplete: the request has reached its total timeout.";
        self.error(message, "upstream_error", "stream_interrupted")
    }

    /// The answer is complete.
    fn complete(&mut self) {
        let Some(mut source) = self.source.take() else { return };
        if let Some(capture) = &self.search.call.capture {
            capture.finish();
        }
        let tally = &source.stream.tally;
        let tokens = tally.usage.map_or(tally.events, |usage| usage.completion_tokens);
        self.search.call.record.streamed(tally.usage, tally.events);
        source.attempt.used(tally.usage);
        source.attempt.completed(tokens, source.longest_gap);
        // The end is nearly always here already; otherwise a task waits a moment for it.
        if source.stream.drain().now_or_never().is_none() {
            let drain = async move { drop(timeout(FLUSH_TIMEOUT, source.stream.drain()).await) };
            self.search.dispatcher.tasks().spawn(drain);
        }
    }

    /// The rest is not relayed; what arrived is recorded.
    fn abandon(&mut self) {
        if let Some(source) = self.source.take() {
            let tally = &source.stream.tally;
            self.search.call.record.captured(tally.usage, tally.events);
        }
    }

    /// Another target continues, or the client gets an error. `Some`: the last bytes.
    async fn resume_after(&mut self, broken: StreamError) -> Option<Bytes> {
        let (outcome, what) = rescue::of_break(broken.kind);
        if let Some(mut source) = self.source.take() {
            let said = broken.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
            let message = format!("{}: {what} {said}", source.attempt.target.id);
            tracing::info!(request = %self.search.call.id, reason = message.trim_end(), "stream broke");
            let tally = &source.stream.tally;
            self.search.call.record.streamed(tally.usage, tally.events);
            source.attempt.used(source.stream.tally.usage);
            source.attempt.failed(outcome, message.trim_end());
        }
        self.search.call.record.broke();
        if let Some(open) = self.rescued().await {
            self.search.call.record.rescued();
            self.search.call.in_flight.phase(Phase::Streaming);
            self.take_over(open);
            return None;
        }
        self.state = RelayState::Over;
        let message = format!("The answer is incomplete: {what}.");
        Some(self.error(&message, "upstream_error", "stream_interrupted"))
    }

    async fn rescued(&mut self) -> Option<OpenStream> {
        let said = stream_event::unescape(&self.said.as_ref()?.whole())?.into_owned();
        self.search.call.in_flight.phase(Phase::Rescuing);
        let cut = self.search.dispatcher.tasks().abort_streams().clone();
        let deadline = self.search.call.deadline;
        select! {
            biased;
            () = sleep_until(deadline) => None,
            () = cut.cancelled() => None,
            rescued = rescue::rescue(&mut self.search, &said) => rescued.ok(),
        }
    }

    /// The last event of an incomplete answer. No `[DONE]` follows.
    fn error(&mut self, message: &str, kind: &str, code: &'static str) -> Bytes {
        self.search.call.record.ended_with(code);
        match self.search.call.api {
            Api::Responses => error::responses_event(message, kind, code),
            Api::Chat | Api::Completions | Api::Embeddings | Api::Other => {
                error::event(message, kind, None, code)
            }
        }
    }
}

/// The consumers of the text: a rescue, and perhaps memory.
struct TextObservers<'a> {
    said: &'a mut Option<Transcript>,
    capture: Option<&'a AnswerCapture>,
}

impl TextObservers<'_> {
    fn observe(&mut self, reading: &StreamEvent<'_>) {
        if let Some(capture) = self.capture {
            capture.event(reading);
        }
        let Some(said) = self.said else { return };
        if let Some(text) = &reading.text {
            said.push(text.escaped());
        }
        if reading.opaque || reading.reasoning || said.len() > MAX_TRANSCRIPT {
            *self.said = None;
        }
    }
}

/// If the answer was not complete, the client has left.
impl Drop for Relay {
    fn drop(&mut self) {
        self.abandon();
    }
}
