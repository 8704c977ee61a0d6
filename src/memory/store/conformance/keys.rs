//! Idempotency keys: a repetition is recognised, also among many at once, and never revives what was forgotten.

use super::*;

fn keyed(key: &str, texts: &[&str]) -> Batch {
    Batch { idempotency_key: Some(key.into()), ..batch(texts) }
}

pub(crate) async fn a_repetition_gets_what_was_stored_and_other_content_a_refusal<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let first = store.append(&alice, keyed("k", &["a", "b"]), NOW).await.unwrap();
    // Somebody writes in between, and the repetition comes later.
    store.append(&alice, batch(&["c"]), NOW).await.unwrap();
    let later = UnixMillis(NOW.0 + 60_000);
    let again = store.append(&alice, keyed("k", &["a", "b"]), later).await.unwrap();
    assert_eq!((again.memories, again.epoch, again.replayed), (first.memories, 2, true));
    for other in [keyed("k", &["a"]), keyed("k", &["ab"]), keyed("k", &["a", "c"]), keyed("k", &["b", "a"])] {
        assert_eq!(store.append(&alice, other, later).await, Err(StoreError::Duplicate));
    }
    let mut session = keyed("k", &["a", "b"]);
    session.memories[0].session = Some(String::new());
    assert_eq!(store.append(&alice, session, later).await, Err(StoreError::Duplicate));
    // How it was counted and embedded is our affair, not the client's content.
    let mut counted = keyed("k", &["a", "b"]);
    counted.memories[0].tokens = 99;
    assert!(store.append(&alice, counted, later).await.unwrap().replayed);
    assert_eq!(all(&store, &alice).await.len(), 3);
}

pub(crate) async fn a_key_is_known_for_a_day<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let day = 24 * 3600 * 1000;
    store.append(&alice, keyed("k", &["a"]), NOW).await.unwrap();
    let at_end = store.append(&alice, keyed("k", &["a"]), UnixMillis(NOW.0 + day)).await.unwrap();
    assert!(at_end.replayed);
    let after = store.append(&alice, keyed("k", &["b"]), UnixMillis(NOW.0 + day + 1)).await.unwrap();
    assert!(!after.replayed);
}

pub(crate) async fn a_late_repetition_does_not_bring_back_what_was_forgotten<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    for forget_all in [true, false] {
        let key = if forget_all { "all" } else { "one" };
        let rows = store.append(&alice, keyed(key, &["a", "b"]), NOW).await.unwrap().memories;
        let which = if forget_all { Forget::ALL } else { Forget::Id(rows[1].id.clone()) };
        store.forget(&alice, which, NOW).await.unwrap();
        let again = store.append(&alice, keyed(key, &["a", "b"]), NOW).await;
        assert_eq!(again, Err(StoreError::Duplicate));
    }
    assert_eq!(texts(&all(&store, &alice).await), ["a"]);
}

pub(crate) async fn of_many_repetitions_at_once_one_writes<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let (store, alice) = (store.clone(), alice.clone());
            let key = format!("key {}", n % 4);
            task(async move { store.append(&alice, keyed(&key, &["same", "words"]), NOW).await })
        })
        .collect();
    let mut written = 0;
    for task in tasks {
        written += u32::from(!task.await.unwrap().unwrap().replayed);
    }
    assert_eq!(written, 4);
    assert_eq!(all(&*store, &alice).await.len(), 8);
}
