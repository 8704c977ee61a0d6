//! Row-level security: what a statement that names no user, or another, sees of a table.

use super::*;

#[tokio::test]
async fn a_table_shows_only_the_rows_of_the_user_whom_the_transaction_names() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice, bob) = (database.open(), user("alice"), user("bob"));
    for owner in [&alice, &bob] {
        let batch = Batch { idempotency_key: Some("k".into()), ..batch(&["secret"]) };
        store.append(owner, batch, NOW).await.unwrap();
        store
            .write_context(owner, ContextChange::Replace("{}".into()), Condition::Always, NOW)
            .await
            .unwrap();
    }
    let stranger = client(&database.url).await;
    let count = async |table: &str| {
        let row = stranger.query_one(&format!("SELECT count(*) FROM concierge.{table}"), &[]).await;
        row.unwrap().get::<_, i64>(0)
    };
    for (table, own) in [("memories", 1), ("contexts", 1), ("keys", 1), ("activity", 2)] {
        for (name, expected) in [("", 0), ("nobody", 0), ("alice", own), ("Alice", 0)] {
            stranger.batch_execute(&format!("SET concierge.\"user\" = '{name}'")).await.unwrap();
            assert_eq!(count(table).await, expected, "{table} as {name:?}");
        }
        // Without any name at all, as on a new connection.
        stranger.batch_execute("RESET concierge.\"user\"").await.unwrap();
        assert_eq!(count(table).await, 0, "{table}");
    }
    stranger.batch_execute("SET concierge.\"user\" = 'bob'").await.unwrap();
    let theirs =
        "UPDATE concierge.memories SET user_id = (SELECT id FROM concierge.users WHERE name = 'alice')";
    let error = stranger.batch_execute(theirs).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("row-level security"), "{error}");
    stranger.batch_execute("DELETE FROM concierge.memories").await.unwrap();
    assert_eq!((all(&store, &alice).await.len(), all(&store, &bob).await.len()), (1, 0));
}

/// A table that a later schema adds must not be forgotten.
#[tokio::test]
async fn every_table_with_words_has_its_wall() {
    let Some(database) = TestDatabase::empty() else { return };
    drop(database.ready().await);
    let open =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'concierge'::regnamespace AND relkind = 'r'
                AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY relname";
    assert_eq!(column(&database.url, open), ["embedders", "embedding", "users", "version"]);
}

#[tokio::test]
async fn no_connection_remembers_whom_it_served() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    store.append(&alice, batch(&["x"]), NOW).await.unwrap();
    all(&store, &alice).await;
    store.append(&alice, Batch { memories: vec![text("x\0")], idempotency_key: None }, NOW).await.unwrap();
    for _ in 0..4 {
        let mut session = store.pool.session().await.unwrap();
        let named = session.query("SELECT current_setting('concierge.user', true)", &[]).await.unwrap();
        assert!(named[0].get::<_, Option<&str>>(0).is_none_or(str::is_empty));
        session.release();
    }
}
