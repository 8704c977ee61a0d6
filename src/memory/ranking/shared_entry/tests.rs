//! What one gateway tells, another understands to the last bit.

use super::*;
use crate::memory::index::cache::{IndexCache, IndexGuard};

fn row(n: usize, text: &str) -> Row {
    Row {
        id: format!("mem_{n}"),
        seq: i64::try_from(n).unwrap(),
        session: n.is_multiple_of(2).then(|| "s".to_owned()),
        role: "user".to_owned(),
        speaker: Some("Zoë \"Z\" 🦀".to_owned()),
        text: text.to_owned(),
        created_at: UnixMillis(-7),
        metadata: Some(r#"{"n": 1.50}"#.to_owned()),
        tokens: 3,
        embedding: None,
    }
}

/// Ranked backwards, with scores that no short decimal has.
async fn ranked(memories: Vec<Row>) -> RankedItems {
    let score = |row: &Row| Scored { key: row.seq.unsigned_abs(), score: (row.seq as f32).sqrt() / 99.0 };
    let ranking = Arc::new(memories.iter().rev().map(score).collect());
    let reading = IndexCache::new(None, true).make(Candidates { epoch: 7, memories }).await.unwrap();
    assert!(matches!(reading, IndexGuard::Made(_)));
    RankedItems { reading: Arc::new(reading), ranking, is_part: false, cached: false, unembedded: None }
}

#[tokio::test]
async fn what_is_told_is_what_was_ranked() {
    let rows: Vec<Row> = (1..=5).map(|n| row(n, "I like tea\0\r\n")).collect();
    let ranked = ranked(rows.clone()).await;
    let entry = SharedEntry::from_ranking(&ranked).unwrap();
    let decoded = SharedEntry::decode(&entry.encode().unwrap()).unwrap();
    assert_eq!((decoded.epoch, decoded.is_whole), (7, true));
    let (ranking, candidates) = decoded.open();
    assert_eq!((&ranking, candidates.epoch), (&ranked.ranking, 7));
    assert_eq!(candidates.memories, rows);
}

#[tokio::test]
async fn it_is_bounded_in_number_and_in_bytes() {
    let many = ranked((1..=100).map(|n| row(n, "tea")).collect()).await;
    let entry = SharedEntry::from_ranking(&many).unwrap();
    assert!(!entry.is_whole);
    let (ranking, candidates) = entry.open();
    assert_eq!((ranking.len(), candidates.memories.len()), (DEPTH, DEPTH));
    assert_eq!(ranking[..], many.ranking[..DEPTH]);
    assert!(candidates.memories.is_sorted_by_key(|row| row.seq));
    let long = "tea ".repeat(MAX_BYTES / 8);
    assert!(SharedEntry::from_ranking(&ranked(vec![row(1, &long)]).await).is_some());
    assert!(SharedEntry::from_ranking(&ranked(vec![row(1, &long), row(2, &long)]).await).is_none());
}

#[test]
fn what_is_no_entry_is_none() {
    for bytes in [&b""[..], b"{}", b"null", b"\xff", br#"{"epoch":1,"is_whole":true}"#] {
        assert_eq!(SharedEntry::decode(bytes), None);
    }
}
