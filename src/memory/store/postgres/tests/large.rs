//! Users too large for an index in memory: what is selected for them, and that it is filled beside the traffic.

use std::time::Duration;

use super::*;

fn numbered(n: usize) -> NewMemory {
    let words = match n {
        7 => "my violin teacher is called Ottoline".to_owned(),
        n => format!("weather report {n}"),
    };
    NewMemory { session: Some("s".into()), ..text(&words) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_is_found_by_its_words_with_what_was_said_around_it() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice, bob) = (database.ready().await, user("alice"), user("bob"));
    for owner in [&alice, &bob] {
        let memories = (0..1800).map(numbered).collect();
        store.append(owner, Batch { memories, idempotency_key: None }, NOW).await.unwrap();
    }
    let found = async || {
        let found = store.candidates(&alice, preselect::query("the name of my violin teacher")).await;
        found.unwrap().memories
    };
    // Not filled yet: the newest rows alone, and nobody else's.
    let first = found().await;
    assert_eq!(first.len(), 1000);
    assert_eq!(
        (first[0].text.as_str(), first[999].text.as_str()),
        ("weather report 800", "weather report 1799")
    );
    let mut left = 400;
    let all = loop {
        let all = found().await;
        if all.len() > 1000 || left == 0 {
            break all;
        }
        left -= 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let old: Vec<&str> =
        all.iter().take_while(|row| row.text != "weather report 800").map(|row| row.text.as_str()).collect();
    let at = old.iter().position(|text| text.contains("Ottoline")).unwrap();
    assert_eq!(
        old[at - 2..at + 3].join("|"),
        "weather report 5|weather report 6|my violin teacher is called Ottoline|weather report 8|weather report 9"
    );
    assert!(all.is_sorted_by_key(|row| row.seq));
    store.forget(&alice, Forget::ALL, NOW).await.unwrap();
    assert!(found().await.is_empty());
}

#[tokio::test]
async fn who_has_too_much_is_told_so_until_it_is_forgotten() {
    let Some(database) = TestDatabase::empty() else { return };
    let (store, alice) = (database.ready().await, user("alice"));
    let first = store.append(&alice, batch(&["a"]), NOW).await.unwrap();
    let known = Some(IndexVersion { epoch: first.epoch, seq: first.memories[0].seq });
    assert_eq!(store.news(&alice, known).await.unwrap(), Changes::Same);
    database.run("UPDATE concierge.users SET bytes = bytes + 40000000");
    assert_eq!(store.news(&alice, known).await.unwrap(), Changes::TooLarge { epoch: 1 });
}
