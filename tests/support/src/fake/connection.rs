//! One connection of the fake provider: reads requests, plays scripts, and watches the peer meanwhile.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_rustls::server::TlsStream;

use super::{
    log::Running,
    request::{Request, take_body, take_head},
    state::Shared,
};
use crate::script::{End, Step};

/// A socket that can be reset below its encryption.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves requests until the peer leaves, a script ends the connection, or the provider is killed.
pub(super) async fn serve<W: Wire>(mut wire: W, number: usize, shared: Arc<Shared>) {
    let _ = wire.tcp().set_nodelay(true);
    let mut life = shared.life();
    let end = tokio::select! {
        end = conversation(&mut wire, number, &shared) => end,
        _ = life.killed.changed() => End::Reset,
    };
    if end == End::Reset {
        let _ = wire.tcp().set_zero_linger();
    }
    // A plain drop: for TLS that is a close without `close_notify`, which is a truncation.
    drop(wire);
}

async fn conversation<W: Wire>(wire: &mut W, number: usize, shared: &Shared) -> End {
    let mut buf = BytesMut::new();
    loop {
        let Ok(mut head) = read_until(wire, &mut buf, take_head).await else { return End::Fin };
        let running = shared.begin(number, &head);
        let body = read_until(wire, &mut buf, |buf| take_body(&head, buf)).await;
        let Ok(body) = body else {
            running.peer_closed(Instant::now());
            return End::Fin;
        };
        head.body = body;
        running.whole(&head);
        let end = answer(wire, &mut buf, &head, shared, &running).await;
        if end != End::Clean {
            return end;
        }
    }
}

/// Plays the script; meanwhile watches whether the peer goes away.
async fn answer<W: Wire>(
    wire: &mut W,
    buf: &mut BytesMut,
    request: &Request,
    shared: &Shared,
    running: &Running,
) -> End {
    let steps = shared.script_for(request).steps();
    let (mut reader, mut writer) = tokio::io::split(wire);
    let end = tokio::select! {
        end = play(&mut writer, steps) => end,
        () = closed(&mut reader, buf) => { running.peer_closed(Instant::now()); return End::Fin }
    };
    match end {
        Ok(End::Hang) => {
            closed(&mut reader, buf).await;
            running.peer_closed(Instant::now());
            End::Fin
        }
        Ok(end) => {
            running.answered(Instant::now());
            end
        }
        Err(_) => {
            running.peer_closed(Instant::now());
            End::Fin
        }
    }
}

async fn play(writer: &mut (impl AsyncWrite + Unpin), steps: Vec<Step>) -> io::Result<End> {
    for step in steps {
        match step {
            Step::Write(bytes) => {
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            }
            Step::Pause(pause) => sleep(pause).await,
            Step::Repeat(bytes, pause) => loop {
                sleep(pause).await;
                writer.write_all(&bytes).await?;
                writer.flush().await?;
            },
            Step::Over(End::Reset) => {
                // The written bytes reach the peer's queue before the reset discards ours.
                sleep(Duration::from_millis(1)).await;
                return Ok(End::Reset);
            }
            Step::Over(end) => return Ok(end),
        }
    }
    Ok(End::Clean)
}

/// Resolves when the peer has closed or reset. Bytes that arrive are kept for the next request.
async fn closed(reader: &mut (impl AsyncRead + Unpin), buf: &mut BytesMut) {
    while matches!(reader.read_buf(buf).await, Ok(n) if n > 0) {}
}

/// Reads until `take` returns something; an error if the peer leaves before.
async fn read_until<T>(
    wire: &mut (impl AsyncRead + Unpin),
    buf: &mut BytesMut,
    mut take: impl FnMut(&mut BytesMut) -> Option<T>,
) -> io::Result<T> {
    loop {
        if let Some(found) = take(buf) {
            return Ok(found);
        }
        if wire.read_buf(buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
