//! From the socket to [`super::handle`]: TCP, TLS, HTTP/1.1 and HTTP/2, with a bound on everything.

#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service, ServiceBuilder, limit::GlobalConcurrencyLimitLayer};

use super::{
    HttpServer,
    authn::ConnectionInfo,
    handle,
    http::{gateway_headers, request_body::RequestBody, response_body::ResponseBody},
    http2_stall::Streams,
    inbound::InboundRequest,
    no_request, overloaded,
};
use crate::{
    admission::process_limits::ProcessLimits,
    clock,
    http1::{
        io::RewindIo,
        server::{ConnectionOptions, serve as serve_http1},
    },
};

/// For a TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client that takes nothing: it has gone without a word, or never reads. Its slot must not wait for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that the kernel takes from us before it can send them.
const MAX_UNSENT: u32 = 64 * 1024;
/// Bytes of a request head.
const MAX_HEAD: usize = 64 * 1024;
/// Of HTTP/1.1. The time for a head also ends idle connections, so it is longer than the keep-alive of the common
/// clients (httpx 5 s, undici 4 s): they close first.
const OPTIONS: ConnectionOptions = ConnectionOptions {
    head_timeout: Duration::from_secs(15),
    max_head: MAX_HEAD,
    now: clock::now,
    wall: clock::wall,
};
/// An HTTP/2 connection on which nobody has asked anything for so long is told to end. As nginx has it; a client that asks
/// at that moment is still answered, so it need not be longer than theirs.
const IDLE: Duration = Duration::from_secs(75);
/// Streams at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;
/// Streams that a client has reset before we looked at them, and resets of ours for its mistakes, on one HTTP/2 connection:
/// with more it is closed (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: (usize, usize) = (20, 1024);
/// Pause after an accept error that is not the connection's own (no file descriptors left), unless a connection ends before
/// and frees one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two lines in the log about such errors.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// Opens the listening socket.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the process ends.
pub(crate) async fn accept(listener: Arc<TcpListener>, server: Arc<HttpServer>) {
    let mut complained = None;
    while let Some(room) = server.process_limits.connection().await {
        let (stream, peer) = next_client(&listener, &server.process_limits, &mut complained).await;
        let server = server.clone();
        server.tasks.clone().spawn_until_shutdown(clock::cached_per_poll(async move {
            connection(stream, peer, server).await;
            drop(room);
        }));
    }
}

/// Tries until there is one; `complained` is when the log was last told that there is none.
async fn next_client(
    listener: &TcpListener,
    load: &ProcessLimits,
    complained: &mut Option<Instant>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(client) => return client,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_PAUSE) {
                    tracing::error!(%error, "cannot accept connections: raise the limit of open files (ulimit -n)");
                    *complained = Some(Instant::now());
                }
                let _ = timeout(ACCEPT_PAUSE, load.connection_ended()).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, peer: SocketAddr, server: Arc<HttpServer>) {
    // Without it each small chunk of a stream waits for the ACK of the one before, up to 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    set_tcp_user_timeout(&stream);
    set_notsent_lowat(&stream);
    match server.config.tls() {
        None => serve(stream, peer, server).await,
        // On the heap: plain connections must not carry room for it.
        Some(tls) => Box::pin(encrypted(stream, peer, (server, tls))).await,
    }
}

async fn encrypted(stream: TcpStream, peer: SocketAddr, (server, tls): (Arc<HttpServer>, TlsAcceptor)) {
    match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve(stream, peer, server).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// The kernel's own clock, for while a client takes nothing nobody polls the body, and no timer in it would fire. It
/// counts while nothing is acknowledged or the client's window stays closed; a client that reads on is served to the end. A
/// window of HTTP/2 is none of the kernel's: see [`super::http2_stall`].
fn set_tcp_user_timeout(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT)) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, WRITE_TIMEOUT);
}

/// The kernel would take megabytes from us for a client that sips: they are memory all the same, and they would be sent
/// long after the time of the call is over. What is on its way to the client does not count.
fn set_notsent_lowat(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT) {
        tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, MAX_UNSENT);
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    server: Arc<HttpServer>,
) {
    let connection = ConnectionInfo { listener: server.listener, peer };
    let streams = Streams::new(server.tasks.clone(), WRITE_TIMEOUT);
    let handler = server.clone();
    let service = ServiceBuilder::new()
        .map_result(shed(server.clone()))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(server.process_limits.requests.clone()))
        // On the heap, and gone once the answer begins: the connection keeps room for this future as long as it lives.
        .service_fn(move |request| {
            handle(handler.clone(), InboundRequest::new(handler.config.load(), connection, request)).boxed()
        });
    let refuse = |bad| no_request(&server, bad);
    let served = match serve_http1(stream, service.clone(), refuse, OPTIONS).await {
        // On the heap: other connections must not carry room for it.
        Ok(Some(wire)) => Box::pin(http2(wire, service, streams)).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = served {
        tracing::debug!(error, "client connection ended with an error");
    }
}

async fn http2<S>(wire: RewindIo, service: S, streams: Streams) -> Result<(), BoxError>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Error = Shed, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let service = ServiceBuilder::new()
        .map_request(|request: Request<_>| request.map(RequestBody::Http2))
        .map_response(gateway_headers::in_headers)
        .service(service);
    let mut http = http2::Builder::new(streams.clone());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS.0)
        .max_local_error_reset_streams(MAX_RESETS.1)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut connection = pin!(http.serve_connection(TokioIo::new(wire), TowerToHyperService::new(service)));
    select! {
        served = connection.as_mut() => return Ok(served?),
        () = streams.are_idle(IDLE) => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

type ResponseFuture = Result<Response<ResponseBody>, BoxError>;

/// What tower sheds is answered like every other refusal.
fn shed(
    server: Arc<HttpServer>,
) -> impl FnOnce(ResponseFuture) -> Result<Response<ResponseBody>, Shed> + Clone {
    move |answered| Ok(answered.unwrap_or_else(|_| overloaded(&server)))
}

/// Nothing is left to go wrong: every error has become an answer.
#[derive(Debug, thiserror::Error)]
#[error("a request was shed without an answer")]
struct Shed;

impl From<BoxError> for Shed {
    fn from(_: BoxError) -> Self {
        Self
    }
}
