//! The packer keeps to its bounds and repeats nothing.

use super::*;
use crate::memory::{index::user_index::Turn, text::tokenize};

fn index(texts: &[&str]) -> UserIndex {
    let mut index = UserIndex::default();
    for (key, text) in (0..).zip(texts) {
        index.add(&Turn { key, session: "s", at: 60 * key as i64, speaker: "Ann", text, vector: None });
    }
    index
}

fn ranked(keys: &[TurnKey]) -> Vec<Scored> {
    let score = |at: usize| 1.0 - at as f32 / 10.0;
    keys.iter().enumerate().map(|(at, &key)| Scored { key, score: score(at) }).collect()
}

const ALL: BlockLimits =
    BlockLimits { max_tokens: u32::MAX, max_items: usize::MAX, min_score: 0.0, depth: usize::MAX };

fn keys(block: &Block) -> Vec<TurnKey> {
    block.items.iter().map(|item| item.key).collect()
}

#[test]
fn the_best_that_fit_are_told_in_order() {
    let index = index(&["one", "two is far too long a text for what is left of the budget", "three"]);
    let line = tokenize::tokens("[Thursday, 1 January 1970, 12:00 am] Ann: one") + 1;
    let block = pack(&index, &ranked(&[2, 1, 0]), &BlockLimits { max_tokens: 2 * line, ..ALL }, &[]);
    assert_eq!((keys(&block), block.tokens), (vec![0, 2], 2 * line));
    assert_eq!(block.items[1].line, "[Thursday, 1 January 1970, 12:02 am] Ann: three");
}

#[test]
fn no_bound_is_passed() {
    let index = index(&["one", "two", "three", "four"]);
    let order = ranked(&[3, 0, 1, 2]);
    assert_eq!(keys(&pack(&index, &order, &BlockLimits { max_items: 2, ..ALL }, &[])), [0, 3]);
    assert_eq!(keys(&pack(&index, &order, &BlockLimits { min_score: 0.85, ..ALL }, &[])), [0, 3]);
    assert!(pack(&index, &order, &BlockLimits { max_tokens: 0, ..ALL }, &[]).items.is_empty());
    assert!(pack(&index, &order, &BlockLimits { max_items: 0, ..ALL }, &[]).items.is_empty());
    assert!(pack(&index, &ranked(&[77]), &ALL, &[]).items.is_empty());
    for max_tokens in 0..200 {
        assert!(pack(&index, &order, &BlockLimits { max_tokens, ..ALL }, &[]).tokens <= max_tokens);
    }
}

#[test]
fn what_the_conversation_shows_is_left_out() {
    let index = index(&["I like tea", "My cat is called Tom.", "Ünïcödé 🦀", "  "]);
    let shown = |message: &str| keys(&pack(&index, &ranked(&[0, 1, 2, 3]), &ALL, &[message.into()]));
    assert_eq!(shown("nothing of it"), [0, 1, 2]);
    assert_eq!(shown("Yes.\n  My cat is\ncalled Tom. And?"), [0, 2]);
    assert_eq!(shown("I like teamwork"), [0, 1, 2]);
    assert_eq!(shown("\"I like tea\" Ünïcödé 🦀!"), [1]);
}

#[test]
fn the_same_words_are_told_once() {
    let index = index(&["I like tea", "I  like tea", "tea"]);
    assert_eq!(keys(&pack(&index, &ranked(&[1, 0, 2]), &ALL, &[])), [1, 2]);
}

/// What the conversation shows does not count as looked at: else a long talk about one thing would hide what is older.
#[test]
fn it_looks_so_far_and_says_whether_there_was_room() {
    let index = index(&["I like tea", "cat", "dog", "owl"]);
    let block =
        |keys: &[TurnKey], limits: BlockLimits| pack(&index, &ranked(keys), &limits, &["I like tea".into()]);
    let two = BlockLimits { depth: 2, ..ALL };
    assert_eq!(keys(&block(&[0, 1, 2, 3], two)), [1, 2]);
    assert!(!block(&[0, 1, 2, 3], two).room_left);
    assert!(!block(&[0, 1, 2], two).room_left, "a longer ranking would have changed nothing");
    assert!(block(&[0, 1], two).room_left);
    assert!(block(&[0, 1, 2, 3], ALL).room_left);
    assert!(!block(&[1, 2], BlockLimits { max_items: 2, ..ALL }).room_left);
    assert!(!block(&[1, 2, 3], BlockLimits { min_score: 0.85, ..ALL }).room_left);
}

#[test]
fn blanks_are_single_however_the_text_is_seen() {
    let texts = [
        "",
        " ",
        "a",
        "a b",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "a\nb",
        "a\u{b}b",
        "a\u{a0}b",
        "naïve  café",
        "~ !",
        "\u{7f}",
    ];
    for text in texts {
        assert_eq!(plain(text), text.split_whitespace().collect::<Vec<_>>().join(" "), "{text:?}");
    }
}
