//! `kill -9` in the middle of many writes: what was acknowledged is there, whole and once.
//!
//! The process that is killed is this test binary, asked for [`victim`] alone.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::*;

/// Where the victim finds its store.
const PATH: &str = "CONCIERGE_TEST_STORE";

/// Marks a line of the victim.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Kills in one test.
const ROUNDS: usize = 8;

#[tokio::test]
async fn no_acknowledged_memory_is_lost() {
    let (database, alice) = (TestFile::new(), user("alice"));
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        acknowledged.extend(kill_after(&database, 40 * (round + 1)));
        let store = database.open();
        let rows = all(&store, &alice).await;
        let ids: BTreeSet<String> = rows.iter().map(|memory| memory.id.clone()).collect();
        assert_eq!(ids.len(), rows.len(), "a name given twice");
        assert_eq!(acknowledged.difference(&ids).count(), 0, "round {round}");
        assert_eq!(rows.len() % 2, 0, "half a batch");
        let listed = store.counts(&alice).await.unwrap().memories;
        assert_eq!(usize::try_from(listed).unwrap(), rows.len());
        drop(store);
        let verdict: String =
            database.stranger().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
}

/// Lets the victim write until it has acknowledged `count` memories, and kills it; returns all that it did.
fn kill_after(database: &TestFile, count: usize) -> Vec<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "memory::store::sqlite::tests::killed::victim"])
        .env(PATH, database.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut ids = Vec::new();
    // To the end of the pipe: also what was acknowledged between the decision and the kill.
    for line in lines.map_while(Result::ok) {
        // The test harness may have begun the line.
        ids.extend(line.split_once(ACKNOWLEDGED).map(|(_, id)| id.to_owned()));
        if ids.len() == count {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    assert!(ids.len() >= count, "it has ended by itself");
    // The last line may be torn.
    ids.retain(|id| id.len() == 26);
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes until it is killed"]
async fn victim() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let (store, alice) = (Arc::new(SqliteStore::open(Path::new(&path)).unwrap()), user("alice"));
    let writers = (0..8).map(|_| {
        let (store, alice) = (store.clone(), alice.clone());
        task(async move {
            loop {
                let words = ["one", "two"].map(|word| word.repeat(300));
                let batch = batch(&[&words[0], &words[1]]);
                for memory in store.append(&alice, batch, NOW).await.unwrap().memories {
                    // At once and whole: what is printed is what a client has read.
                    let line = format!("{ACKNOWLEDGED}{}\n", memory.id);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
        })
    });
    futures_util::future::join_all(writers).await;
}
