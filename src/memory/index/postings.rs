//! Which turns have a term, and how often: the inverted lists of one user's index.
//!
//! A list is sorted by slot, the terms by themselves, so that sums over them come out the same to the last bit
//! whatever the order of additions and removals was.

use std::{borrow::Borrow, collections::BTreeMap, mem::size_of};

/// What a map's entry costs beside its key and its list: pointers and the slack of a B-tree's nodes, in bytes.
const ENTRY: usize = 16;

/// Where one turn has a term: its slot (24 bits) and how often (8 bits, then "often").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting(u32);

impl Posting {
    /// No slot is higher.
    pub(crate) const LAST_SLOT: u32 = u32::MAX >> 8;

    fn new(slot: u32, count: u8) -> Self {
        Self(slot << 8 | u32::from(count))
    }

    /// The turn.
    pub(crate) fn slot(self) -> usize {
        (self.0 >> 8) as usize
    }

    /// How often the turn has the term, at most 255.
    pub(crate) fn count(self) -> f32 {
        f32::from(self.0.to_le_bytes()[0])
    }
}

/// The inverted lists of one user, by term.
pub(crate) struct Postings<K>(BTreeMap<K, Vec<Posting>>);

impl<K: Ord> Default for Postings<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Postings<K> {
    /// The turns that have `term`, oldest slot first.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, term: &Q) -> &[Posting]
    where
        K: Borrow<Q>,
    {
        self.0.get(term).map_or(&[], Vec::as_slice)
    }

    /// Every term with its turns.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &[Posting])> {
        self.0.iter().map(|(term, list)| (term, list.as_slice()))
    }

    /// Notes that the turn in `slot`, which is higher than every slot before, has `term` so many times.
    pub(crate) fn push(&mut self, term: K, slot: u32, count: u8) {
        let list = self.0.entry(term).or_default();
        if list.len() == list.capacity() {
            // A quarter, not double: half of all lists are short, and the index is bounded by bytes.
            list.reserve_exact(list.len() / 4 + 1);
        }
        list.push(Posting::new(slot, count));
    }

    /// Forgets that the turn in `slot` has `term`.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, term: &Q, slot: u32)
    where
        K: Borrow<Q>,
    {
        let Some(list) = self.0.get_mut(term) else { return };
        if let Ok(at) = list.binary_search_by_key(&(slot as usize), |posting| posting.slot()) {
            list.remove(at);
        }
        if list.is_empty() {
            self.0.remove(term);
        }
    }

    /// Bytes of the lists and their map, without what a key points to.
    pub(crate) fn bytes(&self) -> usize {
        let lists: usize = self.0.values().map(|list| list.capacity() * size_of::<Posting>()).sum();
        lists + self.0.len() * (size_of::<K>() + size_of::<Vec<Posting>>() + ENTRY)
    }
}
