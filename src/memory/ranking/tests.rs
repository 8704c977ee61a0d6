//! The ranking on three small talks, made up here.

use super::*;
use crate::memory::index::user_index::Turn;

/// Three small talks, made up for this test.
const TALKS: &[(&str, &str, &str)] = &[
    ("pets", "Ann", "We took in a puppy last weekend, a beagle."),
    ("pets", "Ben", "Oh lovely! What did you call him?"),
    ("pets", "Ann", "Biscuit, because of his colour."),
    ("pets", "Ben", "Ha, good one."),
    ("work", "Ben", "I handed in my notice at the bank on Monday."),
    ("work", "Ann", "Really? What will you do instead?"),
    ("work", "Ben", "Open a bicycle repair shop with my sister in Utrecht."),
    ("trip", "Ann", "The ferry to Crete was cancelled because of a storm."),
    ("trip", "Ben", "That is a pity. Did the hotel give your money back?"),
    ("trip", "Ann", "Half of it, and a voucher for two nights."),
];

fn talks() -> UserIndex {
    let mut index = UserIndex::default();
    for (key, (session, speaker, text)) in (0..).zip(TALKS) {
        index.add(&Turn { key, session, at: 86_400 * 400 * key as i64, speaker, text, vector: None });
    }
    index
}

fn best(query: &str) -> Vec<TurnKey> {
    rank(&talks(), &Query { text: query, vector: None }, 3).iter().map(|scored| scored.key).collect()
}

#[test]
fn what_was_said_is_found_in_other_words() {
    for (query, expected) in [
        ("What is the name of Ann's dog?", 0),
        ("Which breed is the puppy?", 0),
        ("Where did Ben work before he quit?", 4),
        ("Why was the boat cancelled?", 7),
        ("Where will the bike workshop be?", 6),
        ("Was the hotel refunded?", 8),
    ] {
        assert!(best(query).contains(&expected), "{query}: {:?}", best(query));
    }
}

#[test]
fn the_answer_comes_with_its_question() {
    // "Biscuit" shares no word with what is asked; the question before it does.
    assert!(best("What did Ann call the puppy?").contains(&2));
}

#[test]
fn who_asks_when_gets_what_tells_a_time() {
    let mut index = UserIndex::default();
    let said = ["We moved to Oslo and the Oslo flat is tiny.", "So we moved to Oslo, it was last week."];
    for (key, text) in (0..).zip(said) {
        index.add(&Turn {
            key,
            session: if key == 0 { "a" } else { "b" },
            at: 0,
            speaker: "Ann",
            text,
            vector: None,
        });
    }
    let first = |query: &str| rank(&index, &Query { text: query, vector: None }, 1)[0].key;
    assert_eq!((first("Where is the Oslo flat?"), first("When did we move to Oslo?")), (0, 1));
}

#[test]
fn a_date_finds_what_was_said_then() {
    // The fourth turn is of 14 April 1973.
    assert_eq!(best("What did we talk about in April 1973?")[0], 3);
}

#[test]
fn what_nobody_spoke_of_scores_low() {
    let score = |query: &str| {
        let ranked = rank(&talks(), &Query { text: query, vector: None }, 1);
        ranked.first().map_or(0.0, |scored| scored.score)
    };
    for query in
        ["Write a Rust function that reverses a linked list.", "thanks!", "?", "", "量子力学とは何ですか"]
    {
        assert!(score(query) < 0.25, "{query}: {}", score(query));
    }
    for query in ["What colour is Biscuit?", "the storm on the way to Crete", "Ben's bicycle shop"] {
        assert!(score(query) >= 0.4, "{query}: {}", score(query));
    }
}

#[test]
fn scores_fall_and_a_limit_keeps_the_best() {
    let index = talks();
    let query = Query { text: "the hotel and the ferry", vector: None };
    let all = rank(&index, &query, usize::MAX);
    assert_eq!(all.len(), TALKS.len());
    assert!(all.windows(2).all(|pair| pair[0].score >= pair[1].score));
    for limit in 0..=TALKS.len() + 1 {
        assert_eq!(rank(&index, &query, limit), all[..limit.min(all.len())]);
    }
}

#[test]
fn equals_come_in_the_order_in_which_they_were_said() {
    let mut index = UserIndex::default();
    for key in 0..50 {
        let session = key.to_string();
        index.add(&Turn { key, session: &session, at: 0, speaker: "Ann", text: "tea", vector: None });
    }
    let keys: Vec<TurnKey> =
        rank(&index, &Query { text: "tea", vector: None }, 9).iter().map(|found| found.key).collect();
    assert_eq!(keys, (0..9).collect::<Vec<_>>());
}

#[test]
fn vectors_of_another_embedder_take_the_place_of_the_table() {
    let mut index = UserIndex::default();
    let said = [("one", [1.0, 0.0]), ("two", [0.0, 1.0])];
    for (key, (text, vector)) in (0..).zip(&said) {
        index.add(&Turn { key, session: text, at: 0, speaker: "Ann", text, vector: Some(vector) });
    }
    let first = |vector: &[f32]| rank(&index, &Query { text: "zzz", vector: Some(vector) }, 1)[0].key;
    assert_eq!((first(&[1.0, 0.1]), first(&[0.1, 1.0])), (0, 1));
    // A vector of another length is of no use, and no harm.
    assert!(rank(&index, &Query { text: "zzz", vector: Some(&[1.0]) }, 1).len() <= 1);
}

#[test]
fn nothing_is_found_in_nothing() {
    assert!(rank(&UserIndex::default(), &Query { text: "tea", vector: Some(&[1.0]) }, 5).is_empty());
}
