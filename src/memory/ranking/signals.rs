//! The three signals of the ranking, measured over one user's index: words, near words, meaning.
//!
//! Each comes with the most that a turn could have for this query, so that a score also means something when every
//! turn is far off. All weights of words are the user's own (inverse document frequency). Pure.

use crate::memory::{
    embedding::static_table::Table,
    index::user_index::{IndexedTurn, UserIndex},
    text::terms::QueryTerms,
};

/// Saturation of repeated words and influence of length: short texts want less of both than the usual 1.2 and 0.75
/// (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, for the formula).
const K1: f32 = 0.9;
const B: f32 = 0.4;

/// One signal over all slots.
pub(crate) struct Signal {
    /// Per slot, 0 if nothing matches.
    pub scores: Vec<f32>,
    /// What a turn that covers the whole query would have.
    possible: f32,
}

impl Signal {
    /// The share of what is possible that a slot has, 0 to 1.
    pub(crate) fn share(&self, slot: usize) -> f32 {
        if self.possible > 0.0 { (self.scores[slot] / self.possible).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The three signals of one query, for every turn of a user.
pub(crate) struct Signals {
    /// BM25 of the stems.
    pub words: Signal,
    /// Soft match of the tokens.
    pub near_words: Signal,
    /// Cosine.
    pub meaning: Signal,
    /// BM25 of each session taken as one document, over the best.
    pub session_words: Vec<f32>,
}

pub(crate) fn measure(index: &UserIndex, query: &QueryTerms, vector: Option<&[f32]>) -> Signals {
    let (words, session_words) = words(index, query);
    let foreign = vector.and_then(|vector| index.vectors.cosines(vector));
    let meaning = match foreign {
        Some(scores) => Signal { scores, possible: 1.0 },
        None => meaning(index, query),
    };
    Signals { words, near_words: near_words(index, query), meaning, session_words }
}

/// How much it says that a turn has a term that `having` of `all` documents have.
fn rarity(all: usize, having: usize) -> f32 {
    let (all, having) = (all as f32, having as f32);
    ((all - having + 0.5) / (having + 0.5)).ln_1p()
}

fn bm25(count: f32, length: f32, mean: f32) -> f32 {
    count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean))
}

/// BM25 of the turns, and of the sessions.
fn words(index: &UserIndex, query: &QueryTerms) -> (Signal, Vec<f32>) {
    let mut scores = vec![0.0; index.entries.len()];
    let mut possible = 0.0;
    let mut sessions = Sessions::new(index);
    let mean = (index.total_stems as f32 / index.len().max(1) as f32).max(1.0);
    for stem in query.stems.keys() {
        let list = index.stems.get(stem.as_str());
        let rarity = rarity(index.len(), list.len());
        possible += rarity;
        for posting in list {
            if let Some(entry) = &index.entries[posting.slot()] {
                scores[posting.slot()] += rarity * bm25(posting.count(), entry.stems as f32, mean);
                sessions.counts[entry.session as usize] += posting.count();
            }
        }
        sessions.settle();
    }
    (Signal { scores, possible }, sessions.shares())
}

/// BM25 with the sessions as documents.
struct Sessions {
    lengths: Vec<f32>,
    mean: f32,
    live: usize,
    /// Of the term at hand.
    counts: Vec<f32>,
    scores: Vec<f32>,
}

impl Sessions {
    fn new(index: &UserIndex) -> Self {
        let mut lengths = vec![0.0; index.session_count()];
        for (_, entry) in index.live() {
            lengths[entry.session as usize] += entry.stems as f32;
        }
        let live = lengths.iter().filter(|length| **length > 0.0).count();
        let mean = (lengths.iter().sum::<f32>() / live.max(1) as f32).max(1.0);
        let zeros = vec![0.0; lengths.len()];
        Self { lengths, mean, live, counts: zeros.clone(), scores: zeros }
    }

    /// Adds the term at hand to the scores and makes room for the next.
    fn settle(&mut self) {
        let having = self.counts.iter().filter(|count| **count > 0.0).count();
        let rarity = rarity(self.live, having);
        let all = self.scores.iter_mut().zip(&mut self.counts).zip(&self.lengths);
        for ((score, count), length) in all.filter(|((_, count), _)| **count > 0.0) {
            *score += rarity * bm25(*count, *length, self.mean);
            *count = 0.0;
        }
    }

    fn shares(mut self) -> Vec<f32> {
        let best = self.scores.iter().copied().fold(0.0, f32::max);
        if best > 0.0 {
            self.scores.iter_mut().for_each(|score| *score /= best);
        }
        self.scores
    }
}

/// For each token of the query the best of a turn's tokens: 1 for the same, else the squared cosine of a neighbour.
fn near_words(index: &UserIndex, query: &QueryTerms) -> Signal {
    let mut scores = vec![0.0; index.entries.len()];
    let mut best = vec![0.0f32; index.entries.len()];
    let mut touched = Vec::new();
    let mut possible = 0.0;
    for &piece in query.pieces.keys() {
        let rarity = rarity(index.len(), index.pieces.get(&piece).len());
        possible += rarity;
        let near = Table::builtin().near(piece).map(|(other, cosine)| (other, cosine * cosine));
        for (other, match_) in near.chain([(piece, 1.0)]) {
            for posting in index.pieces.get(&other) {
                let best = &mut best[posting.slot()];
                if *best == 0.0 {
                    touched.push(posting.slot());
                }
                *best = best.max(match_);
            }
        }
        for slot in touched.drain(..) {
            scores[slot] += rarity * std::mem::take(&mut best[slot]);
        }
    }
    Signal { scores, possible }
}

/// Cosine of the sums of the tokens' vectors, each weighted by rarity in English and among the user's turns. A turn's
/// sum is never formed: its product with the query is the sum of its tokens' products. Its length is that under the
/// weights of English alone, times the mean of the user's weights, which changes nothing that matters and can be kept.
fn meaning(index: &UserIndex, query: &QueryTerms) -> Signal {
    let Some(query) = direction(index, query) else {
        return Signal { scores: vec![0.0; index.entries.len()], possible: 1.0 };
    };
    // Product with the query and sum of the weights, side by side in memory.
    let mut sums = vec![[0.0f32; 2]; index.entries.len()];
    for (&piece, list) in index.pieces.iter() {
        let rarity = rarity(index.len(), list.len());
        let (row, factor) = Table::builtin().row(piece);
        let product = dot(row, &query.cells) as f32 * query.scale * factor * rarity;
        let weight = Table::weight(piece) * rarity;
        for posting in list {
            let [products, weights] = &mut sums[posting.slot()];
            *products += product * posting.count();
            *weights += weight * posting.count();
        }
    }
    let cosine = |(entry, [product, weight]): (&Option<IndexedTurn>, &[f32; 2])| {
        let length = entry.as_ref().map_or(0.0, |entry| weight * entry.spread);
        if length > 0.0 { (product / length).max(0.0) } else { 0.0 }
    };
    Signal { scores: index.entries.iter().zip(&sums).map(cosine).collect(), possible: 1.0 }
}

struct Direction {
    cells: Vec<i16>,
    scale: f32,
}

/// The unit vector of the query, in steps small enough for products with int8 rows to stay within `i32`.
fn direction(index: &UserIndex, query: &QueryTerms) -> Option<Direction> {
    let table = Table::builtin();
    let mut sum = vec![0.0f32; table.dims()];
    for (&piece, &count) in &query.pieces {
        let (row, factor) = table.row(piece);
        let weight = factor * f32::from(count) * rarity(index.len(), index.pieces.get(&piece).len());
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * f32::from(*x as i8));
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    let peak = sum.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    let step = peak / f32::from(i16::MAX);
    (length > 0.0)
        .then(|| Direction { cells: sum.iter().map(|x| (x / step) as i16).collect(), scale: step / length })
}

fn dot(row: &[u8], query: &[i16]) -> i32 {
    row.iter().zip(query).map(|(a, b)| i32::from(*a as i8) * i32::from(*b)).sum()
}
