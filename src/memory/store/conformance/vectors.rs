//! Vectors: who still waits for one, and that a row of another embedder counts as waiting.

use super::*;

fn vector(embedder: &str, first: i8) -> StoredEmbedding {
    StoredEmbedding { embedder: embedder.into(), ..embedding(first) }
}

/// Everything that waits, as if it were dealt with piece by piece.
async fn waiting(store: &impl Store, embedder: &str) -> Vec<(String, i64)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let pending = store.pending(embedder, after.clone(), 3).await.unwrap();
        found.extend(pending.items.into_iter().map(|item| (item.text, item.seq)));
        assert!(pending.covered.is_none() || pending.covered != after);
        if pending.covered.is_none() {
            found.sort();
            return found;
        }
        after = pending.covered;
    }
}

/// Ten memories by turns of two users, a millisecond apart; their numbers.
async fn ten(store: &impl Store, [even, odd]: [&UserId; 2]) -> Vec<i64> {
    let mut seqs = Vec::new();
    for n in 0..10 {
        let owner = if n % 2 == 0 { even } else { odd };
        let at = UnixMillis(NOW.0 + n);
        seqs.push(store.append(owner, batch(&[&format!("t{n}")]), at).await.unwrap().memories[0].seq);
    }
    seqs
}

pub(crate) async fn who_waits_is_found_in_pieces_and_over_a_restart<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    let seqs = ten(&store, [&alice, &bob]).await;
    store
        .set_embeddings(&alice, vec![(seqs[0], vector("m/1", 1)), (seqs[2], vector("m/0", 1))])
        .await
        .unwrap();
    // Somebody else's memory is passed over.
    store.set_embeddings(&alice, vec![(seqs[1], vector("m/1", 1))]).await.unwrap();
    store.forget(&bob, Forget::ALL, NOW).await.unwrap();
    drop(store);
    let store = database.open();
    let expected: Vec<_> = [2, 4, 6, 8].map(|n| (format!("t{n}"), seqs[n])).into();
    assert_eq!(waiting(&store, "m/1").await, expected);
    assert_eq!(store.embedded("m/1").await.unwrap(), Embedded { done: 1, all: 5 });
    assert_eq!(store.embedded("m/0").await.unwrap(), Embedded { done: 1, all: 5 });
    store.set_embeddings(&alice, vec![(seqs[2], vector("m/1", 2))]).await.unwrap();
    assert_eq!(store.embedded("m/0").await.unwrap(), Embedded { done: 0, all: 5 });
    let rows = all(&store, &alice).await;
    assert_eq!(rows[1].embedding, Some(vector("m/1", 2)));
    assert_eq!(rows[2].embedding, None);
}

pub(crate) async fn what_is_not_dealt_with_is_found_again_and_so_is_what_comes_later<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    let seqs = ten(&store, [&alice, &bob]).await;
    let look = async |after: Option<Covered>| {
        let pending = store.pending("m/1", after, 100).await.unwrap();
        let mut texts: Vec<_> = pending.items.iter().map(|item| item.text.clone()).collect();
        texts.sort();
        (texts, pending.covered)
    };
    let (first, _) = look(None).await;
    assert_eq!(first.len(), 10);
    let (again, covered) = look(None).await;
    assert_eq!(again, first, "nothing was dealt with");
    assert_eq!(look(covered.clone()).await, (Vec::new(), None));
    assert_eq!(look(covered.clone()).await, (Vec::new(), None), "told twice");
    let later = UnixMillis(NOW.0 + 100);
    store.append(&alice, batch(&["later"]), later).await.unwrap();
    assert_eq!(look(covered).await.0, ["later"]);
    // Another model sees everything that it has not made.
    store.set_embeddings(&bob, vec![(seqs[1], vector("m/2", 1))]).await.unwrap();
    assert_eq!(waiting(&store, "m/2").await.len(), 10);
}

pub(crate) async fn vectors_are_counted_as_they_are_replaced_forgotten_and_brought_along<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    let seqs = ten(&store, [&alice, &bob]).await;
    let of = |n: usize| (seqs[n], vector("m/1", 1));
    store.set_embeddings(&alice, vec![of(0), of(2), of(4)]).await.unwrap();
    store.set_embeddings(&alice, vec![of(0), of(6)]).await.unwrap();
    store.set_embeddings(&bob, vec![of(1)]).await.unwrap();
    let count = async || store.embedded("m/1").await.unwrap();
    assert_eq!(count().await, Embedded { done: 5, all: 10 });
    let before = all(&store, &alice).await;
    let some = Forget::Matching { session: None, before: Some(UnixMillis(NOW.0 + 4)) };
    store.forget(&alice, some, NOW).await.unwrap();
    assert_eq!(count().await, Embedded { done: 3, all: 8 });
    store.restore(&alice, before).await.unwrap();
    assert_eq!(count().await, Embedded { done: 5, all: 10 });
    assert_eq!(store.total().await.unwrap(), 10);
    store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    assert_eq!(count().await, Embedded { done: 1, all: 5 });
}

pub(crate) async fn of_a_long_text_the_beginning_is_embedded<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&[&"é".repeat(100_000)]), NOW).await.unwrap();
    assert_eq!(waiting(&store, "m/1").await[0].0.chars().count(), 8000);
}
