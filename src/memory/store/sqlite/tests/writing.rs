//! Many writers at once: each write whole and in order, and far fewer transactions than writes.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_share_transactions() {
    let database = TestFile::new();
    let store = Arc::new(database.open());
    let tasks: Vec<_> = (0..64)
        .map(|writer| {
            let store = store.clone();
            task(async move {
                let owner = user(&format!("user {}", writer % 8));
                for n in 0..100 {
                    let words = [format!("{writer} {n} a"), format!("{writer} {n} b")];
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    store.append(&owner, batch(&words), NOW).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let commits = store.commits();
    assert!(commits < 6400 / 8, "{commits} transactions for 6400 writes");

    for n in 0..8 {
        let owner = user(&format!("user {n}"));
        let rows = all(&*store, &owner).await;
        assert_eq!(rows.len(), 1600);
        assert!(rows.is_sorted_by_key(|memory| memory.seq));
        assert!(rows.is_sorted_by(|a, b| a.id < b.id));
        // The two of a batch are neighbours.
        assert!(
            rows.chunks(2)
                .all(|pair| pair[0].text.trim_end_matches('a') == pair[1].text.trim_end_matches('b'))
        );
        assert_eq!(store.epoch(&owner).await.unwrap(), 800);
    }
    let verdict: String =
        database.stranger().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn a_change_that_fails_or_panics_takes_no_other_with_it() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    let stranger = database.stranger();
    // All of them wait for the lock, and then share one transaction.
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut first = store.append(&alice, batch(&["first"]), NOW);
    assert!(futures_util::poll!(&mut first).is_pending());
    let bad = store.write::<()>(0, |tx| {
        tx.execute_batch("UPDATE memories SET text = 'spoilt'")?;
        Err(StoreError::NotAnObject)
    });
    let worse = store.write::<()>(0, |tx| {
        tx.execute_batch("INSERT INTO users (name, epoch) VALUES ('ghost', 1)")?;
        panic!("in a change")
    });
    let unlock = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stranger.execute_batch("COMMIT").unwrap();
    };
    let last = store.append(&alice, batch(&["last"]), NOW);
    let (first, bad, worse, last, ()) = futures_util::join!(first, bad, worse, last, unlock);
    assert_eq!(bad, Err(StoreError::NotAnObject));
    assert!(matches!(worse, Err(StoreError::Failed(_))));
    assert!(first.is_ok() && last.is_ok());
    assert_eq!(texts(&all(&store, &alice).await), ["first", "last"]);
    assert_eq!(store.epoch(&user("ghost")).await.unwrap(), 0);
}

#[tokio::test]
async fn the_last_owner_of_a_store_may_be_one_of_its_own_jobs() {
    let database = TestFile::new();
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    store.append(&alice, batch(&["x"]), NOW).await.unwrap();
    let owner = store.clone();
    let alive = Arc::downgrade(&store);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let sink = move |_| {
        let _ = wait.recv();
        assert_eq!(Arc::strong_count(&owner), 1);
    };
    let mut load = store.load(&alice, Box::new(sink));
    assert!(futures_util::poll!(&mut load).is_pending());
    // Until it has begun, as it is left out if nobody waits.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(load);
    drop(store);
    go.send(()).unwrap();
    while alive.upgrade().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(all(&database.open(), &alice).await.len(), 1);
}
