//! C4: the wall clock jumps by an hour, both ways. Limits and queues do not depend on it.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use concierge_testkit::{Client, ConfigFile, FakeProvider, Gateway, Reply, ms, openai::ask, preload};
use tokio::time::sleep;

use super::setup::launch;

/// Adds the seconds in a file to the time of day. Every other clock is the kernel's.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, id, now);
    long seconds = 0;
    FILE *file = id == CLOCK_REALTIME ? fopen(getenv("CLOCK_OFFSET"), "r") : 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds;
        fclose(file);
    }
    return done;
}
"#;

fn jump(dir: &Path, seconds: i64) {
    fs::write(dir.join("offset.new"), seconds.to_string()).unwrap();
    fs::rename(dir.join("offset.new"), dir.join("offset")).unwrap();
}

async fn start(dir: &Path, provider: &FakeProvider) -> Gateway {
    let config = ConfigFile::single(provider).set("limits", "requests_per_minute", "20");
    let launch = launch().env("LD_PRELOAD", preload::library(dir, "clock", SHIM).to_str().unwrap());
    launch.env("CLOCK_OFFSET", dir.join("offset").to_str().unwrap()).start(config.toml()).await
}

/// Sends `n` requests; returns how many were admitted, and the last answer.
async fn spend(client: &Client, n: usize) -> (usize, Reply) {
    let mut good = 0;
    for _ in 1..n {
        good += usize::from(client.chat(&ask("m")).await.code() == 200);
    }
    let last = client.chat(&ask("m")).await;
    (good + usize::from(last.code() == 200), last)
}

/// The difference of the gateway's time of day to ours.
fn ahead(reply: &Reply) -> i64 {
    let theirs = httpdate::parse_http_date(reply.header("date")).unwrap();
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    seconds(theirs) - seconds(SystemTime::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_the_clock_neither_opens_nor_locks() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clock");
    fs::create_dir_all(&dir).unwrap();
    jump(&dir, 0);
    let provider = FakeProvider::start().await;
    let gw = start(&dir, &provider).await;
    let user = |name: &str| gw.client().header("x-user-id", name);
    let (good, _) = spend(&user("a"), 20).await;
    assert_eq!(good, 20);
    for (seconds, other) in [(3600, "b"), (-3600, "c"), (0, "d")] {
        jump(&dir, seconds);
        let (good, last) = spend(&user("a"), 10).await;
        assert!(good <= 2, "a jump by {seconds} s opened it for {good}");
        let wait: u64 = last.header("retry-after").parse().unwrap_or(0);
        assert!(wait <= 3, "{last:?}");
        assert_eq!(spend(&user(other), 20).await.0, 20, "a jump by {seconds} s locked somebody out");
        if seconds > 0 {
            sleep(ms(1100)).await;
            let told = ahead(&gw.client().get("/livez").await);
            assert!((3590..=3610).contains(&told), "the shim works: {told}");
        }
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(user("a").chat(&ask("m")).await.code(), 200, "time goes on as ever");
}
