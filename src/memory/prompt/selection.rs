//! From ranked turns to the few that go into the prompt: within a budget, in the order in which they were said.
//!
//! Single turns, best first, as long as they fit: more evidence stays within the budget than with windows around
//! them. Pure. It must never go past the budget, and never repeat what the conversation shows already.

use std::borrow::Cow;

use crate::memory::{
    index::user_index::{TurnKey, UserIndex},
    ranking::Scored,
    text::{overlap::plain, tokenize},
};

/// The bounds of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLimits {
    /// Tokens of all lines together, as [`tokenize::tokens`] counts them.
    pub max_tokens: u32,
    /// Lines.
    pub max_items: usize,
    /// Turns scored lower are left out.
    pub min_score: f32,
    /// Turns that are looked at, without those that the conversation shows: what fits in from far down says little.
    pub depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecalledTurn {
    /// Its number in the store.
    pub key: TurnKey,
    /// When it was said, in seconds since 1970.
    pub at: i64,
    /// `[Monday, 8 May 2023, 1:56 pm] Ann: text`.
    pub line: String,
    /// Tokens of the line, its newline included.
    pub tokens: u32,
    /// See [`Scored::score`].
    pub score: f32,
}

/// What goes into the prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    /// In the order in which they were said.
    pub items: Vec<RecalledTurn>,
    /// Of all items.
    pub tokens: u32,
    /// The ranking ended before any of the limits did: a longer one might have given more.
    pub room_left: bool,
}

/// Takes from `ranked` (best first) what fits. `conversation` is what the model will see anyway, message by message.
pub(crate) fn pack(
    index: &UserIndex,
    ranked: &[Scored],
    limits: &BlockLimits,
    conversation: &[Cow<'_, str>],
) -> Block {
    let seen: Vec<Cow<'_, str>> = conversation.iter().map(|message| plain(message)).collect();
    // Few turns fit into a block: to look through them takes less than to hash them.
    let most = limits.max_items.min(ranked.len());
    let mut taken: Vec<Cow<'_, str>> = Vec::with_capacity(most);
    let mut block = Block { items: Vec::with_capacity(most), ..Block::default() };
    let (mut looked, mut ranked) = (0, ranked.iter());
    while looked < limits.depth && block.items.len() < limits.max_items && block.tokens < limits.max_tokens {
        let Some(scored) = ranked.next() else {
            block.room_left = true;
            break;
        };
        if scored.score < limits.min_score {
            break;
        }
        let Some(turn) = index.entry(scored.key) else { continue };
        let words = turn.clue.plain(&turn.text);
        if words.is_empty() || seen.iter().any(|message| turn.clue.leads_to(&words, message)) {
            continue;
        }
        looked += 1;
        let fits = turn.tokens <= limits.max_tokens - block.tokens;
        if fits && !taken.contains(&words) {
            taken.push(words);
            block.tokens += turn.tokens;
            let line = tokenize::dated(turn.at, index.speaker_of(turn), &turn.text);
            let (key, at, tokens, score) = (turn.key, turn.at, turn.tokens, scored.score);
            block.items.push(RecalledTurn { key, at, line, tokens, score });
        }
    }
    block.items.sort_by_key(|item| (item.at, item.key));
    block
}

#[cfg(test)]
mod tests;
