//! Continues a stream that broke after content was sent, from another target.
//!
//! By prefill where the target supports it: it gets the text so far as the assistant's own and continues it. Otherwise by
//! replay: the new answer is read silently as long as it repeats the text, and sent from where the client is.
//! An answer that differs, or holds more than text, is not spliced: the client gets an error instead.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{attempt_loop::AttemptLoop, continuation::Continuation};
use crate::{
    call::Call,
    clock,
    config::{Prefill, Rescue},
    openai::{Api, request_body::RequestContent, sse::SseEvent, stream_event},
    refusal::{GatewayError, Refusal, UpstreamError},
    upstream::{
        Target,
        exchange::{
            OpenStream, UpstreamResponse,
            event_stream::{EventRole, StreamItem},
            outcome::{BrokenKind, Outcome},
        },
    },
};

/// A provider that repeats the prefill repeats at least this much of it, in bytes.
const REPEATS: usize = 32;

/// What the rescuing target sends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumeMode {
    /// The continuation.
    Next,
    /// The text so far, or the continuation.
    PerhapsAgain,
    /// The text so far.
    Again,
}

impl ResumeMode {
    fn choose(continuation: &Continuation<'_>, call: &Call, target: &Target) -> Self {
        match (continuation.prefilled(call, target), target.provider.config.prefill) {
            (None, _) => Self::Again,
            (Some(_), Prefill::Prefix) => Self::PerhapsAgain,
            (Some(_), _) => Self::Next,
        }
    }
}

/// Whether an answer to this call can be spliced at all.
pub(crate) fn can_splice(call: &Call) -> bool {
    let rules = &call.snapshot.config.resilience;
    let RequestContent::Json(peek) = &call.upstream.content else { return false };
    let plain = !peek.has_tools && !peek.json_output && peek.choices == 1;
    rules.rescue == Rescue::Continue && call.api == Api::Chat && plain && !call.upstream.pinned
}

/// A stream that continues where `said` ends; its lead is what the client does not have yet.
pub(crate) async fn rescue(search: &mut AttemptLoop, said: &str) -> Result<OpenStream, Refusal> {
    let mut continuation = Continuation { said, prefill: true };
    loop {
        let found = match search.find(Some(&continuation)).await {
            // It may be the prefill that was refused: the request itself was good enough before.
            Err(Refusal::Upstream(UpstreamError::Provider(_))) if continuation.prefill => {
                continuation.prefill = false;
                search.plan.allow_again();
                continue;
            }
            found => found?,
        };
        let UpstreamResponse::Stream(open) = found else { return Err(GatewayError::Internal.into()) };
        let opening = ResumeMode::choose(&continuation, &search.call, &open.attempt.target);
        let id: Arc<str> = open.attempt.target.id.clone();
        match catch_up(*open, said, opening, search.call.deadline).await {
            Ok(open) => return Ok(open),
            Err(reason) => {
                tracing::info!(request = %search.call.id, target_id = %id, reason, "rescue failed")
            }
        }
    }
}

/// Skips what the client already has, and puts the rest into the lead.
async fn catch_up(
    open: OpenStream,
    said: &str,
    opening: ResumeMode,
    deadline: Instant,
) -> Result<OpenStream, &'static str> {
    let mut open = open;
    let mut again = ReplayMatcher { said, at: 0, opening, held: Vec::new() };
    let mut lead = std::mem::take(&mut open.lead).into_iter();
    let mut fresh = Vec::new();
    loop {
        let item = match lead.next() {
            // The client already has a role and an id.
            Some(event) => Some(StreamItem::Event(event, EventRole::Content)),
            None if again.is_done() => {
                open.lead = fresh;
                return Ok(open);
            }
            None => open.stream.next_framed(),
        };
        match item {
            Some(StreamItem::Event(event, _)) => fresh.extend(again.weigh(event)?.into_iter().flatten()),
            Some(StreamItem::End(_)) => return Err("the answer is shorter than the text sent"),
            Some(StreamItem::Broken(broken)) => {
                open.attempt.failed(Outcome::Broken(broken.kind), "broke during a rescue");
                return Err("the rescuing stream broke, too");
            }
            None => {
                let limit = deadline.min(clock::now() + open.stall);
                if timeout_at(limit, open.stream.read()).await.is_err() {
                    open.attempt.failed(Outcome::Broken(BrokenKind::Stalled), "stalled during a rescue");
                    return Err("the rescuing stream stalled");
                }
            }
        }
    }
}

/// Compares a new answer with the text that the client has.
struct ReplayMatcher<'a> {
    said: &'a str,
    /// Bytes of `said` that were repeated.
    at: usize,
    opening: ResumeMode,
    /// Events that may turn out to be the continuation.
    held: Vec<SseEvent>,
}

impl ReplayMatcher<'_> {
    fn is_done(&self) -> bool {
        self.opening == ResumeMode::Next || self.at == self.said.len()
    }

    /// The events for the client, if there are any yet.
    fn weigh(&mut self, event: SseEvent) -> Result<Option<Vec<SseEvent>>, &'static str> {
        let reading = stream_event::read(Api::Chat, &event);
        if reading.opaque || reading.reasoning {
            return Err("the answer contains more than text");
        }
        if self.is_done() {
            return Ok(Some(vec![event]));
        }
        let Some(text) = reading.text else {
            return if reading.finished == 0 {
                Ok(None)
            } else {
                Err("the answer is shorter than the text sent")
            };
        };
        let text = text.decode().ok_or("an event splits a character")?;
        let left = &self.said[self.at..];
        if left.starts_with(&*text) {
            self.at += text.len();
            self.held.push(event);
            return Ok(None);
        }
        if let Some(rest) = text.strip_prefix(left) {
            self.at = self.said.len();
            let event =
                stream_event::with_text(Api::Chat, &event, rest).ok_or("the event cannot be split")?;
            return Ok(Some(vec![event]));
        }
        if self.opening == ResumeMode::PerhapsAgain && self.at < REPEATS.min(self.said.len()) {
            self.opening = ResumeMode::Next;
            let mut events = std::mem::take(&mut self.held);
            events.push(event);
            return Ok(Some(events));
        }
        Err("the answer differs from the text sent")
    }
}

/// The outcome of a broken stream, and its description for the client.
pub(crate) fn of_break(kind: BrokenKind) -> (Outcome, &'static str) {
    let what = match kind {
        BrokenKind::Cut => "the answer was cut off",
        BrokenKind::Stalled => "the answer stalled",
        BrokenKind::Error => "the provider sent an error in the middle of the answer",
        BrokenKind::Malformed => "the answer contained an unreadable event",
    };
    (Outcome::Broken(kind), what)
}
