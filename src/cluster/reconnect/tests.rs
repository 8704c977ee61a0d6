//! The task against a server that stops answering one command and answers the others.

use std::{collections::BTreeSet, io};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    cluster::RedisClient,
    config::{OnError, Redis, Secret},
    tasks::Tasks,
};

/// The commands of Redis that the task uses. Commands in `mute` get no reply.
async fn serve_redis(stream: TcpStream, mute: Arc<Mutex<BTreeSet<&'static str>>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let command = read_command(&mut stream).await?;
        let name = command[0].to_uppercase();
        if mute.lock().contains(name.as_str()) {
            continue;
        }
        let answer = match name.as_str() {
            "HELLO" => "%1\r\n+server\r\n+redis\r\n".to_owned(),
            "INFO" => "$11\r\nrun_id:0123\r\n".to_owned(),
            "EVALSHA" => "*3\r\n:1\r\n:1000\r\n:0\r\n".to_owned(),
            "SUBSCRIBE" => format!(">3\r\n+subscribe\r\n+{}\r\n:1\r\n", command[1]),
            "PUBLISH" => ":0\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn read_command(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut parts = Vec::new();
    for _ in 0..read_number(stream).await? {
        let mut part = vec![0; read_number(stream).await? + 2];
        stream.read_exact(&mut part).await?;
        parts.push(String::from_utf8_lossy(&part).trim_end().to_owned());
    }
    Ok(parts)
}

/// The number after the `*` or the `$` of a line.
async fn read_number(stream: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim_end().get(1..).and_then(|number| number.parse().ok()).ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// A client connected to such a server.
async fn stage(tasks: &Tasks) -> (RedisClient, Arc<Mutex<BTreeSet<&'static str>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let mute = Arc::new(Mutex::new(BTreeSet::new()));
    let (silent, each) = (mute.clone(), tasks.clone());
    tasks.spawn_until_shutdown(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let silent = silent.clone();
            each.spawn_until_shutdown(async move { drop(serve_redis(stream, silent).await) });
        }
    });
    let config = Redis { url: Some(Secret::new(url)), on_error: OnError::Local };
    let redis = RedisClient::open(&config, || unreachable!("no TLS"), tasks).unwrap().unwrap();
    (redis, mute)
}

async fn until(redis: &RedisClient, up: bool) {
    let mut news = redis.watch();
    let seen = timeout(Duration::from_secs(20), news.wait_for(|news| news.up == up)).await;
    assert!(seen.is_ok(), "it never was {}", if up { "up" } else { "away" });
}

#[tokio::test]
async fn a_server_that_answers_no_publish_is_left_within_a_beat() {
    let tasks = Tasks::new();
    let (redis, mute) = stage(&tasks).await;
    until(&redis, true).await;
    redis.publish("news", Bytes::from_static(b"one"));
    sleep(Duration::from_millis(100)).await;
    assert!(redis.is_up());
    mute.lock().insert("PUBLISH");
    redis.publish("news", Bytes::from_static(b"two"));
    until(&redis, false).await;
    mute.lock().clear();
    until(&redis, true).await;
    tasks.shutdown().cancel();
}

#[tokio::test]
async fn a_server_that_answers_no_subscription_is_left_within_a_beat() {
    let tasks = Tasks::new();
    let (redis, mute) = stage(&tasks).await;
    until(&redis, true).await;
    mute.lock().insert("SUBSCRIBE");
    drop(redis.subscribe("news"));
    until(&redis, false).await;
    mute.lock().clear();
    until(&redis, true).await;
    tasks.shutdown().cancel();
}
