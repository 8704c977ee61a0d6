//! Puts what is recalled into a chat: one block, directly before the last user message.
//!
//! Everything before the block stays byte for byte, so that the provider's prompt cache stays good. A body that cannot
//! take a block, a user without a memory or a recall that is late leaves the call as it came: it must never fail here.

use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;

use super::{
    remember::Remember,
    service::{Memory, Missed, Recalled, Wanted},
    text,
};
use crate::{
    api::{
        Api,
        content::Content,
        conversation::{Conversation, Place},
    },
    call::{Ask, Call, MemoryUse},
    config::Capture,
    user::UserId,
};

/// A call with what was recalled for it.
pub struct Enriched {
    /// The call.
    pub call: Box<Call>,
    /// `x-concierge-memory` of the answer; `None` if there is no memory for such calls.
    pub note: Option<HeaderValue>,
    /// To be kept until the last byte of the answer.
    pub remember: Option<Remember>,
}

/// Why nothing was recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    /// The client wants it so.
    Off,
    /// Nobody knows who asks.
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

impl Skipped {
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
    fn word(self) -> &'static str {
        let note = self.note();
        note.rsplit_once('=').map_or(note, |(_, reason)| reason)
    }
}

/// The call with what was recalled for it, and what is to be remembered of it.
pub async fn enrich(memory: Option<&Arc<Memory>>, mut call: Box<Call>) -> Enriched {
    let talks = matches!(call.api, Api::Chat | Api::Responses);
    let Some(memory) = memory.filter(|memory| talks && memory.settings().enabled) else {
        return Enriched { call, note: None, remember: None };
    };
    let settings = memory.settings();
    if call.user == UserId::anonymous() && !settings.anonymous {
        return skipped(call, Skipped::Anonymous);
    }
    if call.memory == MemoryUse::Off {
        return skipped(call, Skipped::Off);
    }
    let Some(Asked { said, wanted, place }) = asked(&call) else { return skipped(call, Skipped::Shape) };
    let captures = call.memory.writes() && settings.capture != Capture::Off;
    if captures && settings.capture == Capture::Both {
        call.overheard = Some(Arc::default());
    }
    let overheard = call.overheard.clone();
    let remember = captures.then(|| Remember::new(memory.clone(), call.user.clone(), said, overheard));
    let recalled = match call.memory.reads() {
        // On the heap: a call that recalls nothing must not carry the room for it.
        true => Box::pin(timed(memory, &mut call, (wanted, place))).await,
        false => Err(Skipped::Off),
    };
    let note = match recalled {
        Ok(note) => HeaderValue::from_str(&note).ok(),
        Err(skipped) => Some(HeaderValue::from_static(skipped.note())),
    };
    Enriched { call, note, remember }
}

fn skipped(call: Box<Call>, why: Skipped) -> Enriched {
    Enriched { call, note: Some(HeaderValue::from_static(why.note())), remember: None }
}

/// What the user said last, what to look for with it, and where to put what is found.
struct Asked {
    said: String,
    wanted: Wanted,
    place: Place,
}

fn asked(call: &Call) -> Option<Asked> {
    let peek = call.ask.content.json()?;
    let conversation = Conversation::read(&call.ask.body, peek)?;
    let last = conversation.last_user()?;
    let (said, place) = (last.text.clone(), conversation.before(last));
    let wanted = Wanted {
        query: text::gist(&said).into_owned(),
        conversation: conversation.said.into_iter().map(|said| said.text).collect(),
        max_tokens: room(&call.ask),
    };
    Some(Asked { said, wanted, place })
}

/// Tokens that the model's window has left beside the prompt and the answer.
fn room(ask: &Ask) -> u32 {
    let Some(window) = ask.models.first().and_then(|model| model.config.context_window) else {
        return u32::MAX;
    };
    let answer = ask.content.json().and_then(|peek| peek.max_tokens).unwrap_or(0);
    let left = window.saturating_sub(ask.content.prompt_tokens()).saturating_sub(answer);
    u32::try_from(left).unwrap_or(u32::MAX)
}

async fn timed(memory: &Memory, call: &mut Call, wanted: (Wanted, Place)) -> Result<String, Skipped> {
    let begun = Instant::now();
    let recalled = recall(memory, call, wanted).await;
    let skipped = recalled.as_ref().err().map(|skipped| skipped.word());
    memory.meters().recalls.observe(begun.elapsed(), skipped);
    recalled
}

/// Puts the block into the call; says what is in it.
async fn recall(
    memory: &Memory,
    call: &mut Call,
    (wanted, place): (Wanted, Place),
) -> Result<String, Skipped> {
    let recalled = memory.recall(&call.user, wanted).await.map_err(|missed| match missed {
        Missed::Timeout => Skipped::Timeout,
        Missed::Store => Skipped::Store,
    })?;
    let Recalled { block, items, tokens, cached, unembedded } = recalled;
    put(&mut call.ask, &place, &block.ok_or(Skipped::Empty)?).ok_or(Skipped::Shape)?;
    let cache = if cached { "hit" } else { "miss" };
    let embedding = unembedded.map_or_else(String::new, |why| format!(";embedding={}", why.word()));
    Ok(format!("items={items};tokens={tokens};cache={cache}{embedding}"))
}

fn put(ask: &mut Ask, place: &Place, block: &str) -> Option<()> {
    let (body, peek) = place.put(&ask.body, ask.content.json()?, block)?;
    (ask.body, ask.content) = (body, Content::Json(Box::new(peek)));
    Some(())
}
