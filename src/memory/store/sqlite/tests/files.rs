//! Files that are damaged, newer, foreign or lost: refused in a sentence, and left as they are.

use super::*;

/// A closed store with some rows in it.
async fn filled() -> TestFile {
    let database = TestFile::new();
    let store = database.open();
    for n in 0..50 {
        store.append(&user("alice"), batch(&[&format!("{n} {}", "word ".repeat(500))]), NOW).await.unwrap();
    }
    store.close().await;
    drop(store);
    database
}

/// Opens it, and sees that nothing has changed.
fn refused(database: &TestFile) -> StoreError {
    let files = || {
        ["memories.db", "memories.db-wal"]
            .map(|name| fs::read(database.folder.path().join(name)).unwrap_or_default())
    };
    let before = files();
    let error = opened_error(&database.path());
    assert!(error.is_outage() && !error.to_string().is_empty());
    assert!(files() == before, "{error}");
    error
}

fn damage(database: &TestFile, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(database.path()).unwrap();
    change(&mut bytes);
    fs::write(database.path(), bytes).unwrap();
}

#[tokio::test]
async fn damaged_files_are_refused() {
    let damages: [fn(&mut Vec<u8>); 6] = [
        |file| file[..16].fill(b'x'),
        |file| file.truncate(file.len() / 2),
        |file| file.truncate(file.len() - 1000),
        |file| file.truncate(50),
        |file| {
            // Every page but the first two.
            file[8192..].fill(0xAA);
        },
        |file| *file = b"These are my shopping notes, and I would like to keep them.".to_vec(),
    ];
    assert!(fs::metadata(filled().await.path()).unwrap().len() > 100_000);
    for (n, change) in damages.into_iter().enumerate() {
        let database = filled().await;
        damage(&database, change);
        let error = refused(&database);
        assert!(matches!(error, StoreError::Corrupt(_)), "{n}: {error}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_also_with_a_log_that_is_not_yet_moved() {
    let database = filled().await;
    let newer = database.stranger();
    newer.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99").unwrap();
    newer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    drop(newer);
    assert!(fs::metadata(database.folder.path().join("memories.db-wal")).unwrap().len() > 0);
    let files = || {
        [
            fs::read(database.path()).unwrap(),
            fs::read(database.folder.path().join("memories.db-wal")).unwrap(),
        ]
    };
    let before = files();
    assert_eq!(opened_error(&database.path()), StoreError::Newer { found: 99, known: 2 });
    assert!(files() == before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let database = TestFile::new();
    database.stranger().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    assert_eq!(refused(&database), StoreError::Foreign);
}

#[tokio::test]
async fn a_log_without_its_database_is_kept() {
    for emptied in [true, false] {
        let database = filled().await;
        fs::write(database.folder.path().join("memories.db-wal"), b"acknowledged words").unwrap();
        if emptied {
            fs::write(database.path(), b"").unwrap()
        } else {
            fs::remove_file(database.path()).unwrap()
        }
        assert!(matches!(refused(&database), StoreError::Corrupt(_)));
        assert_eq!(database.path().exists(), emptied);
    }
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_a_sentence() {
    let database = TestFile::new();
    let missing = database.folder.path().join("no/such/folder/memories.db");
    assert!(matches!(opened_error(&missing), StoreError::Failed(_)));
    assert!(matches!(opened_error(database.folder.path()), StoreError::Failed(_)));
}

#[tokio::test]
async fn an_empty_file_and_a_strange_name_are_a_new_store() {
    let database = TestFile::new();
    fs::write(database.path(), b"").unwrap();
    drop(database.open());
    let strange = database.folder.path().join("file:a?mode=memory&x=%20 '🦀.db");
    let store = SqliteStore::open(&strange).unwrap();
    store.append(&user("alice"), batch(&["x"]), NOW).await.unwrap();
    drop(store);
    assert!(strange.exists());
}

#[tokio::test]
async fn a_large_file_is_looked_over_beside_the_work_and_damage_ends_the_store() {
    let database = filled().await;
    let sound = SqliteStore::start(&database.path(), 4096).unwrap();
    assert_eq!(all(&sound, &user("alice")).await.len(), 50);
    sound.close().await;
    sound.check.passed().unwrap();
    // The last leaf of the texts: nothing that a start has to read.
    damage(&database, |file| {
        let end = file.len();
        file[end - 4096..].fill(0xAA);
    });
    assert!(matches!(opened_error(&database.path()), StoreError::Corrupt(_)));
    let damaged = SqliteStore::start(&database.path(), 4096).unwrap();
    while damaged.check.passed().is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(matches!(damaged.check().await, Err(StoreError::Corrupt(_))));
    let refused = damaged.append(&user("bob"), batch(&["x"]), NOW).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_to_the_newest() {
    let database = TestFile::new();
    let first = database.stranger();
    first.execute_batch(include_str!("../schema/1.sql")).unwrap();
    first
        .execute_batch(
            "PRAGMA application_id = 0x436F6E63; PRAGMA user_version = 1;
             INSERT INTO users VALUES (7, 'alice', 3);
             INSERT INTO memories VALUES (5, 7, 'x', NULL, NULL, 'user', NULL, 'old words', 1, NULL, 2);
             INSERT INTO contexts VALUES (7, '{\"k\":1}', 99);",
        )
        .unwrap();
    drop(first);
    let (store, alice) = (database.open(), user("alice"));
    assert_eq!(texts(&all(&store, &alice).await), ["old words"]);
    let context = store.context(&alice).await.unwrap();
    assert_eq!((context.json.as_str(), context.updated_at), (r#"{"k":1}"#, Some(UnixMillis(99))));
    assert_eq!(store.epoch(&alice).await.unwrap(), 3);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let database = TestFile::new();
    let store = database.open();
    store.append(&user("alice"), batch(&["x"]), NOW).await.unwrap();
    for entry in fs::read_dir(database.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_copy_taken_as_after_a_power_loss_has_every_acknowledged_row() {
    let database = TestFile::new();
    let (store, alice) = (database.open(), user("alice"));
    for n in 0..200 {
        store.append(&alice, batch(&[&n.to_string()]), NOW).await.unwrap();
        if n % 20 == 0 {
            // The files as they are on the disk, without the shared memory and without a farewell.
            let copy = TestFile::new();
            for suffix in ["", "-wal"] {
                let name = format!("memories.db{suffix}");
                fs::copy(database.folder.path().join(&name), copy.folder.path().join(&name)).unwrap();
            }
            assert_eq!(all(&copy.open(), &alice).await.len(), n + 1);
        }
    }
}
