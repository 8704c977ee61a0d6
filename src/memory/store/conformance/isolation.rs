//! Two users never see each other's: every method, once each.

use super::*;

async fn filled(store: &impl Store, owner: &UserId) -> Vec<MemoryRecord> {
    let new = |n: i32| NewMemory {
        session: Some("same".into()),
        embedding: Some(embedding(1)),
        ..text(&format!("{owner}'s secret {n}"))
    };
    let memories = (0..5).map(new).collect();
    let batch = Batch { memories, idempotency_key: Some("same key".into()) };
    let put = ContextChange::Replace(format!(r#"{{"of":"{owner}"}}"#));
    store.write_context(owner, put, Condition::Always, NOW).await.unwrap();
    store.append(owner, batch, NOW).await.unwrap().memories
}

pub(crate) async fn nobody_sees_or_changes_what_is_not_theirs<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let store = database.open();
    // Names that a pattern, a fold or a cut string would take for each other.
    let names = ["alice", "Alice", "alice%", "alic_", "%", "alice'--", "аlice", "alice\u{301}"];
    let users: Vec<UserId> = names.iter().map(|name| user(name)).collect();
    let mut theirs = Vec::new();
    for owner in &users {
        theirs.push(filled(&store, owner).await);
    }

    for (owner, own) in users.iter().zip(&theirs) {
        assert_eq!(&all(&store, owner).await, own);
        assert_eq!(&store.list(owner, None, 200).await.unwrap().memories, own);
        assert_eq!(store.counts(owner).await.unwrap().memories, 5);
        assert_eq!(store.epoch(owner).await.unwrap(), 2);
        assert_eq!(store.activity(owner).await.unwrap().len(), 2);
        assert_eq!(store.context(owner).await.unwrap().json, format!(r#"{{"of":"{owner}"}}"#));
        for foreign in theirs.iter().filter(|rows| rows != &own).flatten() {
            assert_eq!(store.get(owner, &foreign.id).await.unwrap(), None);
            let forgotten = store.forget(owner, Forget::Id(foreign.id.clone()), NOW).await.unwrap();
            assert!(forgotten.seqs.is_empty());
            let cursor = Cursor { created_at: foreign.created_at.0, seq: foreign.seq };
            let page = store.list(owner, Some(cursor), 200).await.unwrap();
            assert!(page.memories.iter().all(|memory| own.contains(memory)));
        }
    }
    let victim = &users[0];
    store.forget(victim, Forget::ALL, NOW).await.unwrap();
    assert_eq!(all(&store, victim).await, []);
    for (owner, own) in users.iter().zip(&theirs).skip(1) {
        assert_eq!(&all(&store, owner).await, own);
    }
}

pub(crate) async fn a_stranger_has_nothing_and_leaves_no_trace<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, nobody) = (database.open(), user("nobody"));
    assert_eq!(all(&store, &nobody).await, []);
    assert_eq!(store.list(&nobody, None, 10).await.unwrap(), RecordPage::default());
    assert_eq!(store.get(&nobody, "x").await.unwrap(), None);
    assert_eq!(store.epoch(&nobody).await.unwrap(), 0);
    assert_eq!(store.context(&nobody).await.unwrap().json, "{}");
    let forgotten = store.forget(&nobody, Forget::ALL, NOW).await.unwrap();
    assert_eq!((forgotten.seqs.len(), forgotten.epoch, forgotten.erased), (0, 0, true));
    assert!(!database.holds("nobody"));
}
