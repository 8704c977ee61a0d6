//! Contexts: compared and changed in one step.

use super::*;

fn put(json: &str) -> ContextChange {
    ContextChange::Replace(json.into())
}

fn merge(json: &str) -> ContextChange {
    ContextChange::Merge(json.into())
}

pub(crate) async fn a_context_is_replaced_merged_and_kept<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let first = store
        .write_context(&alice, put(r#"{"b": 1.0, "a": {"x": 1}}"#), Condition::Always, NOW)
        .await
        .unwrap();
    assert_eq!(first.epoch, 1);
    let first = first.context;
    assert_eq!(first.json, r#"{"b": 1.0, "a": {"x": 1}}"#);
    let patch = merge(r#"{"a": {"y": "\u0000'%"}, "b": null}"#);
    let second = store.write_context(&alice, patch, Condition::OneOf(vec![first.etag.clone()]), NOW);
    let second = second.await.unwrap();
    assert_eq!(second.epoch, 2);
    let second = second.context;
    assert_eq!(second.json, r#"{"a":{"x":1,"y":"\u0000'%"}}"#);
    let stale = store.write_context(&alice, put("{}"), Condition::OneOf(vec![first.etag]), NOW).await;
    assert_eq!(stale, Err(StoreError::Stale { etag: second.etag.clone() }));
    let wrong = store.write_context(&alice, put("[1]"), Condition::Always, NOW).await;
    assert_eq!(wrong, Err(StoreError::NotAnObject));
    assert_eq!(store.epoch(&alice).await.unwrap(), 2);
    drop(store);
    assert_eq!(database.open().context(&alice).await.unwrap(), second);
}

pub(crate) async fn conditions_are_met_or_nothing_is_written<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (database.open(), user("alice"));
    let first = store.write_context(&alice, put("{}"), Condition::Missing, NOW).await.unwrap().context;
    let stale = Err(StoreError::Stale { etag: first.etag.clone() });
    for unmet in [Condition::Missing, Condition::NotOneOf(vec![first.etag.clone()])] {
        assert_eq!(store.write_context(&alice, put(r#"{"a":1}"#), unmet, NOW).await, stale);
    }
    let other = Condition::NotOneOf(vec!["\"x\"".into()]);
    assert!(store.write_context(&alice, put(r#"{"a":1}"#), other, NOW).await.is_ok());
}

pub(crate) async fn no_update_is_lost<T: TestStore>() {
    let Some(database) = T::empty() else { return };
    let (store, alice) = (Arc::new(database.open()), user("alice"));
    let tasks: Vec<_> = (0..16)
        .map(|writer| {
            let (store, alice) = (store.clone(), alice.clone());
            task(async move {
                for _ in 0..10 {
                    increment(&*store, &alice).await;
                    let own = merge(&format!(r#"{{"w{writer}": 1}}"#));
                    store.write_context(&alice, own, Condition::Always, NOW).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let end: serde_json::Value = serde_json::from_str(&store.context(&alice).await.unwrap().json).unwrap();
    assert_eq!(end["n"], 160);
    assert_eq!(end.as_object().unwrap().len(), 17);
}

/// Reads, adds one, writes if nobody else has written since; until it is done.
async fn increment(store: &impl Store, user: &UserId) {
    loop {
        let seen = store.context(user).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&seen.json).unwrap();
        let next = json["n"].as_i64().unwrap_or(0) + 1;
        let change = merge(&format!(r#"{{"n": {next}}}"#));
        match store.write_context(user, change, Condition::OneOf(vec![seen.etag]), NOW).await {
            Ok(_) => return,
            Err(StoreError::Stale { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
