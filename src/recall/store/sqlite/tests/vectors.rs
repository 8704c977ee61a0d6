//! Vectors: who still waits for one, and that a row of another embedder counts as waiting.

use super::*;

fn vector(embedder: &str, first: i8) -> Embedding {
    Embedding { embedder: embedder.into(), ..embedding(first) }
}

async fn waiting(store: &SqliteStore, embedder: &str) -> Vec<(String, i64)> {
    let (mut found, mut after) = (Vec::new(), i64::MIN);
    loop {
        let pending = store.pending(embedder, after, 3).await.unwrap();
        found.extend(pending.items.into_iter().map(|item| (item.text, item.seq)));
        let Some(last) = pending.last else { return found };
        assert!(last > after);
        after = last;
    }
}

#[tokio::test]
async fn who_waits_is_found_in_pieces_and_over_a_restart() {
    let place = Place::new();
    let (store, alice, bob) = (place.open(), user("alice"), user("bob"));
    let mut seqs = Vec::new();
    for n in 0..10 {
        let owner = if n % 2 == 0 { &alice } else { &bob };
        let appended = store.append(owner, batch(&[&format!("t{n}")]), NOW).await.unwrap();
        seqs.push(appended.memories[0].seq);
    }
    assert_eq!(waiting(&store, "m/1").await.len(), 10);
    store
        .set_embeddings(&alice, vec![(seqs[0], vector("m/1", 1)), (seqs[2], vector("m/0", 1))])
        .await
        .unwrap();
    // Somebody else's memory is passed over.
    store.set_embeddings(&alice, vec![(seqs[1], vector("m/1", 1))]).await.unwrap();
    store.forget(&bob, Forget::ALL, NOW).await.unwrap();
    drop(store);
    let store = place.open();
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

#[tokio::test]
async fn of_a_long_text_the_beginning_is_embedded() {
    let place = Place::new();
    let (store, alice) = (place.open(), user("alice"));
    store.append(&alice, batch(&[&"é".repeat(100_000)]), NOW).await.unwrap();
    assert_eq!(waiting(&store, "m/1").await[0].0.chars().count(), 8000);
}
