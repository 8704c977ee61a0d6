//! A turn or a query as a database finds it among a million: its stems, and one vector of the built-in table.
//!
//! Coarse on purpose: it selects some hundred candidates, which the ranking then scores as it scores any turn. Pure.

use super::{terms::QueryTerms, tokenize};
use crate::memory::{
    embedding::static_table::Table,
    store::{Description, MemoryRecord},
};

/// Numbers of a vector.
pub(crate) const DIMENSIONS: usize = 192;

/// What a stored memory is found by: what the ranking reads of it.
pub(crate) fn memory(memory: &MemoryRecord) -> Description {
    let speaker = memory.speaker.as_deref().unwrap_or(&memory.role);
    describe(&tokenize::dated(memory.created_at.0.div_euclid(1000), speaker, &memory.text))
}

/// What a query looks for.
pub(crate) fn query(query: &str) -> Description {
    describe(&tokenize::gist(query))
}

fn describe(text: &str) -> Description {
    let terms = QueryTerms::new(text);
    let meaning = meaning(&terms);
    Description { stems: terms.stems.into_keys().collect(), meaning }
}

/// The sum of the tokens' vectors, weighted by their rarity in English; that among the user's turns changes with
/// every turn and is left to the ranking.
fn meaning(terms: &QueryTerms) -> Vec<f32> {
    let table = Table::builtin();
    let mut sum = vec![0.0f32; table.dims()];
    for (&piece, &count) in &terms.pieces {
        let (row, factor) = table.row(piece);
        let factor = factor * f32::from(count);
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * f32::from(*x as i8));
    }
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length <= 0.0 || sum.len() != DIMENSIONS {
        return Vec::new();
    }
    sum.iter_mut().for_each(|x| *x /= length);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_same_are_near_and_nothing_means_nothing() {
        let near = |a: &str, b: &str| {
            let (a, b) = (query(a).meaning, query(b).meaning);
            a.iter().zip(&b).map(|(x, y)| x * y).sum::<f32>()
        };
        assert!((near("my cat is ill", "my cat is ill") - 1.0).abs() < 1e-3);
        assert!(
            near("the cat is sick", "my kitten is ill") > near("the cat is sick", "parliament votes today")
        );
        assert_eq!(query("🦀 …"), Description::default());
        assert_eq!(query("Cats and cats").stems, ["cat"]);
    }
}
