//! A body with some of its bytes replaced, without copying the rest.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// One replacement of a range, possibly empty, by other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The range to replace, in bytes of the original.
    pub range: Range<usize>,
    /// The bytes to put there.
    pub with: Bytes,
}

/// A body in pieces: slices of the original and the replacements between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplicedParts(Vec<Bytes>);

impl SplicedParts {
    /// `body` with the edits made. Insertions at one place keep the order given. Ranges must not overlap and
    /// must lie inside the body, otherwise `None`.
    pub fn new(body: &Bytes, mut edits: Vec<Edit>) -> Option<Self> {
        edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut parts = Vec::with_capacity(2 * edits.len() + 1);
        let mut done = 0;
        for Edit { range, with } in edits {
            if range.start < done || range.end < range.start || range.end > body.len() {
                return None;
            }
            parts.push(body.slice(done..range.start));
            parts.push(with);
            done = range.end;
        }
        parts.push(body.slice(done..));
        parts.retain(|part| !part.is_empty());
        Some(Self(parts))
    }

    /// The total length in bytes: the `content-length` to send.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pieces, in order, none of them empty.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }

    /// The whole body as one piece; copies unless it is one already.
    pub fn concat(&self) -> Bytes {
        match &self.0[..] {
            [one] => one.clone(),
            parts => {
                let mut whole = BytesMut::with_capacity(self.len());
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        }
    }
}

impl From<Bytes> for SplicedParts {
    /// An unchanged body.
    fn from(body: Bytes) -> Self {
        Self(if body.is_empty() { Vec::new() } else { vec![body] })
    }
}

impl IntoIterator for SplicedParts {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a SplicedParts {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(edits: &[(Range<usize>, &'static str)]) -> Option<SplicedParts> {
        let edits = edits
            .iter()
            .map(|(range, with)| Edit { range: range.clone(), with: Bytes::from_static(with.as_bytes()) });
        SplicedParts::new(&Bytes::from_static(b"0123456789"), edits.collect())
    }

    #[test]
    fn edits_are_made_in_place_and_in_order() {
        let parts = splice(&[(8..9, "X"), (2..4, "ab"), (2..2, "<"), (2..2, "="), (10..10, "!")]).unwrap();
        assert_eq!(&parts.concat()[..], b"01<=ab4567X9!");
        assert_eq!(parts.len(), parts.iter().map(Bytes::len).sum::<usize>());
        assert!(parts.iter().all(|part| !part.is_empty()));
    }

    #[test]
    fn what_overlaps_or_lies_outside_is_refused() {
        assert_eq!(splice(&[(2..4, "a"), (3..5, "b")]), None);
        assert_eq!(splice(&[(9..11, "a")]), None);
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = splice(&[(5..4, "a")]);
        assert_eq!(reversed, None);
    }

    #[test]
    fn without_edits_it_is_the_body_itself() {
        let body = Bytes::from_static(b"0123456789");
        let parts = SplicedParts::new(&body, Vec::new()).unwrap();
        assert_eq!(parts.concat().as_ptr(), body.as_ptr());
        assert_eq!(parts, SplicedParts::from(body));
        assert!(SplicedParts::from(Bytes::new()).is_empty());
    }
}
