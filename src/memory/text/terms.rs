//! A text as the index and the ranking see it: stems and tokens, each with how often it is there.
//!
//! Pure, and the same for a turn and for a query.

use std::collections::BTreeMap;

use super::tokenize;
use crate::memory::embedding::static_table::{Table, Token, pieces as spell};

/// The terms of a text, and how often each is there.
pub(crate) struct QueryTerms {
    /// Stems of the words that are no stop words.
    pub stems: BTreeMap<String, u8>,
    /// WordPiece tokens of the same words.
    pub pieces: BTreeMap<Token, u8>,
    /// Words, repeated ones counted.
    pub stem_count: u32,
}

impl QueryTerms {
    /// Takes a text apart.
    pub(crate) fn new(text: &str) -> Self {
        let (mut stems, mut pieces) = (BTreeMap::new(), BTreeMap::new());
        let mut stem_count = 0;
        let mut buffer = Vec::new();
        tokenize::terms(text, |word, stem| {
            stem_count += 1;
            count(&mut stems, stem.to_owned());
            buffer.clear();
            spell(Table::builtin(), word, &mut buffer);
            buffer.iter().for_each(|piece| count(&mut pieces, *piece));
        });
        Self { stems, pieces, stem_count }
    }

    /// Length of the weighted sum of the tokens' vectors, over the sum of the weights: how much they agree (0 to a
    /// token's own length). With the user's own weights it would change with every turn added anywhere; this stays.
    pub(crate) fn spread(&self) -> f32 {
        let table = Table::builtin();
        let mut sum = vec![0.0; table.dims()];
        let mut weights = 0.0;
        for (&piece, &count) in &self.pieces {
            let (row, factor) = table.row(piece);
            let factor = factor * f32::from(count);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * f32::from(*x as i8));
            weights += Table::weight(piece) * f32::from(count);
        }
        let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        if weights > 0.0 { length / weights } else { 0.0 }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u8>, term: K) {
    let count = counts.entry(term).or_insert(0u8);
    *count = count.saturating_add(1);
}
