//! Connections that die, callers that leave, and what must not be inherited from either.

use std::time::Duration;

use super::*;

const KILL_ALL: &str = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn calls_after_all_connections_died_do_not_notice() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    for n in 0..5 {
        store.append(&alice, batch(&["x"]), NOW).await.unwrap();
        column(&database.url, KILL_ALL);
        assert_eq!(all(&store, &alice).await.len(), n + 1);
        column(&database.url, KILL_ALL);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_leaves_nothing_behind() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["before"]), NOW).await.unwrap();
    let mut cut = 0;
    for steps in 0..40 {
        let mut append = store.append(&alice, batch(&["half"]), NOW);
        let mut done = false;
        for _ in 0..steps {
            done = futures_util::poll!(&mut append).is_ready();
            if done {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        drop(append);
        cut += usize::from(!done);
        // Neither a lock nor a transaction of it is in the way.
        store.append(&alice, batch(&["after"]), NOW).await.unwrap();
    }
    assert!(cut > 0);
    let rows = all(&store, &alice).await;
    assert_eq!(rows.iter().filter(|row| row.text == "after").count(), 40);
    assert_eq!(store.counts(&alice).await.unwrap().memories as usize, rows.len());
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_not_queued() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["x"]), NOW).await.unwrap();
    let large = "x".repeat(40 << 20);
    let mut first = store.append(&alice, batch(&[&large]), NOW);
    assert!(futures_util::poll!(&mut first).is_pending());
    assert_eq!(store.append(&alice, batch(&[&large]), NOW).await, Err(StoreError::Busy));
    drop(first);
    store.append(&alice, batch(&["y"]), NOW).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_takes_no_more() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["x"]), NOW).await.unwrap();
    store.close().await;
    assert_eq!(store.append(&alice, batch(&["y"]), NOW).await, Err(StoreError::Closed));
    assert_eq!(store.epoch(&alice).await, Err(StoreError::Closed));
}
