//! One HTTP/1.1 connection of a client, from its first request to its last.
//!
//! There is no task and no channel between the socket and the handler: the handler reads the body from the connection
//! itself, and what its response brings is written as it comes ([`response_writer`]). A silent connection, and one whose
//! response is silent, hold no buffer: with thousands of slow streams open that is most of what they cost. A client that
//! closes its half is gone, and its request is dropped at once.

mod connection;
mod request_head;
mod response_writer;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use parking_lot::Mutex;
use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep, sleep, timeout},
};
use tower::{Service, ServiceExt};

pub use self::{
    connection::{BodyError, ConnectionBody},
    request_head::HeadError,
    response_writer::OutgoingBody,
};
use self::{
    connection::{Connection, NextRequest},
    request_head::{RequestHead, ResponseMode},
    response_writer::ResponseWriter,
};
use super::io::{Io, RewindIo};

/// Bytes of a body that nobody wanted and that came all the same; with more of them the connection ends.
const MAX_SKIPPED: usize = 256 * 1024;
/// For a client that is still sending what nobody wants: if the socket were closed at once, the kernel would drop the response, too.
const LINGER: Duration = Duration::from_secs(2);

/// What holds for every connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionOptions {
    /// To the last byte of a head, from the end of the response before.
    pub head_timeout: Duration,
    /// Bytes of a head.
    pub max_head: usize,
    /// The time on the clock of the timers.
    pub now: fn() -> Instant,
    /// The time of day, for `date`.
    pub wall: fn() -> SystemTime,
}

/// Serves `wire` until it ends; `refuse` makes the response to what is no request. A client that speaks HTTP/2 comes back
/// as a wire that nobody has read from.
///
/// # Errors
/// The connection broke, or a response broke off and the client must see it.
pub async fn serve<S, R, B>(
    wire: impl Io + 'static,
    mut service: S,
    refuse: impl Fn(HeadError) -> Response<B>,
    options: ConnectionOptions,
) -> io::Result<Option<RewindIo>>
where
    S: Service<Request<R>, Response = Response<B>, Error: std::error::Error + Send + Sync + 'static>,
    R: From<ConnectionBody>,
    B: OutgoingBody,
{
    let connection = Arc::new(Mutex::new(Connection::new(Box::new(wire))));
    let mut timer = pin!(sleep(options.head_timeout));
    loop {
        let head = match next(&connection, timer.as_mut(), options).await {
            NextRequest::Head(head) => head,
            NextRequest::Bad(bad) => {
                send(&connection, ResponseWriter::new(refuse(bad), ResponseMode::LAST, options.wall)).await?;
                return close(&connection).await.map(|()| None);
            }
            NextRequest::Http2 => return Ok(Arc::into_inner(connection).map(rewound)),
            NextRequest::Over => return Ok(None),
        };
        let RequestHead { request, mode, .. } = *head;
        let request = request.map(|()| R::from(ConnectionBody(connection.clone())));
        let service = service.ready().await.map_err(io::Error::other)?;
        let Some(response) = answer(&connection, service.call(request)).await else { return Ok(None) };
        let response = response.map_err(io::Error::other)?;
        let mode = ResponseMode { keep_alive: mode.keep_alive && is_read(&connection).await, ..mode };
        let writer = ResponseWriter::new(response, mode, options.wall);
        let last = writer.last;
        send(&connection, writer).await?;
        if last {
            return close(&connection).await.map(|()| None);
        }
    }
}

/// What comes next, within the time for a head. The timer may still be set for an earlier one: it is set anew only when it
/// has fired.
async fn next(
    connection: &Mutex<Connection>,
    mut timer: Pin<&mut Sleep>,
    options: ConnectionOptions,
) -> NextRequest {
    let end = (options.now)() + options.head_timeout;
    poll_fn(|cx| {
        if let Poll::Ready(next) = connection.lock().poll_next(cx, options.max_head) {
            return Poll::Ready(next);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(NextRequest::Over);
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    })
    .await
}

fn rewound(connection: Mutex<Connection>) -> RewindIo {
    let (wire, read) = connection.into_inner().into_parts();
    RewindIo::new(read, wire)
}

/// What `answering` ends with; `None` once the client has gone.
async fn answer<T>(connection: &Mutex<Connection>, answering: impl Future<Output = T>) -> Option<T> {
    let mut answering = pin!(answering);
    poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending => connection.lock().poll_gone(cx).map(|()| None),
    })
    .await
}

/// Whether nothing is left of the request's body, after a look at what has come of it.
async fn is_read(connection: &Mutex<Connection>) -> bool {
    poll_fn(|cx| Poll::Ready(connection.lock().skip_body(cx, MAX_SKIPPED))).await
}

/// Writes the answer; `Err` also if the client has gone.
async fn send(
    connection: &Mutex<Connection>,
    mut writer: ResponseWriter<impl OutgoingBody>,
) -> io::Result<()> {
    poll_fn(|cx| match writer.poll_send(connection, cx) {
        Poll::Ready(sent) => Poll::Ready(sent),
        Poll::Pending => {
            connection.lock().poll_gone(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
        }
    })
    .await
}

/// Ends the connection so that the answer arrives.
async fn close(connection: &Mutex<Connection>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(connection.lock().wire()).poll_shutdown(cx)).await?;
    // The client may have gone already.
    timeout(LINGER, poll_fn(|cx| connection.lock().poll_silence(cx))).await.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
