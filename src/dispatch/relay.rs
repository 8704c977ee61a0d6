//! Carries an answer to the client: events as they come, nothing added, nothing reordered, nothing pretended.
//!
//! The relay is the response body itself, polled by the client's connection: no task, no channel, and a client
//! that leaves drops it, which closes the connection to the provider and frees the slot.

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
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment: the one form that every client takes.
pub const KEEP_ALIVE_COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// For usage and `[DONE]` after the answer is whole.
const AFTER_THE_END: Duration = Duration::from_secs(2);
/// For the end of the message after `[DONE]`, so that the connection can be used again.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// More text than this is not kept for a rescue.
const MAX_TRANSCRIPT: usize = 256 << 10;
const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// An event stream on its way to the client.
pub struct Relay {
    search: AttemptLoop,
    source: Option<RelaySource>,
    /// Events that were read and not sent.
    lead: std::vec::IntoIter<SseEvent>,
    run: Run,
    /// What the client has of the answer, escaped as it came; `None` once it cannot be spliced.
    said: Option<Transcript>,
    state: RelayState,
    /// When the client was last given something.
    sent_at: Instant,
    /// When the client came back for more: until then a silence was the client's and not the provider's.
    resumed_at: Instant,
    /// The client has something to chew on.
    fed: bool,
    /// Rings when a deadline may have come. It stays set from read to read: to set one for each chunk costs more than to
    /// pass the chunk on.
    alarm: Pin<Box<Sleep>>,
    /// The end of the process, or of its patience.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Drop for RelaySource {
    /// A client that leaves: what was counted so far.
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
    /// The answer is whole; these bytes are the last.
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
                    // On the heap, for it is rare and large: a stream that flows must not carry its room.
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

    /// What has been read and can be sent, as few slices as possible.
    fn framed(&mut self) -> Option<Bytes> {
        // One for all: what is framed here came with one read.
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

    /// What ends a whole answer whose provider forgot to.
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

    /// Waits for more, but not for ever. A comment comes back when the client has heard nothing for long.
    async fn read(&mut self) -> Option<Bytes> {
        let Some(source) = &mut self.source else {
            self.state = RelayState::Over;
            return None;
        };
        let whole = source.stream.tally.is_whole();
        let silence = if whole { AFTER_THE_END } else { source.stall };
        let stalls = source.last_content.max(self.resumed_at) + silence;
        let ends = self.search.call.deadline;
        // Asked first: where the provider is always ahead of a slow client there is nothing to wait for.
        if ends <= clock::now() && !whole {
            return Some(self.out_of_time());
        }
        let due = stalls.min(ends).min(self.sent_at + KEEP_ALIVE);
        // Nearly always it is due later than before. Then the alarm stands, and is set anew when it has rung too early.
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

    /// The call has had all its time. That proves nothing against the target, which was answering.
    fn out_of_time(&mut self) -> Bytes {
        self.state = RelayState::Over;
        if let Some(source) = self.source.take() {
            let tally = &source.stream.tally;
            self.search.call.record.streamed(tally.usage, tally.events);
        }
        let message = "The answer is not complete: the time that the request may take is over.";
        self.error(message, "upstream_error", "stream_interrupted")
    }

    /// The answer is whole.
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
        // Nearly always the end is here already; else a task waits a moment for it.
        if source.stream.drain().now_or_never().is_none() {
            let drain = async move { drop(timeout(FLUSH_TIMEOUT, source.stream.drain()).await) };
            self.search.dispatcher.tasks().spawn(drain);
        }
    }

    /// Nobody hears the rest; what came is counted all the same.
    fn abandon(&mut self) {
        if let Some(source) = self.source.take() {
            let tally = &source.stream.tally;
            self.search.call.record.captured(tally.usage, tally.events);
        }
    }

    /// Another target goes on, or the client is told. `Some`: the last bytes.
    async fn resume_after(&mut self, broken: StreamError) -> Option<Bytes> {
        let (outcome, what) = rescue::of_break(broken.kind);
        if let Some(mut source) = self.source.take() {
            let said = broken.error.as_ref().map(|error| error.message.as_str()).unwrap_or_default();
            let message = format!("{}: {what} {said}", source.attempt.target.id);
            tracing::info!(request = %self.search.call.id, reason = message.trim_end(), "a stream broke");
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
        let message = format!("The answer is not complete: {what}.");
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

    /// The last event of an answer that is not whole. No `[DONE]` follows.
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

/// Who has to know what is said: a rescue, and perhaps the memory.
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

/// The client has left, if the answer was not at its end.
impl Drop for Relay {
    fn drop(&mut self) {
        self.abandon();
    }
}
