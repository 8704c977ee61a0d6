//! A disk that is full, a file that may not be written, a lock that does not go away: a sentence, no loss, and
//! back to work without a restart.

use std::time::Duration;

use super::*;
use crate::memory::store::sqlite::After;

async fn pragma(store: &SqliteStore, sql: &'static str) {
    let work = move |tx: &rusqlite::Connection| Ok(tx.prepare(sql)?.query([])?.next().map(drop)?);
    store.writer.write(0, After::Nothing, work).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_whole_batches_and_heals() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["first"]), NOW).await.unwrap();
    pragma(&store, "PRAGMA max_page_count = 60").await;
    let long = "long ".repeat(10_000);
    let mut stored = 1;
    let error = loop {
        match store.append(&alice, batch(&["small", &long]), NOW).await {
            Ok(_) => stored += 2,
            Err(error) => break error,
        }
        assert!(stored < 1000);
    };
    assert_eq!(error, StoreError::Full);
    assert_eq!(all(&store, &alice).await.len(), stored);
    assert_eq!(store.counts(&alice).await.unwrap().memories as usize, stored);
    // To forget needs little room, and makes some.
    assert!(store.forget(&alice, Forget::ALL, NOW).await.unwrap().erased);
    store.append(&alice, batch(&["after"]), NOW).await.unwrap();
    pragma(&store, "PRAGMA max_page_count = 100000").await;
    store.append(&alice, batch(&[&long]), NOW).await.unwrap();
    assert_eq!(all(&store, &alice).await.len(), 2);
}

#[tokio::test]
async fn a_change_that_does_not_fit_takes_no_other_with_it_into_silence() {
    let database = TestFile::new();
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    pragma(&store, "PRAGMA max_page_count = 60").await;
    let huge = "huge ".repeat(1_000_000);
    let writes = (0..40).map(|n| {
        let (store, alice, huge) = (store.clone(), alice.clone(), huge.clone());
        async move { store.append(&alice, batch(&[if n % 5 == 0 { &huge } else { "small" }]), NOW).await }
    });
    let results = futures_util::future::join_all(writes).await;
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(|error| *error == StoreError::Full));
    // Whatever was answered is what is there.
    assert_eq!(all(&*store, &alice).await.len(), stored);
    assert!(stored <= 32);
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_still_read() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["first"]), NOW).await.unwrap();
    pragma(&store, "PRAGMA query_only = ON").await;
    assert_eq!(store.append(&alice, batch(&["x"]), NOW).await, Err(StoreError::ReadOnly));
    assert_eq!(store.forget(&alice, Forget::ALL, NOW).await, Err(StoreError::ReadOnly));
    assert_eq!(texts(&all(&store, &alice).await), ["first"]);
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for_and_then_said() {
    let database = TestFile::new();
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    store.append(&alice, batch(&["first"]), NOW).await.unwrap();
    let stranger = database.stranger();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();

    // Short ones are waited out.
    let (writes, name) = (store.clone(), alice.clone());
    let waiting = task(async move { writes.append(&name, batch(&["second"]), NOW).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(texts(&all(&*store, &alice).await), ["first"], "readers do not wait");
    stranger.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap().unwrap();

    let short = |tx: &rusqlite::Connection| Ok(tx.busy_timeout(Duration::from_millis(50))?);
    store.writer.write(0, After::Nothing, short).await.unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(store.append(&alice, batch(&["x"]), NOW).await, Err(StoreError::Locked));
    assert_eq!(store.check().await, Err(StoreError::Locked));
    stranger.execute_batch("COMMIT").unwrap();
    store.check().await.unwrap();
    assert_eq!(texts(&all(&*store, &alice).await), ["first", "second"]);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_what_nobody_waits_for_is_not_done() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    let stranger = database.stranger();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut waiting: Vec<_> = Vec::new();
    let mut refused = 0;
    for _ in 0..3000 {
        let mut write = store.append(&alice, batch(&["x"]), NOW);
        match futures_util::poll!(&mut write) {
            std::task::Poll::Ready(result) => {
                assert_eq!(result, Err(StoreError::Busy));
                refused += 1;
            }
            std::task::Poll::Pending => waiting.push(write),
        }
    }
    assert!((1000..1500).contains(&waiting.len()) && refused > 1500, "{} wait", waiting.len());
    // 64 MiB of texts are too much also in a few calls.
    let huge = "x".repeat(40 << 20);
    let kept = waiting.drain(..10).collect::<Vec<_>>();
    drop(waiting);
    stranger.execute_batch("COMMIT").unwrap();
    futures_util::future::join_all(kept).await.into_iter().for_each(|done| drop(done.unwrap()));
    // Those who left were in the first transaction at most.
    assert!(all(&store, &alice).await.len() <= 266);
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut first = store.append(&alice, batch(&[&huge]), NOW);
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(store.append(&alice, batch(&[&huge]), NOW).await, Err(StoreError::Busy));
}

#[tokio::test]
async fn a_closed_store_has_done_what_it_took_and_takes_no_more() {
    let database = TestFile::new();
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    let mut writes = Vec::new();
    for _ in 0..100 {
        let mut write = store.append(&alice, batch(&["x"]), NOW);
        assert!(futures_util::poll!(&mut write).is_pending());
        writes.push(write);
    }
    store.close().await;
    futures_util::future::join_all(writes).await.into_iter().for_each(|done| drop(done.unwrap()));
    assert_eq!(store.append(&alice, batch(&["x"]), NOW).await, Err(StoreError::Closed));
    assert_eq!(store.counts(&alice).await, Err(StoreError::Closed));
    let files = fs::read_dir(database.folder.path()).unwrap().count();
    assert_eq!(files, 1, "the log is part of the database now");
    assert_eq!(all(&database.open(), &alice).await.len(), 100);
}
