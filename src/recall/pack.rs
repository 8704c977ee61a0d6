//! From ranked turns to the few that go into the prompt: within a budget, in the order in which they were said.
//!
//! Single turns, best first, as long as they fit: more evidence stays within the budget than with windows around
//! them. Pure. It must never go past the budget, and never repeat what the conversation shows already.

use std::collections::HashSet;

use memchr::memmem;

use super::{
    index::{Key, Turn, UserIndex},
    rank::Scored,
    text,
};

/// The bounds of a block.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tokens of all lines together, as [`text::tokens`] counts them.
    pub max_tokens: u32,
    /// Lines.
    pub max_items: usize,
    /// Turns scored lower are left out.
    pub min_score: f32,
    /// Turns that are looked at, without those that the conversation shows: what fits in from far down says little.
    pub depth: usize,
}

/// One recalled turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number in the store.
    pub key: Key,
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
pub struct Block {
    /// In the order in which they were said.
    pub items: Vec<Item>,
    /// Of all items.
    pub tokens: u32,
    /// The ranking ended before any of the limits did: a longer one might have given more.
    pub room_left: bool,
}

/// Takes from `ranked` (best first) what fits. `conversation` is what the model will see anyway, message by message.
pub fn pack(index: &UserIndex, ranked: &[Scored], limits: &Limits, conversation: &[&str]) -> Block {
    let seen: Vec<String> = conversation.iter().map(|message| plain(message)).collect();
    let mut taken = HashSet::new();
    let (mut block, mut looked, mut ranked) = (Block::default(), 0, ranked.iter());
    while looked < limits.depth && block.items.len() < limits.max_items && block.tokens < limits.max_tokens {
        let Some(scored) = ranked.next() else {
            block.room_left = true;
            break;
        };
        if scored.score < limits.min_score {
            break;
        }
        let Some(turn) = index.get(scored.key) else { continue };
        let (item, words) = (item(&turn, scored.score), plain(turn.text));
        if words.is_empty() || seen.iter().any(|message| holds(message, &words)) {
            continue;
        }
        looked += 1;
        let fits = item.tokens <= limits.max_tokens - block.tokens;
        if fits && taken.insert(words) {
            block.tokens += item.tokens;
            block.items.push(item);
        }
    }
    block.items.sort_by_key(|item| (item.at, item.key));
    block
}

fn item(turn: &Turn<'_>, score: f32) -> Item {
    let line = text::dated(turn.at, turn.speaker, turn.text);
    let tokens = text::tokens(&line).saturating_add(1);
    Item { key: turn.key, at: turn.at, line, tokens, score }
}

/// The text with single blanks between its words, so that a re-wrapped message is still the same.
fn plain(text: &str) -> String {
    if has_single_blanks(text.as_bytes()) {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

/// Whether `text` is plain as it is, which most is and which is seen faster than its words; of other scripts nothing is said.
fn has_single_blanks(text: &[u8]) -> bool {
    // Without a branch per byte, so that it is done many bytes at a time.
    let printable = text.iter().fold(true, |printable, byte| printable & (b' '..=b'~').contains(byte));
    let edges = [text.first(), text.last()];
    printable && !edges.contains(&Some(&b' ')) && memmem::find(text, b"  ").is_none()
}

/// Whether the message has these words as a whole: "I like tea" is not in "I like teamwork".
fn holds(message: &str, words: &str) -> bool {
    memmem::find_iter(message.as_bytes(), words).any(|at| {
        let before = message[..at].chars().next_back();
        let after = message[at + words.len()..].chars().next();
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !inside(before) && !inside(after)
    })
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
