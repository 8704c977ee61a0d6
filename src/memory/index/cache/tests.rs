//! Indexes against a real store: what they know, and when they give way.

use super::*;
use crate::memory::store::{Batch, Forget, NewMemory, sqlite::SqliteStore};

const NOW: UnixMillis = UnixMillis(1_780_000_000_000);

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("m.db")).unwrap()
}

async fn say(store: &SqliteStore, user: &UserId, text: &str) -> (u64, Vec<Row>) {
    let memory = NewMemory { text: text.into(), role: "user".into(), ..NewMemory::default() };
    let batch = Batch { memories: vec![memory], idempotency_key: None };
    let appended = store.append(user, batch, NOW).await.unwrap();
    (appended.epoch, appended.memories)
}

#[tokio::test]
async fn a_write_is_applied_once_whether_the_load_saw_it_or_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let (store, indexes, ann) = (open(&folder), IndexCache::new(None, false), user("ann"));
    let slot = indexes.slot(&ann);
    let (epoch, rows) = say(&store, &ann, "one").await;
    assert_eq!(
        indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap().index.len(),
        1
    );
    indexes.apply(&ann, &slot, epoch, IndexChange::Added(rows)).await.unwrap();
    assert_eq!(
        indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap().index.len(),
        1
    );
    let (epoch, rows) = say(&store, &ann, "two").await;
    indexes.apply(&ann, &slot, epoch, IndexChange::Added(rows.clone())).await.unwrap();
    let reading = indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap();
    assert_eq!((reading.index.len(), reading.epoch), (2, epoch));
    assert_eq!(reading.row(rows[0].seq.unsigned_abs()), Some(rows[0].clone()));
}

#[tokio::test]
async fn an_epoch_that_was_missed_makes_it_read_anew() {
    let folder = tempfile::TempDir::new().unwrap();
    let (store, indexes, ann) = (open(&folder), IndexCache::new(None, false), user("ann"));
    let slot = indexes.slot(&ann);
    drop(indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap());
    say(&store, &ann, "missed").await;
    let (epoch, rows) = say(&store, &ann, "seen").await;
    indexes.apply(&ann, &slot, epoch, IndexChange::Added(rows)).await.unwrap();
    assert_eq!(slot.bytes(), None);
    assert_eq!(
        indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap().index.len(),
        2
    );
}

#[tokio::test]
async fn what_is_forgotten_is_in_no_index() {
    let folder = tempfile::TempDir::new().unwrap();
    let (store, indexes, ann) = (open(&folder), IndexCache::new(None, false), user("ann"));
    let slot = indexes.slot(&ann);
    say(&store, &ann, "one").await;
    drop(indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap());
    let gone = store.forget(&ann, Forget::ALL, NOW).await.unwrap();
    indexes.apply(&ann, &slot, gone.epoch, IndexChange::Removed(gone.seqs)).await.unwrap();
    let reading = indexes.read(&store, &ann, &slot, StoreVersion::default()).await.unwrap().unwrap();
    assert!(reading.index.is_empty() && reading.rows.is_empty());
    assert!(slot.bytes().is_some(), "it was changed, not thrown away");
}

#[tokio::test]
async fn the_one_who_was_away_the_longest_goes_and_never_one_who_is_held() {
    let folder = tempfile::TempDir::new().unwrap();
    let (store, indexes) = (open(&folder), IndexCache::bounded(1));
    let (ann, bob, cid) = (user("ann"), user("bob"), user("cid"));
    let held = indexes.slot(&ann);
    drop(indexes.read(&store, &ann, &held, StoreVersion::default()).await.unwrap().unwrap());
    for other in [&bob, &cid] {
        let slot = indexes.slot(other);
        drop(indexes.read(&store, other, &slot, StoreVersion::default()).await.unwrap().unwrap());
    }
    assert!(indexes.peek(&ann).is_some_and(|slot| slot.bytes().is_some()));
    assert!(indexes.peek(&bob).is_none());
    assert!(indexes.peek(&cid).is_some());
}
