//! Names of memories: 26 characters that sort by the order of writing, as ULIDs do.
//!
//! The first half is the row's number and the way to find it without an index; the second half is random, so that
//! nobody can name a memory without having seen its id. A row's number is its time in milliseconds and a counter, and
//! must never be given twice: it grows even when the clock is set back.

use super::UnixMillis;

/// Crockford's alphabet: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of one half: 65 bits.
const HALF: usize = 13;

/// Bits of a row's number that count within a millisecond.
const COUNTER: u32 = 20;

/// The number of the next row: the first of this millisecond, or one more than the last.
pub(super) fn next_seq(last: i64, now: UnixMillis) -> i64 {
    // 43 bits of milliseconds last until the year 2248.
    let first = now.0.clamp(0, (1 << 43) - 1) << COUNTER;
    first.max(last.saturating_add(1))
}

/// A new name for the row with this number.
pub(super) fn mint(seq: i64) -> String {
    let mut id = String::with_capacity(2 * HALF);
    encode(seq.unsigned_abs(), &mut id);
    encode(fastrand::u64(..), &mut id);
    id
}

/// The number of the row that `id` names; `None` if no row can have that name.
pub(crate) fn seq_of(id: &str) -> Option<i64> {
    if id.len() != 2 * HALF {
        return None;
    }
    id.bytes().take(HALF).try_fold(0_i64, |seq, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        seq.checked_mul(32)?.checked_add(i64::try_from(digit).ok()?)
    })
}

/// The next place for a memory whose own is taken: the number after `seq`, and `id` with that number.
pub(super) fn sibling(seq: i64, id: &str) -> (i64, String) {
    let next = seq.saturating_add(1);
    let mut name = String::with_capacity(2 * HALF);
    encode(next.unsigned_abs(), &mut name);
    name.push_str(id.get(HALF..).unwrap_or_default());
    (next, name)
}

fn encode(number: u64, into: &mut String) {
    for place in (0..HALF).rev() {
        let digit = (number >> (5 * place)) & 31;
        into.push(char::from(ALPHABET[usize::try_from(digit).unwrap_or(0)]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_grow_also_when_the_clock_does_not() {
        let first = next_seq(0, UnixMillis(1_700_000_000_000));
        assert_eq!(first, 1_700_000_000_000 << 20);
        assert_eq!(next_seq(first, UnixMillis(1_700_000_000_000)), first + 1);
        assert_eq!(next_seq(first, UnixMillis(5)), first + 1);
        assert_eq!(next_seq(0, UnixMillis(-5)), 1);
        assert!(next_seq(first, UnixMillis(1_700_000_000_001)) > first + 1000);
        assert!(next_seq(first, UnixMillis(i64::MAX)) > first);
    }

    #[test]
    fn a_sibling_has_the_next_number_and_the_same_secret() {
        let id = mint(7);
        let (seq, name) = sibling(7, &id);
        assert_eq!((seq, seq_of(&name), &name[HALF..]), (8, Some(8), &id[HALF..]));
    }

    #[test]
    fn two_names_of_one_row_differ() {
        assert_ne!(mint(7), mint(7));
    }

    #[test]
    fn strangers_are_no_names() {
        let good = mint(1 << 60);
        for bad in ["", "x", "%", &good[1..], &format!("{good}0"), &"Z".repeat(26)] {
            assert_eq!(seq_of(bad), None, "{bad:?}");
        }
        assert_eq!(seq_of(&"é".repeat(13)), None);
    }

    proptest! {
        #[test]
        fn a_name_leads_to_its_row_and_sorts_as_it(a in 1..i64::MAX, b in 1..i64::MAX) {
            prop_assert_eq!(seq_of(&mint(a)), Some(a));
            if a != b {
                prop_assert_eq!(mint(a) < mint(b), a < b);
            }
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".*") {
            let _ = seq_of(&text);
        }
    }
}
