//! The fake provider: answers by the name of the model, as fast as it can.
//!
//! It parses no more than it needs. Every event of a stream is a chunk of HTTP of its own, as real providers send them.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    now_ns,
    wire::{self, STREAM_HEAD, Shape},
};

/// Between the chunks of [`Shape::Paced`], and before the first.
const PACE: Duration = Duration::from_millis(5);
/// … of [`Shape::Slow`].
const SLOW: Duration = Duration::from_secs(1);

/// Serves until the process ends.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A gateway that closes its connection is no error here.
        connections.spawn(async move { drop(connection(stream).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(4096);
    let plain = wire::answer();
    loop {
        let Some((head, end)) = request(&mut stream, &mut buf).await? else { return Ok(()) };
        let shape = Shape::asked(&buf[head..end]);
        match shape {
            Some(Shape::Plain) => stream.write_all(&plain).await?,
            Some(shape @ (Shape::Paced | Shape::Slow)) => paced(&mut stream, shape).await?,
            Some(Shape::Burst) => stream.write_all(&burst()).await?,
            Some(Shape::Broken | Shape::Failover) => {
                stream
                    .write_all(&wire::json(500, r#"{"error":{"message":"broken","type":"server_error"}}"#))
                    .await?;
            }
            // A health check.
            None => stream.write_all(&wire::json(200, r#"{"object":"list","data":[]}"#)).await?,
        }
        buf.drain(..end);
    }
}

/// Where the next request's head and body end in `buf`; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> io::Result<Option<(usize, usize)>> {
    loop {
        if let Some(head) = wire::head_end(buf)
            && let Some(end) = body_end(buf, head)
        {
            return Ok(Some((head, end)));
        }
        if stream.read_buf(buf).await? == 0 {
            return Ok(None);
        }
    }
}

/// The end of the body, if it is there.
fn body_end(buf: &[u8], head: usize) -> Option<usize> {
    if wire::header(&buf[..head], "transfer-encoding").is_some() {
        return wire::find(&buf[head..], b"0\r\n\r\n").map(|at| head + at + 5);
    }
    let end = head + wire::content_length(&buf[..head]).unwrap_or(0);
    (buf.len() >= end).then_some(end)
}

async fn paced(stream: &mut TcpStream, shape: Shape) -> io::Result<()> {
    let gap = if shape == Shape::Slow { SLOW } else { PACE };
    let mut next = Instant::now() + gap;
    sleep_until(next).await;
    let first = [STREAM_HEAD, &wire::event(now_ns())].concat();
    stream.write_all(&first).await?;
    for _ in 1..shape.chunks() {
        next += gap;
        sleep_until(next).await;
        stream.write_all(&wire::event(now_ns())).await?;
    }
    stream.write_all(&wire::farewell()).await
}

fn burst() -> Vec<u8> {
    let mut bytes = STREAM_HEAD.to_vec();
    let event = wire::event(now_ns());
    (0..Shape::Burst.chunks()).for_each(|_| bytes.extend_from_slice(&event));
    bytes.extend(wire::farewell());
    bytes
}
