//! P8: no file descriptors left. Running streams continue, nothing spins, and it recovers as soon as some are free.

use std::{fs, process::Command};

use concierge_testkit::{
    Gateway, Script, ms,
    openai::{ask_stream, chat_chunk},
    within,
};
use serde_json::json;
use tokio::{net::TcpStream, time::sleep};

use super::setup::Stage;

/// Sets the limit of open files of `gw`.
fn allow(gw: &Gateway, files: usize) {
    let limit = format!("--nofile={files}:");
    let status = Command::new("prlimit").args(["--pid", &gw.pid().to_string(), &limit]).status();
    assert!(status.expect("util-linux is there").success());
}

/// CPU time so far, in ticks of 10 ms.
fn ticks(gw: &Gateway) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", gw.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_it_waits_and_recovers() {
    let stage = Stage::single(|c| c).await;
    let word = |n: usize| chat_chunk("m", json!({"content": format!("word-{n} ")}), None);
    stage.a.next(Script::sse((0..200).map(word)).every(ms(50)));
    let mut stream = stage.client.open_stream(&ask_stream("m")).await;
    stream.until("word-3 ").await;
    allow(&stage.gw, stage.gw.open_files() + 5);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(stage.gw.addr()).await.unwrap());
    }
    sleep(ms(500)).await;
    let before = ticks(&stage.gw);
    sleep(ms(2000)).await;
    let used = ticks(&stage.gw) - before;
    // Ten percent of a core, including the stream that runs meanwhile.
    assert!(used <= 30, "{used} ticks in two seconds");
    within("the stream goes on", ms(3000), stream.until("word-60 ")).await;
    let complaints = stage.gw.logs().matches("cannot accept").count();
    assert!((1..10).contains(&complaints), "{complaints}: {}", stage.gw.logs());
    // A new request is behind all of them in the kernel's queue: five at a time would be forty pauses.
    drop(crowd);
    let reply = within("it recovers", ms(1500), stage.client.get("/livez")).await;
    assert_eq!(reply.code(), 200);
    assert_eq!(stage.chat().await.code(), 200);
}
