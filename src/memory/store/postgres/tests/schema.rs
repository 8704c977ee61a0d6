//! The schema: made once by whoever comes first, left alone if it is newer.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_start_at_once_make_it_once() {
    let Some(database) = TestDatabase::empty() else { return };
    let stores: Vec<_> = (0..8).map(|_| Arc::new(database.open())).collect();
    let starts: Vec<_> =
        stores.iter().cloned().map(|store| task(async move { store.check().await })).collect();
    for start in starts {
        // Who waits for the others longer than a check may take finds the schema made the next time.
        drop(start.await.unwrap());
    }
    for store in &stores {
        store.epoch(&user("alice")).await.unwrap();
    }
    assert_eq!(column(&database.url, "SELECT version::text FROM concierge.version"), ["2"]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let Some(database) = TestDatabase::empty() else { return };
    drop(database.ready().await);
    database.run("UPDATE concierge.version SET version = 99");
    let refused = database.open().epoch(&user("alice")).await.map(drop);
    assert_eq!(refused, Err(StoreError::Newer { found: 99, known: 2 }));
    assert_eq!(column(&database.url, "SELECT version::text FROM concierge.version"), ["99"]);
}

#[tokio::test]
async fn a_role_that_is_not_let_in_is_told_apart_from_a_server_that_is_away() {
    let Some(database) = TestDatabase::empty() else { return };
    let at = |url: &str| PostgresStore::new(url, &Tasks::new(), preselect::memory).unwrap();
    let wrong = database.url.replace("concierge:concierge@", "concierge:wrong@");
    let error = at(&wrong).epoch(&user("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)) && !error.to_string().contains("wrong@"), "{error}");
    let nowhere = format!("{}x", database.url);
    assert!(matches!(at(&nowhere).epoch(&user("a")).await, Err(StoreError::Denied(_))));
    let closed = at("postgres://u:p@127.0.0.1:1/db").check().await.unwrap_err();
    assert!(matches!(&closed, StoreError::Away(why) if why.contains("refused")), "{closed}");
}
