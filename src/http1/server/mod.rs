//! One HTTP/1.1 connection of a client, from its first request to its last.
//!
//! There is no task and no channel between the socket and the handler: the handler reads the body from the connection
//! itself, and what its answer brings is written as it comes ([`response_writer`]). A silent connection, and one whose answer is
//! silent, hold no buffer: with thousands of slow streams open that is most of what they cost. A client that closes its
//! half is gone, and its request is dropped at once.

mod connection;
mod request_head;
mod response_writer;

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
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
};
use self::{
    connection::{Connection, NextRequest},
    request_head::{RequestHead, ResponseMode},
    response_writer::ResponseWriter,
};
use crate::{
    clock,
    http1::io::{Io, RewindIo},
    server::http::{request_body::RequestBody, response_body::ResponseBody},
};

/// Bytes of a body that nobody wanted and that came all the same; with more of them the connection ends.
const MAX_SKIPPED: usize = 256 * 1024;
/// For a client that is still sending what nobody wants: closed at once, the kernel would throw away the answer as well.
const LINGER: Duration = Duration::from_secs(2);

/// What one connection may take.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// To the last byte of a head, from the end of the answer before.
    pub head_timeout: Duration,
    /// Bytes of a head.
    pub head: usize,
}

/// The answer to what is no request.
pub trait RefuseRequest: Fn(HeadError) -> Response<ResponseBody> {}
impl<F: Fn(HeadError) -> Response<ResponseBody>> RefuseRequest for F {}

/// Serves `wire` until it ends. A client that speaks HTTP/2 comes back as a wire that nobody has read from.
///
/// # Errors
/// The connection broke, or an answer broke off and the client must see it.
pub async fn serve<S>(
    wire: impl Io + 'static,
    mut service: S,
    refuse: impl RefuseRequest,
    bounds: ConnectionLimits,
) -> io::Result<Option<RewindIo>>
where
    S: Service<
            Request<RequestBody>,
            Response = Response<ResponseBody>,
            Error: std::error::Error + Send + Sync + 'static,
        >,
{
    let line = Arc::new(Mutex::new(Connection::new(Box::new(wire))));
    let mut alarm = pin!(sleep(bounds.head_timeout));
    loop {
        let head = match next(&line, alarm.as_mut(), bounds).await {
            NextRequest::Head(head) => head,
            NextRequest::Bad(bad) => {
                send(&line, ResponseWriter::new(refuse(bad), ResponseMode::LAST)).await?;
                return close(&line).await.map(|()| None);
            }
            NextRequest::Http2 => return Ok(Arc::into_inner(line).map(rewound)),
            NextRequest::Over => return Ok(None),
        };
        let RequestHead { request, manner, .. } = *head;
        let request = request.map(|()| RequestBody::Http1(ConnectionBody(line.clone())));
        let service = service.ready().await.map_err(io::Error::other)?;
        let Some(response) = answer(&line, service.call(request)).await else { return Ok(None) };
        let response = response.map_err(io::Error::other)?;
        let manner = ResponseMode { keep_alive: manner.keep_alive && is_read(&line).await, ..manner };
        let outgoing = ResponseWriter::new(response, manner);
        let last = outgoing.last;
        send(&line, outgoing).await?;
        if last {
            return close(&line).await.map(|()| None);
        }
    }
}

/// What comes next, within the time for a head. `alarm` may still be set for an earlier one: it is set anew only when it has
/// rung.
async fn next(line: &Mutex<Connection>, mut alarm: Pin<&mut Sleep>, bounds: ConnectionLimits) -> NextRequest {
    let end = clock::now() + bounds.head_timeout;
    poll_fn(|cx| {
        if let Poll::Ready(next) = line.lock().poll_next(cx, bounds.head) {
            return Poll::Ready(next);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(NextRequest::Over);
            }
            alarm.as_mut().reset(end);
        }
        Poll::Pending
    })
    .await
}

fn rewound(line: Mutex<Connection>) -> RewindIo {
    let (wire, read) = line.into_inner().into_parts();
    RewindIo::new(read, wire)
}

/// What `answering` ends with; `None` once the client has gone.
async fn answer<T>(line: &Mutex<Connection>, answering: impl Future<Output = T>) -> Option<T> {
    let mut answering = pin!(answering);
    poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answered) => Poll::Ready(Some(answered)),
        Poll::Pending => line.lock().poll_gone(cx).map(|()| None),
    })
    .await
}

/// Whether nothing is left of the request's body, after a look at what has come of it.
async fn is_read(line: &Mutex<Connection>) -> bool {
    poll_fn(|cx| Poll::Ready(line.lock().skip_body(cx, MAX_SKIPPED))).await
}

/// Writes the answer; `Err` also if the client has gone.
async fn send(line: &Mutex<Connection>, mut outgoing: ResponseWriter) -> io::Result<()> {
    poll_fn(|cx| match outgoing.poll_send(line, cx) {
        Poll::Ready(sent) => Poll::Ready(sent),
        Poll::Pending => line.lock().poll_gone(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
    })
    .await
}

/// Ends the connection so that the answer arrives.
async fn close(line: &Mutex<Connection>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(line.lock().wire()).poll_shutdown(cx)).await?;
    // Who has gone is gone.
    timeout(LINGER, poll_fn(|cx| line.lock().poll_silence(cx))).await.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
