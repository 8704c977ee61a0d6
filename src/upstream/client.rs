//! Connections to one provider: HTTP/1.1 and HTTP/2, pooled, young enough that DNS changes are seen.
//!
//! It never retries and never follows a redirect: what was sent and what was not is the caller's to know
//! ([`SendError`]). The address comes from the configuration alone; nothing of a request can change it.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{body::Parts, tls};
use crate::tasks::Tasks;

/// Shorter than the keep-alive of every provider known, so that we close first.
const IDLE: Duration = Duration::from_secs(20);
/// A busy connection is not reused past this age: the next one resolves the name anew.
const MAX_AGE: Duration = Duration::from_secs(55);
/// Streams on one HTTP/2 connection before a second is opened; servers commonly allow 100.
const H2_STREAMS: usize = 90;
/// Idle HTTP/1.1 connections kept.
const MAX_IDLE: usize = 256;
/// Bytes of an answer read ahead of a slow client (hyper: 400 KB), and of its head.
const READ_AHEAD: usize = 64 * 1024;
/// A connection whose last answer has ended is ready at once, or it never will be.
const READY: Duration = Duration::from_millis(50);

/// Why no response head came.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// DNS, TCP or TLS failed: certainly nothing was sent.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The connection broke: perhaps the provider did the work.
    #[error("the connection broke before the answer began: {0}")]
    Lost(#[from] hyper::Error),
}

/// All connections to one origin.
pub struct Client {
    origin: Uri,
    connector: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    tasks: Tasks,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Vec<Shared>>,
    this: Weak<Client>,
}

struct Idle {
    sender: http1::SendRequest<Parts>,
    born: Instant,
    since: Instant,
}

/// An HTTP/2 connection; the strong count of `streams` is the number of its users plus one.
struct Shared {
    sender: http2::SendRequest<Parts>,
    born: Instant,
    streams: Arc<()>,
}

enum Connection {
    Http1 { sender: http1::SendRequest<Parts>, born: Instant },
    Http2 { sender: http2::SendRequest<Parts>, stream: Arc<()> },
}

impl Client {
    /// Connections to `origin` (scheme and authority), made within `connect_timeout`.
    pub fn new(origin: Uri, connect_timeout: Duration, tasks: Tasks) -> Result<Arc<Self>, String> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(30)));
        connector.set_connect_timeout(Some(connect_timeout));
        let tls = match origin.scheme_str() {
            Some("https") => Some(tls_for(&origin)?),
            _ => None,
        };
        Ok(Arc::new_cyclic(|this| Self {
            origin,
            connector,
            tls,
            connect_timeout,
            tasks,
            idle: Mutex::default(),
            shared: Mutex::default(),
            this: this.clone(),
        }))
    }

    /// Sends `request`, whose URI is a path and query, and waits for the head of the answer.
    pub async fn send(&self, request: Request<Parts>) -> Result<Response<AnswerBody>, SendError> {
        let mut request = request;
        while let Some(connection) = self.pooled().await {
            match self.send_on(connection, request).await {
                Err(Unsent::Returned(back)) => request = *back,
                Err(Unsent::Failed(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        let connection = self.connect().await?;
        match self.send_on(connection, request).await {
            Ok(response) => Ok(response),
            Err(Unsent::Failed(error)) => Err(error),
            Err(Unsent::Returned(_)) => Err(SendError::Connect("the new connection closed at once".into())),
        }
    }

    /// Closes what is idle: after a connection proved dead its neighbours are not trusted either.
    pub fn evict(&self) {
        self.idle.lock().clear();
        self.shared.lock().clear();
    }

    /// Closes connections that have been idle too long; called now and then.
    pub fn sweep(&self, now: Instant) {
        self.idle.lock().retain(|c| now < c.since + IDLE && !c.sender.is_closed());
        self.shared.lock().retain(|c| now < c.born + MAX_AGE && !c.sender.is_closed());
    }

    async fn pooled(&self) -> Option<Connection> {
        if let Some(connection) = self.pooled_h2() {
            return Some(connection);
        }
        loop {
            let Idle { mut sender, born, since } = self.idle.lock().pop()?;
            let now = Instant::now();
            let fresh = now < since + IDLE && now < born + MAX_AGE;
            if fresh && !sender.is_closed() && matches!(timeout(READY, sender.ready()).await, Ok(Ok(()))) {
                return Some(Connection::Http1 { sender, born });
            }
        }
    }

    fn pooled_h2(&self) -> Option<Connection> {
        self.tls.as_ref()?;
        let now = Instant::now();
        let mut shared = self.shared.lock();
        shared.retain(|c| now < c.born + MAX_AGE && !c.sender.is_closed());
        let free = shared.iter().find(|c| Arc::strong_count(&c.streams) <= H2_STREAMS)?;
        Some(Connection::Http2 { sender: free.sender.clone(), stream: free.streams.clone() })
    }

    async fn send_on(
        &self,
        connection: Connection,
        request: Request<Parts>,
    ) -> Result<Response<AnswerBody>, Unsent> {
        match connection {
            Connection::Http1 { mut sender, born } => {
                let response = sender.try_send_request(request).await.map_err(Unsent::from)?;
                let lease = Lease { sender, born, client: self.this.clone() };
                Ok(response.map(|incoming| AnswerBody { incoming, lease: Some(lease), _stream: None }))
            }
            Connection::Http2 { mut sender, stream } => {
                let request = absolute(request, &self.origin);
                let response = sender.try_send_request(request).await.map_err(Unsent::from)?;
                Ok(response.map(|incoming| AnswerBody { incoming, lease: None, _stream: Some(stream) }))
            }
        }
    }

    async fn connect(&self) -> Result<Connection, SendError> {
        let failed = |error: &dyn std::fmt::Display| SendError::Connect(error.to_string());
        match timeout(self.connect_timeout, self.dial()).await {
            Err(_) => Err(SendError::Connect(format!("no connection within {:?}", self.connect_timeout))),
            Ok(Err(error)) => Err(failed(&root_cause(&*error))),
            Ok(Ok(connection)) => Ok(connection),
        }
    }

    async fn dial(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
        let tcp = connector.call(self.origin.clone()).await?;
        let Some((tls, name)) = &self.tls else {
            return Ok(self.handshake_h1(tcp).await?);
        };
        let stream = tls.connect(name.clone(), tcp.into_inner()).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return Ok(self.handshake_h2(TokioIo::new(stream)).await?);
        }
        Ok(self.handshake_h1(TokioIo::new(stream)).await?)
    }

    async fn handshake_h1<T>(&self, io: T) -> hyper::Result<Connection>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let mut http = http1::Builder::new();
        let (sender, connection) = http.max_headers(200).max_buf_size(READ_AHEAD).handshake(io).await?;
        self.drive(connection);
        Ok(Connection::Http1 { sender, born: Instant::now() })
    }

    async fn handshake_h2<T>(&self, io: T) -> hyper::Result<Connection>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .adaptive_window(true)
            .handshake(io)
            .await?;
        self.drive(connection);
        let stream = Arc::new(());
        let shared = Shared { sender: sender.clone(), born: Instant::now(), streams: stream.clone() };
        self.shared.lock().push(shared);
        Ok(Connection::Http2 { sender, stream })
    }

    fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.tasks.spawn_until_shutdown(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a provider connection ended");
            }
        });
    }
}

/// HTTP/2 needs the scheme and authority that HTTP/1.1 keeps in `host`.
fn absolute(mut request: Request<Parts>, origin: &Uri) -> Request<Parts> {
    let mut parts = origin.clone().into_parts();
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request.headers_mut().remove(http::header::HOST);
    request
}

fn tls_for(origin: &Uri) -> Result<(TlsConnector, ServerName<'static>), String> {
    let host = origin.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let config = tls::client_config(&[b"h2", b"http/1.1"]).map_err(|error| error.to_string())?;
    Ok((TlsConnector::from(config), name))
}

/// hyper-util says "client error (Connect)"; the reason is at the bottom of the chain.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

enum Unsent {
    /// Nothing was written: the request is as good as new.
    Returned(Box<Request<Parts>>),
    Failed(SendError),
}

impl From<hyper::client::conn::TrySendError<Request<Parts>>> for Unsent {
    fn from(mut error: hyper::client::conn::TrySendError<Request<Parts>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Returned(Box::new(request)),
            None => Self::Failed(SendError::Lost(error.into_error())),
        }
    }
}

struct Lease {
    sender: http1::SendRequest<Parts>,
    born: Instant,
    client: Weak<Client>,
}

/// The body of an answer. Read to its end it hands its connection back; dropped before, it closes it.
pub struct AnswerBody {
    incoming: Incoming,
    lease: Option<Lease>,
    _stream: Option<Arc<()>>,
}

impl AnswerBody {
    fn hand_back(&mut self) {
        let Some(Lease { sender, born, client }) = self.lease.take() else { return };
        let Some(client) = client.upgrade() else { return };
        let mut idle = client.idle.lock();
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(Idle { sender, born, since: Instant::now() });
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if let Poll::Ready(None) = polled {
            self.hand_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
