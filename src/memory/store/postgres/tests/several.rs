//! Two gateways on one database: who has been told of what, and that nothing is ever stale.

use super::*;

fn known(memories: &[MemoryRecord], epoch: u64) -> Option<IndexVersion> {
    Some(IndexVersion { epoch, seq: memories.iter().map(|memory| memory.seq).max().unwrap_or(0) })
}

#[tokio::test]
async fn news_are_what_the_other_gateway_has_done() {
    let Some(database) = TestDatabase::empty() else { return };
    let (one, other, alice) = (database.open(), database.open(), user("alice"));
    assert_eq!(one.news(&alice, None).await.unwrap(), Changes::Rewritten { epoch: 0 });
    let first = one.append(&alice, batch(&["a"]), NOW).await.unwrap();
    let seen = known(&first.memories, 1);
    assert_eq!(other.news(&alice, seen).await.unwrap(), Changes::Same);

    let second = other.append(&alice, batch(&["b", "c"]), UnixMillis(0)).await.unwrap();
    let news = one.news(&alice, seen).await.unwrap();
    assert_eq!(news, Changes::Added { epoch: 2, memories: second.memories.clone() });

    other.write_context(&alice, ContextChange::Replace("{}".into()), Condition::Always, NOW).await.unwrap();
    let seen = known(&second.memories, 2);
    assert_eq!(one.news(&alice, seen).await.unwrap(), Changes::Added { epoch: 3, memories: vec![] });
    other.forget(&alice, Forget::Id(first.memories[0].id.clone()), NOW).await.unwrap();
    assert_eq!(one.news(&alice, seen).await.unwrap(), Changes::Rewritten { epoch: 4 });
    assert_eq!(one.news(&user("bob"), seen).await.unwrap(), Changes::Rewritten { epoch: 0 });
}

/// Each gateway's view grown from news alone is the table itself, whatever both do at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_view_grown_from_news_is_never_behind_what_was_acknowledged() {
    let Some(database) = TestDatabase::empty() else { return };
    let (stores, alice) = ([Arc::new(database.open()), Arc::new(database.open())], user("alice"));
    let newest = Arc::new(Mutex::new(0_u64));
    let writers = stores.clone().map(|store| {
        let (alice, newest) = (alice.clone(), newest.clone());
        task(async move {
            for n in 0..150 {
                let epoch = if n % 15 == 14 {
                    store.forget(&alice, Forget::ALL, NOW).await.unwrap().epoch
                } else {
                    store.append(&alice, batch(&["x"]), NOW).await.unwrap().epoch
                };
                let mut newest = newest.lock();
                *newest = newest.max(epoch);
            }
        })
    });
    let (mut view, mut epoch) = (Vec::new(), None);
    loop {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let acknowledged = *newest.lock();
        let seen = epoch.map(|epoch| IndexVersion {
            epoch,
            seq: view.iter().map(|m: &MemoryRecord| m.seq).max().unwrap_or(0),
        });
        match stores[0].news(&alice, seen).await.unwrap() {
            Changes::Same => {}
            Changes::Added { epoch: now, memories } => {
                view.extend(memories);
                epoch = Some(now);
            }
            _ => {
                let rows = Arc::new(Mutex::new(Vec::new()));
                let into = rows.clone();
                let now = stores[0].load(&alice, Box::new(move |chunk| into.lock().extend(chunk))).await;
                (view, epoch) = (std::mem::take(&mut *rows.lock()), Some(now.unwrap()));
            }
        }
        assert!(epoch.unwrap_or(0) >= acknowledged, "{epoch:?} is behind {acknowledged}");
        if done {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(view, all(&*stores[1], &alice).await);
}

/// Of two gateways that number rows at the same time, none gives a number twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_grow_in_the_order_of_epochs_over_all_gateways() {
    let Some(database) = TestDatabase::empty() else { return };
    let (stores, alice) = ([Arc::new(database.open()), Arc::new(database.open())], user("alice"));
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (store, alice) = (stores[n % 2].clone(), alice.clone());
            task(async move {
                let mut written = Vec::new();
                for _ in 0..25 {
                    let appended = store.append(&alice, batch(&["a", "b"]), NOW).await.unwrap();
                    written.push((appended.epoch, appended.memories[0].seq));
                }
                written
            })
        })
        .collect();
    let mut written = Vec::new();
    for task in tasks {
        written.extend(task.await.unwrap());
    }
    written.sort_unstable();
    assert!(written.is_sorted_by(|one, next| one.0 < next.0 && one.1 + 1 < next.1));
    assert_eq!(all(&*stores[0], &alice).await.len(), 400);
}

/// Two gateways that are not configured alike: the one that started last embeds, and the other does not undo it.
#[tokio::test]
async fn of_two_embedders_the_last_chosen_is_in_force() {
    let Some(database) = TestDatabase::empty() else { return };
    let (one, other, alice) = (database.open(), database.open(), user("alice"));
    let appended = one.append(&alice, batch(&["a"]), NOW).await.unwrap();
    let set = async |store: &PostgresStore, embedder: &str| {
        let embedding = StoredEmbedding { embedder: embedder.into(), ..embedding(1) };
        store.set_embeddings(&alice, vec![(appended.memories[0].seq, embedding)]).await.unwrap();
    };
    let stands_back =
        |instead: &str| PendingRecords { instead: Some(instead.into()), ..PendingRecords::default() };
    one.embed_by("m/1").await.unwrap();
    let found = one.pending("m/1", None, 9).await.unwrap();
    assert_eq!(found.items.len(), 1);
    set(&one, "m/1").await;
    assert_eq!(one.pending("m/1", found.covered.clone(), 9).await.unwrap(), PendingRecords::default());

    other.embed_by("m/2").await.unwrap();
    let taken = other.pending("m/2", None, 9).await.unwrap();
    assert_eq!(taken.items.len(), 1);
    set(&other, "m/2").await;
    for _ in 0..3 {
        assert_eq!(one.pending("m/1", found.covered.clone(), 9).await.unwrap(), stands_back("m/2"));
        assert_eq!(other.pending("m/2", taken.covered.clone(), 9).await.unwrap(), PendingRecords::default());
    }
    // It starts again.
    one.embed_by("m/1").await.unwrap();
    assert_eq!(one.pending("m/1", None, 9).await.unwrap().items.len(), 1);
    assert_eq!(other.pending("m/2", None, 9).await.unwrap(), stands_back("m/1"));
}

/// What one gateway embeds, the other leaves to it, until the first has moved the mark or is gone for long.
#[tokio::test]
async fn two_gateways_do_not_embed_the_same() {
    let Some(database) = TestDatabase::empty() else { return };
    let (one, other, alice) = (database.open(), database.open(), user("alice"));
    let first = one.append(&alice, batch(&["a", "b"]), NOW).await.unwrap();
    let found = one.pending("m/1", None, 9).await.unwrap();
    assert_eq!(found.items.len(), 2);
    assert_eq!(other.pending("m/1", None, 9).await.unwrap(), PendingRecords::default());
    database.run("UPDATE concierge.users SET leased_to = now() - interval '1 second'");
    let taken = other.pending("m/1", None, 9).await.unwrap();
    assert_eq!(taken.items, found.items, "the first is gone");
    // It was not, but the mark is no longer its to move.
    assert_eq!(one.pending("m/1", found.covered, 9).await.unwrap(), PendingRecords::default());
    assert_eq!(other.pending("m/1", None, 9).await.unwrap().items, found.items);

    // What is put back before the mark while it is moved is found, too.
    one.forget(&alice, Forget::Id(first.memories[0].id.clone()), NOW).await.unwrap();
    one.restore(&alice, first.memories.clone()).await.unwrap();
    let found = other.pending("m/1", taken.covered, 9).await.unwrap();
    assert_eq!(found.items.len(), 2);
    assert_eq!(other.pending("m/1", found.covered, 9).await.unwrap(), PendingRecords::default());
}
