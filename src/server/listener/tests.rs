//! How long a connection of HTTP/2 is kept, on a paused clock.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self as client, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::{io::duplex, task::JoinSet, time::sleep};

use super::*;
use crate::{app::parts::Parts, config, tasks::Tasks};

const CONFIG: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[memory]\nenabled = false\n";

/// A client's side of a new connection; the set ends when the client has seen its end.
async fn connect(tasks: &Tasks) -> (SendRequest<Empty<Bytes>>, JoinSet<()>) {
    let loaded = config::parse("config.toml", CONFIG, &|_| None).unwrap();
    let parts = Parts::new(loaded.config, None, None, None, tasks.clone()).unwrap();
    let server = parts.server(parts.reload_handle());
    let (ours, theirs) = duplex(64 << 10);
    let peer = ([127, 0, 0, 1], 1).into();
    tasks.spawn_until_shutdown(async move { serve(ours, peer, server).await });
    let (sender, connection) = client::handshake(TokioExecutor::new(), TokioIo::new(theirs)).await.unwrap();
    let mut end = JoinSet::new();
    end.spawn(async move { drop(connection.await) });
    (sender, end)
}

/// It answers every ping, as any library does.
#[tokio::test(start_paused = true)]
async fn a_connection_that_never_asks_is_closed() {
    let tasks = Tasks::new();
    let begun = Instant::now();
    let (_sender, mut end) = connect(&tasks).await;
    timeout(2 * IDLE, end.join_next()).await.expect("it is told to end");
    assert!(begun.elapsed() >= IDLE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_keeps_it_and_so_does_every_request() {
    let tasks = Tasks::new();
    let (mut sender, mut end) = connect(&tasks).await;
    let ask = async |sender: &mut SendRequest<_>, path: &str| {
        let request = Request::get(format!("http://127.0.0.1{path}")).body(Empty::new()).unwrap();
        sender.ready().await.unwrap();
        sender.send_request(request).await.unwrap()
    };
    let watched = Instant::now();
    let mut events = ask(&mut sender, "/admin/events").await.into_body();
    while watched.elapsed() < 4 * IDLE {
        events.frame().await.unwrap().unwrap();
    }
    drop(events);
    for _ in 0..4 {
        sleep(IDLE * 9 / 10).await;
        assert_eq!(ask(&mut sender, "/livez").await.status(), 200);
    }
    let last = Instant::now();
    timeout(2 * IDLE, end.join_next()).await.expect("it is told to end");
    assert!(last.elapsed() >= IDLE, "{:?}", last.elapsed());
}
