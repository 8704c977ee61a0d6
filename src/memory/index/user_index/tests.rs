//! What is removed is gone, and nothing is too odd to be indexed.

use proptest::prelude::*;

use super::*;
use crate::memory::ranking::{Query, rank};

fn turn<'a>(key: TurnKey, session: &'a str, text: &'a str) -> Turn<'a> {
    Turn { key, session, at: 1_683_554_160 + key as i64, speaker: "Ann", text, vector: None }
}

fn index(turns: &[Turn<'_>]) -> UserIndex {
    let mut index = UserIndex::default();
    turns.iter().for_each(|turn| index.add(turn));
    index
}

fn scores(index: &UserIndex, query: &str) -> Vec<(TurnKey, u32)> {
    let query = Query { text: query, vector: None };
    rank(index, &query, usize::MAX).into_iter().map(|scored| (scored.key, scored.score.to_bits())).collect()
}

/// Texts of a few words, so that they share some, with odd ones among them.
fn texts() -> impl Strategy<Value = Vec<(u8, String)>> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["cat", "cats", "tea", "garden", "Berlin", "you?", "1999", "the"]),
        1 => prop::sample::select(vec!["\0", "🦀", "日本", "e\u{301}", "\u{202e}", "ﬁ"]),
    ];
    let text = prop::collection::vec(word, 0..6).prop_map(|words| words.join(" "));
    prop::collection::vec((0..3u8, text), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_index_without_a_turn_is_as_if_it_never_had_it(texts in texts(), removed in prop::collection::vec(0..30u64, 0..30)) {
        let sessions = ["a", "b", "c"];
        let turns: Vec<_> = (0..).zip(&texts).map(|(key, (s, text))| turn(key, sessions[usize::from(*s)], text)).collect();
        let mut thinned = index(&turns);
        removed.iter().for_each(|key| { thinned.remove(*key); });
        let kept: Vec<_> = turns.into_iter().filter(|turn| !removed.contains(&turn.key)).collect();
        let fresh = index(&kept);
        prop_assert_eq!(thinned.len(), fresh.len());
        for query in ["cat in the garden", "Ann", "1999?", "日本 tea", "May 2023"] {
            prop_assert_eq!(scores(&thinned, query), scores(&fresh, query), "{}", query);
        }
    }

    #[test]
    fn no_text_is_too_odd(text in any::<String>(), query in any::<String>()) {
        let index = index(&[turn(1, "s", &text), turn(2, &query, "tea")]);
        for (_, score) in scores(&index, &query) {
            prop_assert!((0.0..=1.0).contains(&f32::from_bits(score)));
        }
    }
}

#[test]
fn a_megabyte_is_indexed_and_found() {
    let blank = "a".repeat(1 << 20);
    let wordy = "needle ".to_owned() + &"hay stack ".repeat(100_000);
    let index =
        index(&[turn(1, "s", &blank), turn(2, "s", &wordy), turn(3, "s", "\0\0\0"), turn(4, "s", "")]);
    assert_eq!(scores(&index, "needle").first().map(|(key, _)| *key), Some(2));
    assert!(scores(&index, &blank).is_empty());
    assert!(index.bytes() > blank.len() + wordy.len());
}

#[test]
fn a_removed_turn_leaves_no_trace() {
    let mut index = index(&[turn(1, "s", "the password is swordfish"), turn(2, "s", "tea")]);
    assert!(index.remove(1));
    assert!(!index.remove(1));
    assert!(index.get(1).is_none());
    assert!(index.stems.get("swordfish").is_empty());
    assert!(index.entries.iter().flatten().all(|entry| !entry.text.contains("swordfish")));
}

#[test]
fn neighbours_close_the_gap_that_a_removal_leaves() {
    let mut index = index(&[turn(1, "s", "a"), turn(2, "s", "b"), turn(3, "s", "c"), turn(4, "t", "d")]);
    index.remove(2);
    let entry = |slot: usize| index.entries[slot].as_ref().unwrap();
    assert_eq!((entry(0).previous, entry(0).next), (None, Some(2)));
    assert_eq!((entry(2).previous, entry(2).next), (Some(0), None));
    assert_eq!((entry(3).previous, entry(3).next), (None, None));
}

#[test]
fn the_same_key_replaces() {
    let index = index(&[turn(1, "s", "coffee"), turn(1, "s", "tea")]);
    assert_eq!((index.len(), index.get(1).unwrap().text), (1, "tea"));
    assert!(scores(&index, "coffee").iter().all(|(_, score)| f32::from_bits(*score) < 0.5));
}

#[test]
fn what_is_forgotten_is_given_back() {
    let mut index = UserIndex::default();
    for key in 0..1000 {
        index.add(&turn(key, &format!("session {key}"), &format!("word{key} and more of it")));
    }
    let full = index.bytes();
    assert!(full / 1000 <= 1024, "{full}");
    (0..1000).for_each(|key| assert!(index.remove(key)));
    assert!(index.is_empty());
    assert!(index.bytes() < full / 4, "{} of {full}", index.bytes());
}
