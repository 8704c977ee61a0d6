//! The table of token vectors: reads `table.bin` and answers look-ups. It must never copy the vectors.
//!
//! Layout, little-endian: `"MINILM01"`; tokens, dimensions, bytes of vocabulary, pairs of neighbours (`u32` each); the
//! vocabulary, joined by newlines; per token a factor (`f32`), and the number of its neighbours with a higher id
//! (`u16`); all pairs: the other id (`u16`), then their cosines in 1/255 (`u8`); the vectors (`i8`). The factor holds
//! the row's scale times `ln(1 + rank)`, because frequent tokens say little.

use std::{collections::HashMap, ops::Range, sync::LazyLock};

/// The id of a WordPiece token.
pub(crate) type Token = u16;

/// Another token and their cosine in 1/255.
type Near = (Token, u8);

const MAGIC: &[u8] = b"MINILM01";

/// The vocabulary and the vectors of `table.bin`.
#[derive(Default)]
pub(crate) struct Table {
    ids: HashMap<&'static str, Token>,
    dims: usize,
    factors: Vec<f32>,
    rows: &'static [u8],
    /// Where each token's neighbours are, one more than there are tokens.
    starts: Vec<u32>,
    near: Vec<Near>,
}

impl Table {
    /// The table inside this binary.
    pub(crate) fn builtin() -> &'static Self {
        // A table that cannot be read would be empty: recall then goes by words alone. A test keeps it readable.
        static TABLE: LazyLock<Table> =
            LazyLock::new(|| Table::read(include_bytes!("table.bin")).unwrap_or_default());
        &TABLE
    }

    /// Reads every page of the vectors, so that no recall waits for the disk. Takes milliseconds.
    pub(crate) fn warm_up(&self) {
        const PAGE: usize = 4096;
        std::hint::black_box(self.rows.iter().step_by(PAGE).map(|x| u32::from(*x)).sum::<u32>());
    }

    /// The id of a token, spelled as in the vocabulary (`##` marks a piece inside a word).
    pub(crate) fn id(&self, token: &str) -> Option<Token> {
        self.ids.get(token).copied()
    }

    /// How many numbers a vector has.
    pub(crate) fn dims(&self) -> usize {
        self.dims
    }

    /// A token's vector in int8, and the factor that makes it a weighted one. Empty for an unknown id.
    pub(crate) fn row(&self, piece: Token) -> (&'static [u8], f32) {
        let start = usize::from(piece) * self.dims;
        let row = self.rows.get(start..start + self.dims).unwrap_or_default();
        (row, self.factors.get(usize::from(piece)).copied().unwrap_or(0.0))
    }

    /// How much a token counts in a sum, before the user's own statistics: rare tokens say more (Zipf's law; the
    /// vocabulary is sorted by frequency from its 1,000th token on). It is part of [`Table::row`]'s factor.
    pub(crate) fn weight(piece: Token) -> f32 {
        f32::from(piece.saturating_sub(999).max(1)).ln_1p()
    }

    /// The tokens whose vectors have a cosine of 0.5 or more with this one's, and the cosine.
    pub(crate) fn near(&self, piece: Token) -> impl Iterator<Item = (Token, f32)> + '_ {
        let at = usize::from(piece);
        let range: Option<Range<usize>> =
            (|| Some(*self.starts.get(at)? as usize..*self.starts.get(at + 1)? as usize))();
        let near = range.and_then(|range| self.near.get(range)).unwrap_or_default();
        near.iter().map(|&(other, cosine)| (other, f32::from(cosine) / 255.0))
    }

    fn read(bytes: &'static [u8]) -> Option<Self> {
        let mut rest = TableReader(bytes.strip_prefix(MAGIC)?);
        let [tokens, dims, vocabulary, pairs] =
            [rest.number()?, rest.number()?, rest.number()?, rest.number()?];
        let vocabulary = std::str::from_utf8(rest.take(vocabulary)?).ok()?;
        let factors: Vec<f32> = floats(rest.take(tokens * 4)?);
        let counts = shorts(rest.take(tokens * 2)?);
        let others = shorts(rest.take(pairs * 2)?);
        let cosines = rest.take(pairs)?;
        let rows = rest.take(tokens * dims)?;
        let (starts, near) = both_ways(&counts, &others, cosines)?;
        let ids: HashMap<_, _> = vocabulary.split('\n').zip(0..).collect();
        (ids.len() == tokens).then_some(Self { ids, dims, factors, rows, starts, near })
    }
}

struct TableReader(&'static [u8]);

impl TableReader {
    fn take(&mut self, len: usize) -> Option<&'static [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn shorts(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

/// The file names each pair once; here both of the two find each other.
fn both_ways(counts: &[u16], others: &[u16], cosines: &[u8]) -> Option<(Vec<u32>, Vec<Near>)> {
    let owners = (0u16..).zip(counts).flat_map(|(id, count)| std::iter::repeat_n(id, usize::from(*count)));
    let pairs: Vec<_> = owners.zip(others).zip(cosines).map(|((a, &b), &cosine)| (a, b, cosine)).collect();
    let mut starts = vec![0u32; counts.len() + 1];
    for id in pairs.iter().flat_map(|&(a, b, _)| [a, b]) {
        *starts.get_mut(usize::from(id) + 1)? += 1;
    }
    for at in 1..starts.len() {
        starts[at] += starts[at - 1];
    }
    let mut next = starts.clone();
    let mut near = vec![(0, 0); pairs.len() * 2];
    for (from, to, cosine) in pairs.iter().flat_map(|&(a, b, cosine)| [(a, b, cosine), (b, a, cosine)]) {
        let slot = &mut next[usize::from(from)];
        near[*slot as usize] = (to, cosine);
        *slot += 1;
    }
    Some((starts, near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_table_is_whole() {
        let table = Table::builtin();
        assert_eq!((table.ids.len(), table.dims), (30_522, 192));
        assert_eq!((table.id("[PAD]"), table.id("the"), table.id("##s")), (Some(0), Some(1996), Some(2015)));
        assert!(include_bytes!("table.bin").len() <= 8_000_000);
        assert_eq!(table.row(u16::MAX).0.len(), 0);
    }

    #[test]
    fn tokens_that_mean_nearly_the_same_find_each_other() {
        let table = Table::builtin();
        let near = |a: &str, b: &str| {
            let b = table.id(b).unwrap();
            table.near(table.id(a).unwrap()).find(|&(other, _)| other == b).map(|(_, cosine)| cosine)
        };
        assert!(near("cat", "cats").unwrap() > 0.6);
        assert_eq!(near("cat", "cats"), near("cats", "cat"));
        assert_eq!(near("cat", "parliament"), None);
        assert_eq!(table.near(u16::MAX).count(), 0);
    }

    #[test]
    fn a_file_that_is_cut_is_no_table() {
        let whole: &'static [u8] = include_bytes!("table.bin");
        for len in [0, 7, 8, 20, 24, 1000, whole.len() / 2, whole.len() - 1] {
            assert!(Table::read(&whole[..len]).is_none(), "{len}");
        }
    }
}
