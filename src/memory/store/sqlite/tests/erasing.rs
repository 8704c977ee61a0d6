//! Forgotten means gone: from every answer, and from every file.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;

#[tokio::test]
async fn what_is_forgotten_is_in_no_file_and_the_rest_is() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    let mut rows = Vec::new();
    for (n, session) in ["one", "two", "two", "three", "three"].into_iter().enumerate() {
        let new = NewMemory {
            session: Some(format!("session-{session}")),
            speaker: Some(format!("speaker-{n}-x")),
            metadata: Some(format!(r#"{{"meta":"metadata-{n}-x"}}"#)),
            created_at: Some(UnixMillis(NOW.0 + n as i64)),
            embedding: Some(embedding(1)),
            ..text(&format!("canary-{n}-x {}", "long ".repeat(n * n * 1000)))
        };
        let batch = Batch { memories: vec![new], idempotency_key: Some(format!("idempotency-{n}-x")) };
        rows.extend(store.append(&alice, batch, NOW).await.unwrap().memories);
    }
    assert!(database.holds("canary-1-x") && !database.holds("idempotency-1-x"));

    let session = Forget::Matching { session: Some("session-two".into()), before: None };
    assert_eq!(store.forget(&alice, session, NOW).await.unwrap().seqs, [rows[1].seq, rows[2].seq]);
    for word in ["session-two", "canary-1-x", "canary-2-x", "speaker-1-x", "metadata-2-x", &rows[1].id] {
        assert!(!database.holds(word), "{word}");
    }
    let both =
        Forget::Matching { session: Some("session-three".into()), before: Some(UnixMillis(NOW.0 + 4)) };
    assert_eq!(store.forget(&alice, both, NOW).await.unwrap().seqs, [rows[3].seq]);
    assert!(!database.holds("canary-3-x") && database.holds("canary-4-x") && database.holds("session-three"));

    let forgotten = store.forget(&alice, Forget::Id(rows[0].id.clone()), NOW).await.unwrap();
    assert_eq!((forgotten.seqs, forgotten.erased), (vec![rows[0].seq], true));
    assert_eq!(texts(&all(&store, &alice).await), [rows[4].text.as_str()]);
    let again = store.forget(&alice, Forget::Id(rows[0].id.clone()), NOW).await.unwrap();
    assert_eq!((again.seqs.len(), again.epoch), (0, forgotten.epoch));
    store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    assert!(!database.holds("canary-") && !database.holds("session-"));
}

/// SQLite's `secure_delete` alone fails this: rebalancing pages leaves copies of rows behind.
#[tokio::test]
async fn no_page_keeps_a_copy_whatever_came_before() {
    let database = TestFile::new();
    let (store, mut random) = (database.open(), Rng::with_seed(7));
    let mut live: BTreeMap<String, (UserId, String)> = BTreeMap::new();
    let mut gone = Vec::new();
    for round in 0..600 {
        let owner = user(&format!("user {}", random.u8(..20)));
        if round % 5 < 3 || live.is_empty() {
            let canary = format!("canary-{round}-x");
            let size = [20, 200, 2000, 20_000][random.usize(..4)];
            let new = NewMemory {
                session: Some(canary.clone()),
                metadata: Some(canary.clone()),
                embedding: Some(StoredEmbedding {
                    vector: canary.bytes().cycle().take(256).map(|b| b as i8).collect(),
                    ..embedding(0)
                }),
                created_at: Some(UnixMillis(random.i64(0..1 << 40))),
                ..text(&format!("{canary}{}{canary}", "z".repeat(random.usize(..size))))
            };
            let batch = Batch { memories: vec![new], idempotency_key: None };
            let memory = store.append(&owner, batch, NOW).await.unwrap().memories.remove(0);
            live.insert(canary, (owner, memory.id));
        } else {
            let canary = live.keys().nth(random.usize(..live.len())).unwrap().clone();
            let (owner, id) = live.remove(&canary).unwrap();
            assert!(store.forget(&owner, Forget::Id(id), NOW).await.unwrap().erased);
            gone.push(canary);
        }
        if round % 100 == 99 {
            let found = canaries(&database.bytes());
            assert_eq!(gone.iter().filter(|word| found.contains(*word)).count(), 0, "round {round}");
            assert!(live.keys().all(|word| found.contains(word)));
        }
    }
}

/// Every `canary-…-x` in the files.
fn canaries(bytes: &[u8]) -> BTreeSet<String> {
    let word = |at: usize| {
        let rest = &bytes[at..bytes.len().min(at + 20)];
        let end = memchr::memmem::find(rest, b"-x")?;
        Some(String::from_utf8_lossy(&rest[..end + 2]).into_owned())
    };
    memchr::memmem::find_iter(bytes, b"canary-").filter_map(word).collect()
}

/// A vector tells nearly what its text said, and a context is as private as a memory.
#[tokio::test]
async fn what_was_replaced_leaves_no_copy_either() {
    let database = TestFile::new();
    let (store, mut random) = (database.open(), Rng::with_seed(11));
    let owners: Vec<UserId> = (0..20).map(|n| user(&format!("user {n}"))).collect();
    let mut latest: BTreeMap<String, String> = BTreeMap::new();
    let mut gone = Vec::new();
    let mut seqs = Vec::new();
    for owner in &owners {
        seqs.push(store.append(owner, batch(&["words"]), NOW).await.unwrap().memories[0].seq);
    }
    for round in 0..500 {
        let (at, canary) = (random.usize(..owners.len()), format!("canary-{round}-x"));
        let most = [20, 200, 2000, 20_000][random.usize(..4)];
        let size = random.usize(..most);
        let text = format!("{canary}{}{canary}", "z".repeat(size));
        let kind = if round % 2 == 0 {
            let put = ContextChange::Replace(format!(r#"{{"k":"{text}"}}"#));
            assert!(store.write_context(&owners[at], put, Condition::Always, NOW).await.unwrap().erased);
            "context"
        } else {
            let vector = text.bytes().map(|b| b as i8).collect();
            let made = vec![(seqs[at], StoredEmbedding { vector, ..embedding(0) })];
            store.set_embeddings(&owners[at], made).await.unwrap();
            "vector"
        };
        gone.extend(latest.insert(format!("{kind} {at}"), canary));
    }
    store.forget(&owners[0], Forget::Id("none".into()), NOW).await.unwrap();
    let found = canaries(&database.bytes());
    assert_eq!(gone.iter().filter(|word| found.contains(*word)).count(), 0);
    assert!(gone.len() > 400 && latest.values().all(|word| found.contains(word)));
}

#[tokio::test]
async fn a_reader_of_another_process_delays_the_erasing_and_is_told_of() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["canary-1-x"]), NOW).await.unwrap();
    store
        .writer
        .write(0, crate::memory::store::sqlite::After::Nothing, |tx| {
            Ok(tx.busy_timeout(std::time::Duration::ZERO)?)
        })
        .await
        .unwrap();
    let stranger = database.stranger();
    stranger.execute_batch("BEGIN; SELECT count(*) FROM memories").unwrap();
    let forgotten = store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    assert_eq!((forgotten.seqs.len(), forgotten.erased), (1, false));
    assert_eq!(all(&store, &alice).await, []);
    drop(stranger);
    let again = store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    assert_eq!((again.seqs.len(), again.erased), (0, true));
    assert!(!database.holds("canary-1-x"));
}

#[tokio::test]
async fn the_old_can_be_found_and_dead_space_is_given_back() {
    let database = TestFile::new();
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    assert!(!store.compact().await.unwrap());
    let long = "long ".repeat(600);
    for n in 0..40 {
        let new = |k: i64| NewMemory { created_at: Some(UnixMillis(k)), ..text(&long) };
        let batch = Batch { memories: (0..200).map(|k| new(n * 200 + k)).collect(), idempotency_key: None };
        store.append(&alice, batch, NOW).await.unwrap();
    }
    store.append(&bob, batch(&["new"]), NOW).await.unwrap();
    let old = UnixMillis(7000);
    assert_eq!(store.users_with_older(old).await.unwrap(), std::slice::from_ref(&alice));
    assert!(!store.compact().await.unwrap());
    let expired = Forget::Matching { session: None, before: Some(old) };
    assert_eq!(store.forget(&alice, expired, NOW).await.unwrap().seqs.len(), 7000);
    assert_eq!(store.users_with_older(old).await.unwrap(), []);

    let before = fs::metadata(database.path()).unwrap().len();
    let left = all(&store, &alice).await;
    assert!(store.compact().await.unwrap());
    let after = fs::metadata(database.path()).unwrap().len();
    assert!(after * 3 < before, "{before} -> {after}");
    assert_eq!(all(&store, &alice).await, left);
    assert_eq!(store.get(&alice, &left[5].id).await.unwrap().as_ref(), Some(&left[5]));
    assert!(!store.compact().await.unwrap());
}
