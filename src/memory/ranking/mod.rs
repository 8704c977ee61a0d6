//! The ranking: how well each of a user's turns answers a query.
//!
//! Three signals, each divided by its best, are summed; then a turn gains from where it stands:
//!
//! 1. **Words**: BM25 over the dated text, stems without stop words.
//! 2. **Near words**: the best match of each query token among a turn's tokens, the table's neighbours included.
//! 3. **Meaning**: cosine of the summed token vectors, or of the vectors that another embedder made.
//! 4. **Place**: what was said around it, how good its session is, who said it, whether it answers a question.
//! 5. **Kind**: whether it tells a time where a time is asked for, or a number.
//!
//! Sums of normalised scores, not ranks: reciprocal rank fusion of the same signals is worse than
//! BM25 alone on conversations, for it throws the distances away. Pure, and the same to the last bit every time. It
//! must never look at another user's statistics: all it gets is one [`UserIndex`].

pub(crate) mod signals;

use self::signals::Signals;
use super::{
    index::user_index::{IndexedTurn, TurnKey, UserIndex},
    text::{answer_type::AnswerTypes, terms::QueryTerms, tokenize},
};

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'a> {
    /// The user's words. Of a long text the first and the last kilobyte count.
    pub text: &'a str,
    /// Their vector, if another embedder than the built-in one is in use.
    pub vector: Option<&'a [f32]>,
}

/// A turn and how well it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    /// The turn.
    pub key: TurnKey,
    /// 0 to 1. The best turn has the share of the query that it covers, the others their part of that: below 0.25
    /// nothing of what was asked is there.
    pub score: f32,
}

/// The weights: round numbers, set by hand with a reason each. Tried on LoCoMo at two or three sizes, none fitted: the
/// sizes that suit LoCoMo best favour neighbours more than real chats do.
struct Weights {
    /// Words and near words are equals; they fail on different queries.
    words: f32,
    near_words: f32,
    /// Meaning alone finds less, but finds what shares no word.
    meaning: f32,
    /// The turns right before and after, and those next to them: talk goes on about one thing, less so in real chats
    /// than in written ones, so small.
    beside: f32,
    two_away: f32,
    /// The turn before, if it is a question: the answer to it shares few words with what is asked now.
    answer: f32,
    /// The best turn of the session, and the session as one document.
    session_best: f32,
    session_words: f32,
    /// Logarithm of the length: "Haha, yes!" rarely holds a fact.
    length: f32,
    /// The query names the speaker.
    speaker: f32,
    /// It tells the kind of answer that the query wants.
    kind: f32,
    /// A question asks for facts rather than stating them.
    question: f32,
}

const WEIGHTS: Weights = Weights {
    words: 0.4,
    near_words: 0.4,
    meaning: 0.2,
    beside: 0.15,
    two_away: 0.08,
    answer: 0.2,
    session_best: 0.35,
    session_words: 0.2,
    length: 0.35,
    speaker: 0.2,
    kind: 0.2,
    question: -0.08,
};

/// A turn of so many words, as a logarithm, has all of [`Weights::length`]: some four hundred.
const LONG: f32 = 6.0;

/// The `limit` best turns for `query`, best first; equals in the order in which they were said. Empty if no turn has
/// anything of what was asked.
pub(crate) fn rank(index: &UserIndex, query: &Query<'_>, limit: usize) -> Vec<Scored> {
    let text = tokenize::gist(query.text);
    let terms = QueryTerms::new(&text);
    let signals = signals::measure(index, &terms, query.vector);
    let covered = index.live().map(|(slot, _)| coverage(&signals, slot)).fold(0.0, f32::max);
    if covered <= 0.0 {
        return Vec::new();
    }
    let fused = fuse(&signals);
    let mut scored = with_position(index, &text, &signals, &fused);
    // Total order, so that the best few can be selected before they are sorted.
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if limit < scored.len() {
        scored.select_nth_unstable_by(limit, order);
        scored.truncate(limit);
    }
    scored.sort_unstable_by(order);
    let best = scored.first().map_or(1.0, |(_, score)| score.max(f32::MIN_POSITIVE));
    let key = |slot: usize| index.entries.get(slot)?.as_ref().map(|entry| entry.key);
    let published = |(slot, score): (usize, f32)| {
        Some(Scored { key: key(slot)?, score: (score / best).max(0.0) * covered })
    };
    scored.into_iter().filter_map(published).collect()
}

/// How much of the query one turn covers by itself, 0 to 1.
fn coverage(signals: &Signals, slot: usize) -> f32 {
    WEIGHTS.words * signals.words.share(slot)
        + WEIGHTS.near_words * signals.near_words.share(slot)
        + WEIGHTS.meaning * signals.meaning.share(slot)
}

fn fuse(signals: &Signals) -> Vec<f32> {
    let weighted = [
        (&signals.words, WEIGHTS.words),
        (&signals.near_words, WEIGHTS.near_words),
        (&signals.meaning, WEIGHTS.meaning),
    ];
    let mut fused = vec![0.0; signals.words.scores.len()];
    for (signal, weight) in weighted {
        let best = signal.scores.iter().copied().fold(0.0, f32::max);
        if best > 0.0 {
            fused.iter_mut().zip(&signal.scores).for_each(|(sum, score)| *sum += weight * score / best);
        }
    }
    fused
}

/// Each live slot with its score, place included.
fn with_position(index: &UserIndex, query: &str, signals: &Signals, fused: &[f32]) -> Vec<(usize, f32)> {
    let mut best_of = vec![0.0f32; index.session_count()];
    for (slot, entry) in index.live() {
        let best = &mut best_of[entry.session as usize];
        *best = best.max(fused[slot]);
    }
    let named = named(index, query);
    let asked = AnswerTypes::asked(query);
    let place = RankPosition { index, fused, best_of, named, asked, session_words: &signals.session_words };
    index.live().map(|(slot, entry)| (slot, fused[slot] + place.gain(entry))).collect()
}

struct RankPosition<'a> {
    index: &'a UserIndex,
    fused: &'a [f32],
    best_of: Vec<f32>,
    named: Vec<bool>,
    asked: AnswerTypes,
    session_words: &'a [f32],
}

impl RankPosition<'_> {
    fn gain(&self, entry: &IndexedTurn) -> f32 {
        let (before, after) = (self.turn(entry.previous), self.turn(entry.next));
        let second_before = self.turn(before.and_then(|(_, entry)| entry.previous));
        let second_after = self.turn(after.and_then(|(_, entry)| entry.next));
        let score = |turn: Option<(f32, &IndexedTurn)>| turn.map_or(0.0, |(score, _)| score);
        let asked = before.filter(|(_, entry)| entry.is_question);
        let session = entry.session as usize;
        WEIGHTS.beside * (score(before) + score(after))
            + WEIGHTS.two_away * (score(second_before) + score(second_after))
            + WEIGHTS.answer * score(asked)
            + WEIGHTS.session_best * self.best_of[session]
            + WEIGHTS.session_words * self.session_words[session]
            + WEIGHTS.length * (entry.log_words / LONG).min(1.0)
            + WEIGHTS.speaker * f32::from(u8::from(self.named[entry.speaker as usize]))
            + WEIGHTS.kind * f32::from(u8::from(entry.kinds.meet(self.asked)))
            + WEIGHTS.question * f32::from(u8::from(entry.is_question))
    }

    fn turn(&self, slot: Option<u32>) -> Option<(f32, &IndexedTurn)> {
        let slot = slot? as usize;
        Some((self.fused[slot], self.index.entries[slot].as_ref()?))
    }
}

/// Per speaker: whether the query has a word of the name.
fn named(index: &UserIndex, query: &str) -> Vec<bool> {
    let mut asked = Vec::new();
    tokenize::words(query, |word| asked.push(word.to_owned()));
    let is_named = |speaker: &str| {
        let mut found = false;
        tokenize::words(speaker, |word| {
            found |= !tokenize::is_stop_word(word) && asked.iter().any(|known| known == word)
        });
        found
    };
    index.speakers.iter().map(|speaker| is_named(speaker)).collect()
}

pub(crate) mod cache;
pub(crate) mod invalidation;
pub(crate) mod shared_cache;
pub(crate) mod shared_entry;

#[cfg(test)]
mod tests;
