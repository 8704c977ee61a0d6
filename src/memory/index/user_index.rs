//! One user's memories, ready to be ranked: built from the stored rows, grown by each new turn.
//!
//! Every statistic (how rare a word is, how long a turn) is of this one user, so no ranking can depend on what others
//! said. The index holds texts, and no vectors for the built-in embedder: [`crate::memory::ranking`] sums the table's vectors
//! over the inverted lists, which is exact and a tenth of the memory.
//!
//! Pure. It must never lose count: what is removed leaves an index equal to one that never had it.

use std::{collections::HashMap, mem::size_of};

use foldhash::fast::RandomState;

use super::postings::{Posting, Postings};
use crate::memory::{
    embedding::{static_table::Token, vectors::Vectors},
    text::{answer_type::AnswerTypes, overlap::SubstringHint, terms::QueryTerms, tokenize},
};

/// A turn's number in the store, unique for its user and ascending.
pub(crate) type TurnKey = u64;

/// Something that was said, as it comes from the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    /// The store's number.
    pub key: TurnKey,
    /// The conversation that it is part of; its turns are added in the order in which they were said.
    pub session: &'a str,
    /// When, in seconds since 1970 (UTC).
    pub at: i64,
    /// The speaker: a name, or the role.
    pub speaker: &'a str,
    /// What was said.
    pub text: &'a str,
    /// Its vector, if another embedder than the built-in one is in use.
    pub vector: Option<&'a [f32]>,
}

#[derive(Debug)]
pub(crate) struct IndexedTurn {
    pub(crate) key: TurnKey,
    pub(crate) at: i64,
    pub(crate) text: Box<str>,
    pub(crate) session: u32,
    pub(crate) speaker: u32,
    /// The turns before and after it in its session.
    pub(crate) previous: Option<u32>,
    pub(crate) next: Option<u32>,
    /// Stems of the dated text: its length for BM25.
    pub(crate) stems: u32,
    /// Logarithm of one more than the words of the text alone.
    pub(crate) log_words: f32,
    /// Tokens of the dated text and a line break.
    pub(crate) tokens: u32,
    /// How the text is looked for in a conversation.
    pub(crate) clue: SubstringHint,
    pub(crate) is_question: bool,
    pub(crate) kinds: AnswerTypes,
    /// Length of the weighted sum of its tokens' vectors, over the sum of the weights.
    pub(crate) spread: f32,
}

/// The index of one user's memories.
#[derive(Default)]
pub(crate) struct UserIndex {
    /// By slot; `None` where a turn was removed.
    pub(crate) entries: Vec<Option<IndexedTurn>>,
    pub(crate) stems: Postings<Box<str>>,
    pub(crate) pieces: Postings<Token>,
    pub(crate) vectors: Vectors,
    pub(crate) speakers: Vec<Box<str>>,
    /// The last turn of each session.
    sessions: Vec<Option<u32>>,
    session_ids: HashMap<Box<str>, u32>,
    /// Looked into for each turn of a ranking, by numbers that no user can choose.
    slots: HashMap<TurnKey, u32, RandomState>,
    /// Sum of [`IndexedTurn::stems`].
    pub(crate) total_stems: u64,
    /// Bytes of texts and of what keys point to.
    owned: usize,
}

impl UserIndex {
    /// How many turns are in it.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The turn of that number, without its session and vector.
    pub(crate) fn get(&self, key: TurnKey) -> Option<Turn<'_>> {
        let entry = self.entry(key)?;
        let speaker = self.speaker_of(entry);
        Some(Turn { key, session: "", at: entry.at, speaker, text: &entry.text, vector: None })
    }

    pub(crate) fn entry(&self, key: TurnKey) -> Option<&IndexedTurn> {
        self.entries.get(*self.slots.get(&key)? as usize)?.as_ref()
    }

    pub(crate) fn speaker_of(&self, entry: &IndexedTurn) -> &str {
        &self.speakers[entry.speaker as usize]
    }

    /// Memory in use, in bytes: an estimate that the eviction of users goes by.
    pub(crate) fn bytes(&self) -> usize {
        let maps = self.slots.capacity() * (size_of::<(TurnKey, u32)>() + 1)
            + self.session_ids.capacity() * (size_of::<(Box<str>, u32)>() + 1);
        let lists = self.entries.capacity() * size_of::<Option<IndexedTurn>>()
            + self.sessions.capacity() * size_of::<Option<u32>>()
            + self.speakers.capacity() * size_of::<Box<str>>();
        let postings = self.stems.bytes() + self.pieces.bytes();
        size_of::<Self>() + maps + lists + postings + self.vectors.bytes() + self.owned
    }

    /// Adds a turn as the last of its session; one with the same key is replaced. Past 16 million turns nothing is
    /// added: the oldest slots are still there, and the budget of bytes ends long before.
    pub(crate) fn add(&mut self, turn: &Turn<'_>) {
        self.remove(turn.key);
        let Some(slot) = u32::try_from(self.entries.len()).ok().filter(|slot| *slot <= Posting::LAST_SLOT)
        else {
            return;
        };
        let line = tokenize::dated(turn.at, turn.speaker, turn.text);
        let terms = QueryTerms::new(&line);
        let session = self.session(turn.session);
        let previous = self.sessions[session as usize].replace(slot);
        if let Some(before) = self.entry_mut(previous) {
            before.next = Some(slot);
        }
        let (mut words, mut kinds) = (0u32, AnswerTypes::default());
        tokenize::words(turn.text, |word| {
            words += 1;
            kinds.note(word);
        });
        let entry = IndexedTurn {
            key: turn.key,
            at: turn.at,
            text: turn.text.into(),
            session,
            speaker: self.speaker(turn.speaker),
            previous,
            next: None,
            stems: terms.stem_count,
            log_words: (words as f32).ln_1p(),
            tokens: tokenize::tokens(&line).saturating_add(1),
            clue: SubstringHint::new(turn.text),
            is_question: turn.text.contains(['?', '？', '؟']),
            kinds,
            spread: terms.spread(),
        };
        self.owned += turn.text.len();
        self.total_stems += u64::from(terms.stem_count);
        self.entries.push(Some(entry));
        self.slots.insert(turn.key, slot);
        self.vectors.push(turn.vector);
        self.post(slot, terms);
    }

    /// Gives a turn its vector, or another one.
    pub(crate) fn embed(&mut self, key: TurnKey, vector: &[f32]) {
        if let Some(slot) = self.slots.get(&key) {
            self.vectors.set(*slot as usize, vector);
        }
    }

    /// Whether there is any vector to compare a query's with.
    pub(crate) fn has_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Forgets a turn: its text is gone from memory when this returns. Whether it was there.
    pub(crate) fn remove(&mut self, key: TurnKey) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        let Some(entry) = self.entries.get_mut(slot as usize).and_then(Option::take) else { return false };
        self.unlink(slot, &entry);
        let terms = QueryTerms::new(&tokenize::dated(entry.at, self.speaker_of(&entry), &entry.text));
        for stem in terms.stems.keys() {
            self.stems.remove(stem.as_str(), slot);
            if self.stems.get(stem.as_str()).is_empty() {
                self.owned -= stem.len();
            }
        }
        for piece in terms.pieces.keys() {
            self.pieces.remove(piece, slot);
        }
        self.vectors.clear(slot as usize);
        self.total_stems -= u64::from(entry.stems);
        self.owned -= entry.text.len();
        if self.entries.len() > 2 * self.slots.len() + 64 {
            self.compact();
        }
        true
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &IndexedTurn)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// Sessions, those of which nothing is left included.
    pub(crate) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    fn entry_mut(&mut self, slot: Option<u32>) -> Option<&mut IndexedTurn> {
        self.entries.get_mut(slot? as usize)?.as_mut()
    }

    fn post(&mut self, slot: u32, terms: QueryTerms) {
        for (stem, count) in terms.stems {
            if self.stems.get(stem.as_str()).is_empty() {
                self.owned += stem.len();
            }
            self.stems.push(stem.into_boxed_str(), slot, count);
        }
        for (piece, count) in terms.pieces {
            self.pieces.push(piece, slot, count);
        }
    }

    fn session(&mut self, name: &str) -> u32 {
        if let Some(id) = self.session_ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        self.sessions.push(None);
        self.session_ids.insert(name.into(), id);
        self.owned += name.len();
        id
    }

    fn speaker(&mut self, name: &str) -> u32 {
        // A user's chats have a few speakers; the last ones are looked at first.
        let known = self.speakers.iter().rposition(|speaker| **speaker == *name);
        let at = known.unwrap_or_else(|| {
            self.speakers.push(name.into());
            self.owned += name.len();
            self.speakers.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn unlink(&mut self, slot: u32, entry: &IndexedTurn) {
        if let Some(before) = self.entry_mut(entry.previous) {
            before.next = entry.next;
        }
        if let Some(after) = self.entry_mut(entry.next) {
            after.previous = entry.previous;
        }
        let last = &mut self.sessions[entry.session as usize];
        if *last == Some(slot) {
            *last = entry.previous;
        }
    }

    /// Closes the gaps that removals left, names of empty sessions and silent speakers included.
    fn compact(&mut self) {
        let old = std::mem::take(self);
        let names: HashMap<u32, Box<str>> =
            old.session_ids.into_iter().map(|(name, id)| (id, name)).collect();
        for (slot, entry) in old.entries.into_iter().enumerate() {
            let Some(entry) = entry else { continue };
            let (vector, session) = (old.vectors.row(slot), names.get(&entry.session));
            self.add(&Turn {
                key: entry.key,
                session: session.map_or("", |name| name),
                at: entry.at,
                speaker: &old.speakers[entry.speaker as usize],
                text: &entry.text,
                vector: vector.as_deref(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
