//! An export is read back as it was written, and a damaged one changes nothing.

use std::{fs, path::PathBuf};

use parking_lot::Mutex;

use super::*;
use crate::{
    memory::store::{
        Batch, Condition, ContextChange, Forget, MemoryRecord, NewMemory, StoredEmbedding, UnixMillis,
        sqlite::SqliteStore,
    },
    user::UserId,
};

const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::TempDir::new().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.file(name)).unwrap())
    }
}

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

async fn filled(store: &dyn Store) {
    for (owner, count) in [("ann", 600), ("bob", 1), ("Zoë 🦀", 3)] {
        let new = |n: usize| NewMemory {
            session: n.is_multiple_of(2).then(|| "s\0".to_owned()),
            role: "user".into(),
            speaker: n.is_multiple_of(3).then(|| "Ann".to_owned()),
            text: format!("{owner} said\n\0 {n}"),
            created_at: Some(UnixMillis(n as i64 - 100)),
            metadata: n.is_multiple_of(5).then(|| r#"{"n": 1.50}"#.to_owned()),
            tokens: crate::memory::text::tokenize::tokens(&format!("{owner} said\n\0 {n}")),
            embedding: n.is_multiple_of(7).then(|| StoredEmbedding {
                embedder: "e".into(),
                scale: 0.1,
                vector: vec![-128, 127],
            }),
        };
        let batch = Batch { memories: (0..count).map(new).collect(), idempotency_key: None };
        store.append(&user(owner), batch, NOW).await.unwrap();
    }
    let change = ContextChange::Replace(r#"{"n": 1.50}"#.into());
    store.write_context(&user("bob"), change, Condition::Always, NOW).await.unwrap();
}

async fn all(store: &dyn Store, owner: &str) -> Vec<MemoryRecord> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let into = rows.clone();
    store.load(&user(owner), Box::new(move |chunk| into.lock().extend(chunk))).await.unwrap();
    std::mem::take(&mut *rows.lock())
}

async fn assert_same(one: &dyn Store, other: &dyn Store) {
    for owner in ["ann", "bob", "Zoë 🦀"] {
        assert_eq!(all(one, owner).await, all(other, owner).await, "{owner}");
    }
    assert_eq!(
        one.context(&user("bob")).await.unwrap().json,
        other.context(&user("bob")).await.unwrap().json
    );
}

#[tokio::test]
async fn everything_arrives_once_also_when_it_is_repeated() {
    let place = Place::new();
    let (from, to, file) = (place.store("a.db"), place.store("b.db"), place.file("x.jsonl"));
    filled(&*from).await;
    let told = export::to(from.clone(), &file).await.unwrap();
    assert_eq!(told, "exported 604 memories and 1 contexts");
    assert!(!place.file("x.jsonl.part").exists());
    let told = import::from(to.clone(), &file).await.unwrap();
    assert_eq!(told, "imported 604 of 604 memories and 1 of 1 contexts; the others were there");
    assert_same(&*from, &*to).await;

    // Cut short in the middle, and repeated.
    let gone = all(&*to, "ann").await[300].clone();
    to.forget(&user("ann"), Forget::Id(gone.id.clone()), NOW).await.unwrap();
    let again = import::from(to.clone(), &file).await.unwrap();
    assert!(again.starts_with("imported 1 of 604 memories and 0 of 1"), "{again}");
    let last = import::from(to.clone(), &file).await.unwrap();
    assert!(last.starts_with("imported 0 of 604"), "{last}");
    assert_eq!(all(&*to, "ann").await.len(), 600);
}

/// In SQLite numbers are unique over all users, elsewhere they are not.
#[tokio::test]
async fn a_place_that_is_taken_is_no_reason_to_lose_or_to_double_a_memory() {
    let place = Place::new();
    let (from, to, file) = (place.store("a.db"), place.store("b.db"), place.file("x.jsonl"));
    filled(&*from).await;
    filled(&*to).await;
    export::to(from, &file).await.unwrap();
    for expected in ["imported 604 of 604", "imported 0 of 604"] {
        let told = import::from(to.clone(), &file).await.unwrap();
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!((all(&*to, "ann").await.len(), all(&*to, "bob").await.len()), (1200, 2));
}

#[tokio::test]
async fn a_damaged_file_changes_nothing_and_its_line_is_named() {
    let place = Place::new();
    let (from, to, file) = (place.store("a.db"), place.store("b.db"), place.file("x.jsonl"));
    filled(&*from).await;
    export::to(from, &file).await.unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let without = |n: usize| [&lines[..n], &lines[n + 1..]].concat().join("\n") + "\n";
    let cases = [
        (good.replacen("ann said", "ann says", 1), "line 607 does not fit"),
        (without(3), "line 606 does not fit"),
        (good[..good.len() / 2].to_owned(), "is cut off"),
        (lines[..600].join("\n") + "\n", "line 601 is missing"),
        (without(0), "line 1 is not the head"),
        (good.replacen("\"version\":1", "\"version\":2", 1), "line 1 says that a newer version"),
        (good.replacen("\"role\":\"user\"", "\"role\":\"us", 1), "line 2 is damaged at column"),
        (format!("{good}{{}}\n"), "line 608 comes after the end"),
        (String::new(), "line 1 is missing"),
    ];
    for (text, expected) in cases {
        fs::write(&file, text).unwrap();
        let error = import::from(to.clone(), &file).await.unwrap_err();
        assert!(error.contains(expected) && error.contains("x.jsonl"), "{expected}: {error}");
        assert!(!error.contains("said"), "{error}");
        assert_eq!(to.users(None, 9).await.unwrap(), [], "{expected}");
    }
}
