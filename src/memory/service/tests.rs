//! Memory over a real file: what is found, what is cached, and what a slow or locked store does.

use std::{borrow::Cow, time::Duration};

use super::*;
use crate::memory::store::{Forget, UnixMillis};

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

fn settings(folder: &tempfile::TempDir) -> config::MemoryConfig {
    config::MemoryConfig {
        path: folder.path().join("m.db"),
        recall_budget: Duration::from_secs(5),
        ..config::MemoryConfig::default()
    }
}

async fn open(folder: &tempfile::TempDir) -> Arc<MemoryService> {
    MemoryService::open(&settings(folder), None, None, &Tasks::new()).await.unwrap()
}

fn item(text: &str) -> NewItem {
    NewItem { text: text.to_owned(), role: "user".to_owned(), ..NewItem::default() }
}

fn wanted(query: &str) -> SearchQuery<'static> {
    let query: Cow<'static, str> = Cow::Owned(query.to_owned());
    SearchQuery { conversation: vec![query.clone()], query, max_tokens: u32::MAX }
}

async fn texts(memory: &MemoryService, user: &UserId, query: &str) -> Vec<String> {
    let found = memory.search(user, query, 10, None).await.unwrap();
    found.hits.into_iter().map(|hit| hit.memory.text).collect()
}

#[tokio::test]
async fn what_is_written_is_found_by_its_user_alone_and_at_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann, bob) = (open(&folder).await, user("ann"), user("bob"));
    assert!(texts(&memory, &ann, "violin").await.is_empty());
    let kept = memory.add(&ann, vec![item("I play the violin"), item("I hate rain")], None).await.unwrap();
    assert_eq!(texts(&memory, &ann, "violin").await[0], "I play the violin");
    assert!(texts(&memory, &bob, "violin").await.is_empty());
    assert_eq!(memory.get(&bob, &kept[0].id).await.unwrap(), None);
    assert_eq!(memory.recall(&bob, wanted("violin")).await.unwrap().block, None);
}

#[tokio::test]
async fn the_cache_answers_until_the_next_write() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    memory.add(&ann, vec![item("I play the violin")], None).await.unwrap();
    let cached = async || memory.search(&ann, "violin", 10, None).await.unwrap().cached;
    assert_eq!((cached().await, cached().await), (false, true));
    assert_eq!(memory.clear_cache(Some(&user("bob"))).await, 0);
    assert_eq!(memory.clear_cache(Some(&ann)).await, 1);
    assert_eq!((cached().await, cached().await), (false, true));
    let change = ContextChange::Replace(r#"{"city":"Oslo"}"#.to_owned());
    memory.write_context(&ann, change, Condition::Always).await.unwrap();
    assert_eq!((cached().await, cached().await), (false, true));
    memory.forget(&ann, Forget::ALL).await.unwrap();
    assert!(!cached().await && texts(&memory, &ann, "violin").await.is_empty());
    assert!(memory.overview().await.unwrap().cache.0 >= 3);
}

#[tokio::test]
async fn a_conversation_that_goes_on_reads_the_store_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = config::MemoryConfig { include_context: true, ..settings(&folder) };
    let memory = MemoryService::open(&config, None, None, &Tasks::new()).await.unwrap();
    let ann = user("ann");
    let counts = async || {
        let state = memory.state(&ann).await.unwrap();
        (state.recalls, state.store_reads)
    };
    assert_eq!(counts().await, (0, 0));
    for turn in 0..5 {
        memory.add(&ann, vec![item(&format!("violin lesson {turn}"))], None).await.unwrap();
        memory.recall(&ann, wanted("violin")).await.unwrap();
    }
    // The index once, and the context anew for each epoch.
    assert_eq!(counts().await, (5, 6));
    memory.recall(&ann, wanted("violin")).await.unwrap();
    assert_eq!(counts().await, (6, 6));
}

#[tokio::test]
async fn a_block_stays_within_its_budget_frame_and_context_included() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = config::MemoryConfig { include_context: true, ..settings(&folder) };
    let memory = MemoryService::open(&config, None, None, &Tasks::new()).await.unwrap();
    let ann = user("ann");
    let items = (0..50).map(|n| item(&format!("violin lesson number {n} was on a rainy day"))).collect();
    memory.add(&ann, items, None).await.unwrap();
    let change = ContextChange::Replace(r#"{"city":"Oslo"}"#.to_owned());
    memory.write_context(&ann, change, Condition::Always).await.unwrap();
    let mut last = 0;
    for max_tokens in [0, 50, 100, 150, 200, 400] {
        let recalled =
            memory.recall(&ann, SearchQuery { max_tokens, ..wanted("violin lesson") }).await.unwrap();
        assert!(recalled.tokens <= max_tokens, "{recalled:?}");
        assert!(recalled.items >= last);
        last = recalled.items;
    }
    let all = memory.recall(&ann, wanted("violin lesson")).await.unwrap();
    assert!(all.block.unwrap().contains("Oslo") && all.items <= 20 && last > 0);
}

#[tokio::test]
async fn many_who_write_at_once_are_all_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    assert!(texts(&memory, &ann, "violin").await.is_empty());
    let writes = (0..40).map(|n| {
        let (memory, ann) = (memory.clone(), ann.clone());
        async move { memory.add(&ann, vec![item(&format!("violin {n}"))], None).await.map(drop) }
    });
    futures_util::future::try_join_all(writes).await.unwrap();
    assert_eq!(memory.search(&ann, "violin", 100, None).await.unwrap().hits.len(), 40);
    assert!(memory.state(&ann).await.unwrap().index_bytes.is_some(), "no write made it read anew");
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_known_to_the_index() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    assert!(texts(&memory, &ann, "violin").await.is_empty());
    let write = memory.add(&ann, vec![item("I play the violin")], None);
    assert!(timeout(Duration::ZERO, write).await.is_err());
    while memory.state(&ann).await.unwrap().counts.memories == 0 {
        tokio::task::yield_now().await;
    }
    let known = async {
        while texts(&memory, &ann, "violin").await.len() != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), known).await.expect("the index never learns of it");
}

#[tokio::test]
async fn what_is_queued_is_written_before_the_end_and_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    for _ in 0..3 {
        let said = "I play the violin".to_owned();
        memory.enqueue(Exchange { user: ann.clone(), said, answered: None });
    }
    memory.close().await;
    assert_eq!(memory.get(&ann, "x").await, Err(StoreError::Closed));
    let again = open(&folder).await;
    assert_eq!(texts(&again, &ann, "violin").await, ["I play the violin"]);
}

#[tokio::test]
async fn what_was_said_before_is_known_until_something_is_forgotten() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann, bob) = (open(&folder).await, user("ann"), user("bob"));
    let violin = "I play the violin";
    let say = |said: &str| {
        memory.enqueue(Exchange { user: ann.clone(), said: said.to_owned(), answered: None });
    };
    let heard = async |said: &str| {
        while !memory.has_recent_turn(&ann, said) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(!memory.has_recent_turn(&ann, violin));
    say(violin);
    heard(violin).await;
    assert!(!memory.has_recent_turn(&bob, violin) && !memory.has_recent_turn(&ann, "I play the viola"));
    assert_eq!(texts(&memory, &ann, "violin").await, [violin]);
    memory.forget(&ann, Forget::ALL).await.unwrap();
    assert!(!memory.has_recent_turn(&ann, violin), "no trace of it is left here");
    // The store remembers that it was forgotten, and what is written after it is written in turn.
    say(violin);
    say("I sold the violin");
    heard("I sold the violin").await;
    assert!(!memory.has_recent_turn(&ann, violin));
    assert_eq!(texts(&memory, &ann, "violin").await, ["I sold the violin"]);
}

#[tokio::test]
async fn what_is_recalled_at_once_is_what_is_recalled() {
    let folder = tempfile::TempDir::new().unwrap();
    let memory = open(&folder).await;
    let (ann, bob) = (user("ann"), user("bob"));
    let at_once = |user: &UserId| memory.recall_at_once(user, &wanted("Where is my violin?"));
    let in_time = async || memory.recall(&ann, wanted("Where is my violin?")).await.unwrap();
    // The fence is another each time.
    let words = |recalled: &RecallOutcome| {
        let block = recalled.block.clone().unwrap();
        let lines: Vec<_> =
            block.lines().filter(|line| !line.contains("END-") && !line.contains("BEGIN-")).collect();
        (lines.join("\n"), recalled.items, recalled.tokens)
    };
    memory.add(&ann, vec![item("I play the violin"), item("My violin is red")], None).await.unwrap();
    assert_eq!(at_once(&ann), None, "nobody has asked");
    let first = in_time().await;
    let again = at_once(&ann).unwrap();
    assert!(again.cached && again.items == 2);
    assert_eq!(words(&again), words(&first));
    assert_eq!(at_once(&bob), None);
    memory.add(&ann, vec![item("My violin is old")], None).await.unwrap();
    assert_eq!(at_once(&ann), None, "it is older than the last write");
    assert_eq!(in_time().await.items, 3);
    memory.reconfigure(&config::MemoryConfig { include_context: true, ..settings(&folder) });
    assert_eq!(at_once(&ann), None, "the context was not read yet");
    in_time().await;
    let change = ContextChange::Replace(r#"{"city":"Oslo"}"#.to_owned());
    memory.write_context(&ann, change, Condition::Always).await.unwrap();
    assert_eq!(at_once(&ann), None, "so is the context");
    in_time().await;
    assert!(words(&at_once(&ann).unwrap()).0.contains("Oslo"));
    memory.clear_cache(Some(&ann)).await;
    assert_eq!(at_once(&ann), None);
    in_time().await;
    let _changing = memory.engine.indexes.slot(&ann).hang().await;
    assert_eq!(at_once(&ann), None, "an index that changes just now is waited for");
}

#[tokio::test]
async fn a_load_that_hangs_costs_the_budget_and_no_other_user_anything() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = config::MemoryConfig { recall_budget: Duration::from_millis(100), ..settings(&folder) };
    let memory = MemoryService::open(&config, None, None, &Tasks::new()).await.unwrap();
    let (ann, bob) = (user("ann"), user("bob"));
    let hanging = memory.engine.indexes.slot(&ann).hang().await;
    let begun = Instant::now();
    assert_eq!(memory.recall(&ann, wanted("violin")).await, Err(RecallMiss::Timeout));
    assert!(begun.elapsed() >= Duration::from_millis(100) && begun.elapsed() < Duration::from_secs(2));
    assert!(memory.search(&bob, "violin", 1, None).await.is_ok());
    drop(hanging);
    assert!(memory.search(&ann, "violin", 1, None).await.is_ok());
}

#[tokio::test]
async fn a_write_that_hangs_stops_no_recall() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    memory.add(&ann, vec![item("I play the violin")], None).await.unwrap();
    let place = memory.engine.indexes.slot(&ann);
    let _hanging = place.writing.lock().await;
    assert_eq!(memory.recall(&ann, wanted("Where is my violin?")).await.unwrap().items, 1);
}

/// Those of one user wait for each other before they wait for the store.
#[tokio::test]
async fn writes_under_way_are_bounded_and_the_rest_is_refused_at_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann, bob) = (open(&folder).await, user("ann"), user("bob"));
    let place = memory.engine.indexes.slot(&ann);
    let hanging = place.writing.lock().await;
    for _ in 0..WRITES {
        // Nobody waits for them, and they are under way all the same.
        let write = memory.add(&ann, vec![item("I play the violin")], None);
        assert!(timeout(Duration::ZERO, write).await.is_err());
    }
    assert_eq!(memory.add(&bob, vec![item("x")], None).await, Err(StoreError::Busy));
    assert_eq!(memory.forget(&ann, Forget::ALL).await, Err(StoreError::Busy));
    drop(hanging);
    while memory.writes.available_permits() < WRITES {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(memory.add(&bob, vec![item("x")], None).await.unwrap().len(), 1);
    assert_eq!(memory.state(&ann).await.unwrap().counts.memories, WRITES as u64);
}

#[tokio::test]
async fn old_memories_go_and_young_ones_stay() {
    let folder = tempfile::TempDir::new().unwrap();
    let (memory, ann) = (open(&folder).await, user("ann"));
    let old = NewItem { created_at: Some(UnixMillis(1_000)), ..item("an old violin") };
    memory.add(&ann, vec![old, item("a young violin")], None).await.unwrap();
    assert_eq!(texts(&memory, &ann, "violin").await.len(), 2);
    retention::sweep(&memory.engine, UnixMillis(2_000)).await.unwrap();
    assert_eq!(texts(&memory, &ann, "violin").await, ["a young violin"]);
}
