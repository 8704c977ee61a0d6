//! From ranked turns to the few that go into the prompt: within a budget, in the order in which they were said.
//!
//! Single turns, best first, as long as they fit: more evidence stays within the budget than with windows around
//! them. Pure. It must never go past the budget, and never repeat what the conversation shows already.

use std::borrow::Cow;

use memchr::{memchr_iter, memmem};

use super::{
    index::{Key, UserIndex},
    rank::Scored,
    text,
};

/// Bytes of a turn among which the rarest is looked for.
const HEAD: usize = 32;
/// Places of that byte at which is looked for the turn one by one.
const TRIES: usize = 32;

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
    let seen: Vec<Cow<'_, str>> = conversation.iter().map(|message| plain(message)).collect();
    // Few turns fit into a block: to look through them takes less than to hash them.
    let mut taken: Vec<Cow<'_, str>> = Vec::new();
    let (mut block, mut looked, mut ranked) = (Block::default(), 0, ranked.iter());
    while looked < limits.depth && block.items.len() < limits.max_items && block.tokens < limits.max_tokens {
        let Some(scored) = ranked.next() else {
            block.room_left = true;
            break;
        };
        if scored.score < limits.min_score {
            break;
        }
        let Some(turn) = index.entry(scored.key) else { continue };
        let words = plain(&turn.text);
        if words.is_empty() || seen.iter().any(|message| holds(message, &words)) {
            continue;
        }
        looked += 1;
        let fits = turn.tokens <= limits.max_tokens - block.tokens;
        if fits && !taken.contains(&words) {
            taken.push(words);
            block.tokens += turn.tokens;
            let line = text::dated(turn.at, index.speaker_of(turn), &turn.text);
            let (key, at, tokens, score) = (turn.key, turn.at, turn.tokens, scored.score);
            block.items.push(Item { key, at, line, tokens, score });
        }
    }
    block.items.sort_by_key(|item| (item.at, item.key));
    block
}

/// The text with single blanks between its words, so that a re-wrapped message is still the same.
fn plain(text: &str) -> Cow<'_, str> {
    if has_single_blanks(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    Cow::Owned(plain)
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
    let Some((at, rare)) = rarest(words.as_bytes()) else { return false };
    let mut places = memchr_iter(rare, message.as_bytes());
    for place in places.by_ref().take(TRIES) {
        let Some(start) = place.checked_sub(at) else { continue };
        if message.as_bytes()[start..].starts_with(words.as_bytes())
            && stands_alone(message, start, words.len())
        {
            return true;
        }
    }
    // A byte that is everywhere. What takes longer to begin with never takes long.
    places.next().is_some()
        && memmem::find_iter(message.as_bytes(), words).any(|start| stands_alone(message, start, words.len()))
}

fn stands_alone(message: &str, start: usize, length: usize) -> bool {
    let before = message[..start].chars().next_back();
    let after = message[start + length..].chars().next();
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !inside(before) && !inside(after)
}

/// The byte in the head of `words` that most texts have least of, and where it stands there.
fn rarest(words: &[u8]) -> Option<(usize, u8)> {
    words.iter().copied().enumerate().take(HEAD).min_by_key(|(_, byte)| FREQUENCY[usize::from(*byte)])
}

/// How often a byte stands in texts, beside others. A wrong guess costs time and nothing else.
const FREQUENCY: [u8; 256] = {
    let mut frequency = [0; 256];
    let common = b"zqxjkvbpygfwmucldrhsnioate ";
    let mut rank = 0;
    while rank < common.len() {
        frequency[common[rank] as usize] = rank as u8 + 2;
        rank += 1;
    }
    // Of other scripts: a letter's first byte is shared by many letters.
    let mut byte = 0x80;
    while byte < 0x100 {
        frequency[byte] = if byte < 0xc0 { 1 } else { u8::MAX };
        byte += 1;
    }
    frequency
};

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
