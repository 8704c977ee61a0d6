//! M3: the disk under the memory is full, or one write fails. Chats continue. Acknowledged writes survive, also
//! `kill -9`, and refused ones leave nothing half done. All of it recovers without a restart.

use std::{collections::BTreeSet, fs, io::Write, path::Path, time::Duration};

use concierge_testkit::{Client, ConfigFile, FakeProvider, Gateway, Reply, link, preload, store, wait};
use serde_json::{Value, json};

use super::setup::launch;

const FACT: &str = "My violin teacher is called Ottoline and lives in Bergen";
const LONG: Duration = Duration::from_secs(30);

/// Fails one write to the store: the one whose number is in a file; 0 is none.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int of_the_store(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "concierge.db") && !strstr(path, "-shm");
}

static int fails(int fd) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    long left = 0;
    if (!of_the_store(fd)) return 0;
    pthread_mutex_lock(&one);
    FILE *file = fopen(getenv("FAILING_WRITE"), "r+");
    if (file) {
        if (fscanf(file, "%ld", &left) == 1 && left > 0) {
            rewind(file);
            fprintf(file, "%-20ld", left - 1);
        }
        fclose(file);
    }
    pthread_mutex_unlock(&one);
    if (left == 1) errno = EIO;
    return left == 1;
}

#define OR_FAIL(type, name, parameters, arguments)                            \
    type name parameters {                                                    \
        static type (*real) parameters;                                       \
        if (!real) real = (type (*) parameters)dlsym(RTLD_NEXT, #name);       \
        return fails(fd) ? -1 : real arguments;                               \
    }
OR_FAIL(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
OR_FAIL(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
OR_FAIL(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
OR_FAIL(int, fsync, (int fd), (fd))
OR_FAIL(int, fdatasync, (int fd), (fd))
OR_FAIL(int, ftruncate, (int fd, off_t to), (fd, to))
OR_FAIL(int, ftruncate64, (int fd, off64_t to), (fd, to))
"#;

fn chat(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

fn of(gw: &Gateway, user: &str) -> Client {
    gw.client().header("x-user-id", user)
}

/// Memories that fill pages, in one transaction.
async fn add(client: &Client, name: &str) -> Reply {
    let text = |n| json!({"text": format!("{name} {n} {}", "and so on ".repeat(40))});
    client.post("/v1/memories", &json!({"memories": (0..5).map(text).collect::<Vec<_>>()})).await
}

fn assert_refused(reply: &Reply) {
    assert_eq!((reply.code(), reply.error_code().as_str()), (503, "store_unavailable"), "{reply:?}");
}

/// The names of the stored items; panics if a batch is stored in part, or twice.
async fn kept(client: &Client) -> BTreeSet<String> {
    let lines = client.clone().header("accept", "application/x-ndjson").get("/v1/memories").await;
    let lines = String::from_utf8(lines.body.to_vec()).unwrap();
    let mut names: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .filter_map(|text| Some(text.split_once(" and so on")?.0.to_owned()))
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "something is there twice");
    let batches: BTreeSet<String> =
        names.iter().map(|name| name.rsplit_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(batches.len() * 5, all, "a batch is there in part");
    batches
}

fn memory_at(path: &Path, a: &FakeProvider) -> ConfigFile {
    let path = format!("{:?}", path.join("concierge.db"));
    ConfigFile::single(a).set("memory", "recall_budget", "\"5s\"").set("memory", "path", &path)
}

/// Fills the disk; removing the file frees it.
fn fill(path: &Path) {
    let mut filler = fs::File::create(path).unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
}

#[test]
fn on_a_full_disk_chats_go_on_and_writes_come_back_without_a_restart() {
    if store::is_postgres() {
        return; // Only for files of the gateway itself.
    }
    link::alone(
        "gateway::disk::on_a_full_disk_chats_go_on_and_writes_come_back_without_a_restart",
        || async {
            let (disk, a) = (tempfile::TempDir::new().unwrap(), FakeProvider::start().await);
            link::small_disk(disk.path(), 4 << 20);
            let gw = launch().start(memory_at(disk.path(), &a).toml()).await;
            let ann = of(&gw, "ann");
            assert_eq!(ann.post("/v1/memories", &json!({"text": FACT})).await.code(), 201);
            fill(&disk.path().join("filler"));
            // What fits into the space already allocated for the log may still be stored.
            let mut acknowledged = BTreeSet::new();
            let refused = loop {
                let name = format!("early {}", acknowledged.len());
                let reply = add(&ann, &name).await;
                if reply.code() != 201 {
                    break reply;
                }
                assert!(acknowledged.insert(name) && acknowledged.len() < 10_000, "the disk is never full");
            };
            assert_refused(&refused);
            for n in 0..5 {
                assert_refused(&add(&ann, &format!("lost {n}")).await);
                let reply = ann.chat(&chat(&format!("Who is my violin teacher, {n}?"))).await;
                assert_eq!(reply.code(), 200, "{reply:?}");
                assert!(reply.header("x-concierge-memory").starts_with("items="), "{reply:?}");
            }
            fs::remove_file(disk.path().join("filler")).unwrap();
            wait::eventually("a write", LONG, || async {
                (add(&ann, "healed").await.code() == 201).then_some(())
            })
            .await;
            acknowledged.insert("healed".to_owned());
            assert_eq!(kept(&ann).await, acknowledged);
        },
    );
}

/// A batch whose disk write fails is acknowledged only if that write was not needed yet; it is stored whole or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn whichever_write_fails_chats_go_on_and_nothing_is_half_done() {
    if store::is_postgres() {
        return; // Only for files of the gateway itself.
    }
    let (dir, a) = (tempfile::TempDir::new().unwrap(), FakeProvider::start().await);
    let number = dir.path().join("number");
    fs::write(&number, "0").unwrap();
    let shim = preload::library(dir.path(), "disk", SHIM);
    let failing = launch().env("LD_PRELOAD", shim.to_str().unwrap());
    let failing = failing.env("FAILING_WRITE", number.to_str().unwrap());
    let config = memory_at(dir.path(), &a);
    let gw = failing.start(config.toml()).await;
    let ann = of(&gw, "ann");
    let (mut acknowledged, mut tried, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
    for nth in 1..=200 {
        fs::write(&number, nth.to_string()).unwrap();
        for batch in 0.. {
            let name = format!("{nth} {batch}");
            let reply = add(&ann, &name).await;
            tried.insert(name.clone());
            if reply.code() == 201 {
                acknowledged.insert(name);
            } else {
                assert_refused(&reply);
                refused += 1;
            }
            assert!(batch < 1000, "write {nth} never came");
            if fs::read_to_string(&number).unwrap().trim() == "0" {
                break;
            }
        }
        let reply = ann.chat(&chat("Who is my violin teacher?")).await;
        assert_eq!(reply.code(), 200, "{reply:?}");
    }
    // The others hit background work, or memories of a chat.
    assert!(refused > 50, "{refused} of 200 failing writes were noticed");
    wait::eventually("a write", LONG, || async { (add(&ann, "healed").await.code() == 201).then_some(()) })
        .await;
    let all_there = |kept: &BTreeSet<String>| {
        assert_eq!(acknowledged.difference(kept).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(kept.iter().all(|name| name == "healed" || tried.contains(name)));
    };
    all_there(&kept(&ann).await);
    gw.signal("KILL");
    drop(gw);
    let file = rusqlite::Connection::open(dir.path().join("concierge.db")).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    drop(file);
    let gw = launch().start(config.toml()).await;
    all_there(&kept(&of(&gw, "ann")).await);
}
