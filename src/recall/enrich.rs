//! Puts what is recalled into a chat: one block, directly before the last user message.
//!
//! Everything before the block stays byte for byte, so that the provider's prompt cache stays good. A body that cannot
//! take a block, a user without a memory or a recall that is late leaves the call as it came: it must never fail here.

use std::{borrow::Cow, sync::Arc};

use http::HeaderValue;
use tokio::time::Instant;

use super::capture::CaptureOnDrop;
use crate::{
    call::{Call, MemoryUse, UpstreamRequest},
    config::Capture,
    memory::{
        errors::RecallMiss,
        service::MemoryService,
        text::tokenize,
        types::{RecallOutcome, SearchQuery},
    },
    openai::{
        Api,
        conversation::{Conversation, InsertionPoint},
        request_body::RequestContent,
    },
};

/// A call with what was recalled for it.
pub(crate) struct Enriched {
    /// The call.
    pub call: Box<Call>,
    /// `x-concierge-memory` of the answer; `None` if there is no memory for such calls.
    pub note: Option<HeaderValue>,
    /// To be kept until the last byte of the answer.
    pub remember: Option<CaptureOnDrop>,
}

/// Why nothing was recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkipReason {
    /// The client wants it so.
    Off,
    /// The user is not known.
    Anonymous,
    /// Nothing fits.
    Empty,
    /// The recall took too long.
    Timeout,
    /// The store is away.
    Store,
    /// There is no place for a block in the body.
    Shape,
}

impl SkipReason {
    fn note(self) -> &'static str {
        match self {
            Self::Off => "skipped;reason=off",
            Self::Anonymous => "skipped;reason=anonymous",
            Self::Empty => "skipped;reason=empty",
            Self::Timeout => "skipped;reason=timeout",
            Self::Store => "skipped;reason=store",
            Self::Shape => "skipped;reason=shape",
        }
    }

    /// Its word in metrics: the reason alone.
    fn as_str(self) -> &'static str {
        let note = self.note();
        note.rsplit_once('=').map_or(note, |(_, reason)| reason)
    }
}

impl From<RecallMiss> for SkipReason {
    fn from(missed: RecallMiss) -> Self {
        match missed {
            RecallMiss::Timeout => Self::Timeout,
            RecallMiss::Store => Self::Store,
        }
    }
}

/// The call with what was recalled for it, and what is to be remembered of it.
pub(crate) async fn enrich(memory: Option<&Arc<MemoryService>>, mut call: Box<Call>) -> Enriched {
    let talks = matches!(call.api, Api::Chat | Api::Responses);
    let Some(memory) = memory.filter(|memory| talks && memory.settings().enabled) else {
        return Enriched { call, note: None, remember: None };
    };
    let settings = memory.settings();
    if call.user.is_anonymous() && !settings.anonymous {
        return skipped(call, SkipReason::Anonymous);
    }
    if call.memory == MemoryUse::Off {
        return skipped(call, SkipReason::Off);
    }
    let (recalled, remember) = match start_recall(memory, &mut call) {
        Some(PreparedRecall { recall: RecallState::Made(recalled), remember }) => (recalled, remember),
        Some(PreparedRecall { recall: RecallState::Waits { begun, wanted, place }, remember }) => {
            // On the heap: a call whose recall is cached must not carry the room for it.
            let recalled = Box::pin(memory.recall(&call.user, wanted)).await.map_err(SkipReason::from);
            let recalled = recalled.and_then(|recalled| insert_block(&mut call.upstream, &place, recalled));
            observe(memory, begun, &recalled);
            (recalled, remember)
        }
        None => return skipped(call, SkipReason::Shape),
    };
    let note = match recalled {
        Ok(note) => HeaderValue::try_from(note).ok(),
        Err(skipped) => Some(HeaderValue::from_static(skipped.note())),
    };
    Enriched { call, note, remember }
}

fn skipped(call: Box<Call>, why: SkipReason) -> Enriched {
    Enriched { call, note: Some(HeaderValue::from_static(why.note())), remember: None }
}

/// A call whose conversation was read.
struct PreparedRecall {
    recall: RecallState,
    remember: Option<CaptureOnDrop>,
}

/// What became of a recall at once.
enum RecallState {
    /// The note of what was put into the call, or why nothing was.
    Made(Result<String, SkipReason>),
    /// It takes time.
    Waits { begun: Instant, wanted: SearchQuery<'static>, place: InsertionPoint },
}

/// Does what need not wait; `None` if there is no conversation.
fn start_recall(memory: &Arc<MemoryService>, call: &mut Call) -> Option<PreparedRecall> {
    // The words are slices of it, and the call gets another one.
    let body = call.upstream.body.clone();
    let conversation = Conversation::read(&body, call.upstream.content.json()?)?;
    let last = conversation.last_user()?;
    let (said, place) = (last.text.clone(), conversation.before(last));
    let remember = capture_answer(memory, call, &said);
    if !call.memory.reads() {
        return Some(PreparedRecall { recall: RecallState::Made(Err(SkipReason::Off)), remember });
    }
    let begun = Instant::now();
    let wanted = SearchQuery {
        query: gist(said),
        conversation: conversation.said.into_iter().map(|said| said.text).collect(),
        max_tokens: tokens_left(&call.upstream),
    };
    let recall = match memory.recall_at_once(&call.user, &wanted) {
        Some(recalled) => {
            let recalled = insert_block(&mut call.upstream, &place, recalled);
            observe(memory, begun, &recalled);
            RecallState::Made(recalled)
        }
        None => RecallState::Waits { begun, wanted: wanted.into_owned(), place },
    };
    Some(PreparedRecall { recall, remember })
}

/// What is to be remembered of the call when it is over, if anything: most of what agents send was said before.
fn capture_answer(memory: &Arc<MemoryService>, call: &mut Call, said: &str) -> Option<CaptureOnDrop> {
    let capture = memory.settings().capture;
    if !call.memory.writes() || capture == Capture::Off {
        return None;
    }
    if capture == Capture::Both {
        call.capture = Some(Arc::default());
    } else if memory.has_recent_turn(&call.user, said) {
        return None;
    }
    Some(CaptureOnDrop::new(memory.clone(), call.user.clone(), said.to_owned(), call.capture.clone()))
}

/// What to look for: most of what is said is short, and then it is all of it.
fn gist(said: Cow<'_, str>) -> Cow<'_, str> {
    match tokenize::gist(&said) {
        Cow::Borrowed(_) => said,
        Cow::Owned(gist) => Cow::Owned(gist),
    }
}

/// Tokens that the model's window has left beside the prompt and the answer.
fn tokens_left(ask: &UpstreamRequest) -> u32 {
    let Some(window) = ask.models.first().and_then(|model| model.config.context_window) else {
        return u32::MAX;
    };
    let answer = ask.content.json().and_then(|peek| peek.max_tokens).unwrap_or(0);
    let left = window.saturating_sub(ask.content.prompt_tokens()).saturating_sub(answer);
    u32::try_from(left).unwrap_or(u32::MAX)
}

fn observe(memory: &MemoryService, begun: Instant, recalled: &Result<String, SkipReason>) {
    let skipped = recalled.as_ref().err().map(|skipped| skipped.as_str());
    memory.meters().recalls.observe(begun.elapsed(), skipped);
}

/// Puts the block into the call; says what is in it.
fn insert_block(
    ask: &mut UpstreamRequest,
    place: &InsertionPoint,
    recalled: RecallOutcome,
) -> Result<String, SkipReason> {
    let RecallOutcome { block, items, tokens, cached, unembedded } = recalled;
    let block = block.ok_or(SkipReason::Empty)?;
    let RequestContent::Json(peek) = &mut ask.content else { return Err(SkipReason::Shape) };
    place.put(&mut ask.body, peek, &block).ok_or(SkipReason::Shape)?;
    Ok(note(items, tokens, cached, unembedded.map(|why| why.as_str())))
}

/// `items=3;tokens=212;cache=hit`
fn note(items: usize, tokens: u32, cached: bool, unembedded: Option<&str>) -> String {
    let mut note = String::with_capacity(64);
    note.push_str("items=");
    tokenize::push_number(u32::try_from(items).unwrap_or(u32::MAX), &mut note);
    note.push_str(";tokens=");
    tokenize::push_number(tokens, &mut note);
    note.push_str(if cached { ";cache=hit" } else { ";cache=miss" });
    for part in unembedded.map(|why| [";embedding=", why]).into_iter().flatten() {
        note.push_str(part);
    }
    note
}
