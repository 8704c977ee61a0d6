//! What one user has said lately and the store has: so that a turn that is sent again and again, as agents and retries
//! do, is not hashed, queued and looked up again and again.
//!
//! Pure. It holds hashes and no word. It must never know a turn for longer than the store knows its key: while the store
//! does, it keeps no second one, also of a turn that was forgotten since. So it never loses anything, and what it does not
//! know the store does.

use std::{collections::VecDeque, hash::BuildHasher};

use foldhash::quality::RandomState;

use crate::memory::store::{KEPT, UnixMillis};

/// Turns that are known. Only the last one of a conversation is ever asked for.
const TURNS: usize = 16;

/// Hashes of one user's latest turns. Their seed is drawn when the process first sees the user.
#[derive(Debug, Default)]
pub(crate) struct RecentTurns {
    hasher: RandomState,
    /// The oldest first: hash and until when.
    turns: VecDeque<(u64, i64)>,
}

impl RecentTurns {
    /// Whether the store has the turn and would not take it again.
    pub(crate) fn has(&self, role: &str, text: &str, now: UnixMillis) -> bool {
        if self.turns.is_empty() {
            return false;
        }
        let hash = self.hasher.hash_one((role, text));
        self.turns.iter().any(|(known, until)| *known == hash && now.0 <= *until)
    }

    /// The store has the turn since `at`.
    pub(crate) fn note(&mut self, role: &str, text: &str, at: UnixMillis) {
        let hash = self.hasher.hash_one((role, text));
        self.turns.retain(|(known, _)| *known != hash);
        if self.turns.len() == TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back((hash, at.0.saturating_add(KEPT)));
    }

    /// Knows nothing any more.
    pub(crate) fn clear(&mut self) {
        self.turns = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_known_for_as_long_as_the_store_knows_it() {
        let (mut said, at) = (RecentTurns::default(), UnixMillis(1_000));
        assert!(!said.has("user", "tea", at));
        said.note("user", "tea", at);
        assert!(said.has("user", "tea", at) && said.has("user", "tea", UnixMillis(at.0 + KEPT)));
        assert!(!said.has("user", "tea", UnixMillis(at.0 + KEPT + 1)));
        assert!(
            !said.has("assistant", "tea", at) && !said.has("user", "Tea", at) && !said.has("use", "rtea", at)
        );
        said.clear();
        assert!(!said.has("user", "tea", at));
    }

    #[test]
    fn the_newest_turns_are_known_and_no_more() {
        let (mut said, at) = (RecentTurns::default(), UnixMillis(0));
        for turn in 0..2 * TURNS {
            said.note("user", &turn.to_string(), at);
            said.note("user", &turn.to_string(), at);
        }
        let known = (0..2 * TURNS).filter(|turn| said.has("user", &turn.to_string(), at));
        assert_eq!(known.collect::<Vec<_>>(), (TURNS..2 * TURNS).collect::<Vec<_>>());
    }
}
