//! Connections to one provider: HTTP/1.1 and HTTP/2, pooled, with a bounded age so that DNS changes take effect.
//!
//! It never retries and never follows a redirect: the caller decides by what was sent and what was not
//! ([`SendError`]). The address comes from the configuration alone; nothing of a request can change it.

pub(crate) mod pool;
pub(crate) mod response_body;

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{Request, Response, Uri};
use hyper::{
    client::conn::{TrySendError, http2},
    rt::{Read, Write},
};
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tower::Service;

use self::pool::{ConnectionPool, PooledConnection};
pub(crate) use self::response_body::{ConnectionError, UpstreamBody};
use super::exchange::request_body::SplicedBody;
pub(crate) use crate::http1::client::fixed_headers::FixedHeaders;
use crate::{http1::client::Http1, tasks::Tasks, tls};

/// How long sent data may stay unacknowledged before the kernel closes the connection. It bounds every wait for a peer
/// that vanished, also where there is no other target and an answer may take all the time left.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(25);
/// Silence after which the kernel sends a TCP keep-alive probe, and the interval of further probes.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(5);
/// The same for HTTP/2: a ping after this much silence, which must be answered within the timeout.
const PING: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no response head.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// DNS, TCP or TLS failed: certainly nothing was sent.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The connection broke: the provider may have done the work.
    #[error("the connection broke before the answer began: {0}")]
    Lost(#[from] ConnectionError),
}

/// Connects to one origin, and pools what can be reused.
pub struct Client {
    origin: Uri,
    /// The headers of every request.
    pub standing: FixedHeaders,
    connector: HttpConnector,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    tasks: Tasks,
    pool: Arc<ConnectionPool>,
}

impl Client {
    /// Connects to `origin` (scheme and authority) within `connect_timeout`; every request gets the headers `standing`.
    pub fn new(
        origin: Uri,
        standing: FixedHeaders,
        connect_timeout: Duration,
        tasks: Tasks,
    ) -> Result<Arc<Self>, String> {
        let connector = connector(connect_timeout);
        let tls = match origin.scheme_str() {
            Some("https") => Some(tls_for(&origin)?),
            _ => None,
        };
        Ok(Arc::new(Self { origin, standing, connector, tls, connect_timeout, tasks, pool: Arc::default() }))
    }

    /// Sends `request`, whose URI is a path and query, and waits for the head of the answer. The request is on the heap,
    /// because every future on the way down would contain it twice.
    pub async fn send(
        &self,
        mut request: Box<Request<SplicedBody>>,
    ) -> Result<Response<UpstreamBody>, SendError> {
        while let Some(connection) = self.pool.take() {
            match self.send_on(connection, request).await {
                Err(UnsentRequest::Returned(back)) => request = back,
                Err(UnsentRequest::Failed(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        // On the heap: a handshake is rare and large, and each future around this one would contain its size.
        let connection = self.connect().boxed().await?;
        match self.send_on(connection, request).await {
            Ok(response) => Ok(response),
            Err(UnsentRequest::Failed(error)) => Err(error),
            Err(UnsentRequest::Returned(_)) => {
                Err(SendError::Connect("the new connection closed at once".into()))
            }
        }
    }

    /// Closes the idle connections: after one proved dead, the others are not trusted either.
    pub fn evict(&self) {
        self.pool.evict();
    }

    /// Closes connections that have been idle too long; called periodically.
    pub fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }

    async fn send_on(
        &self,
        connection: PooledConnection,
        request: Box<Request<SplicedBody>>,
    ) -> Result<Response<UpstreamBody>, UnsentRequest> {
        match connection {
            PooledConnection::Http1(http1) => {
                let response = http1.send((request, &self.standing), self.pool.clone()).await;
                let response = response.map_err(|error| SendError::Lost(error.into()))?;
                Ok(response.map(UpstreamBody::http1))
            }
            PooledConnection::Http2 { mut sender, stream } => {
                let request = self.in_full(*request);
                let response = sender.try_send_request(request).await?;
                Ok(response.map(|incoming| UpstreamBody::http2(incoming, stream)))
            }
        }
    }

    async fn connect(&self) -> Result<PooledConnection, SendError> {
        let failed = |error: &dyn std::fmt::Display| SendError::Connect(error.to_string());
        match timeout(self.connect_timeout, self.dial()).await {
            Err(_) => Err(SendError::Connect(format!("no connection within {:?}", self.connect_timeout))),
            Ok(Err(error)) => Err(failed(&root_cause(&*error))),
            Ok(Ok(connection)) => Ok(connection),
        }
    }

    async fn dial(&self) -> Result<PooledConnection, Box<dyn std::error::Error + Send + Sync>> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
        let tcp = connector.call(self.origin.clone()).await?;
        let Some((tls, name)) = &self.tls else {
            return Ok(PooledConnection::Http1(Http1::new(tcp.into_inner(), Instant::now())));
        };
        let stream = tls.connect(name.clone(), tcp.into_inner()).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return Ok(self.handshake_h2(TokioIo::new(stream)).await?);
        }
        Ok(PooledConnection::Http1(Http1::new(stream, Instant::now())))
    }

    async fn handshake_h2<T>(&self, io: T) -> hyper::Result<PooledConnection>
    where
        T: Read + Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true)
            .adaptive_window(true)
            .handshake(io)
            .await?;
        self.drive(connection);
        Ok(self.pool.share(sender))
    }

    /// The request as HTTP/2 needs it: all headers, and the scheme and authority that HTTP/1.1 puts into `host`.
    fn in_full(&self, mut request: Request<SplicedBody>) -> Request<SplicedBody> {
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        self.standing.put_into(request.headers_mut());
        request.headers_mut().remove(http::header::HOST);
        request
    }

    fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.tasks.spawn_until_shutdown(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "provider connection ended with an error");
            }
        });
    }
}

fn connector(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_AGAIN));
    connector.set_keepalive_retries(Some(3));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    connector
}

fn tls_for(origin: &Uri) -> Result<(TlsConnector, ServerName<'static>), String> {
    let host = origin.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let config = tls::client_config(&[b"h2", b"http/1.1"]).map_err(|error| error.to_string())?;
    Ok((TlsConnector::from(config), name))
}

/// hyper-util says "client error (Connect)"; the real cause is at the end of the chain.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

enum UnsentRequest {
    /// Nothing was written: the request can be sent again.
    Returned(Box<Request<SplicedBody>>),
    Failed(SendError),
}

impl From<SendError> for UnsentRequest {
    fn from(error: SendError) -> Self {
        Self::Failed(error)
    }
}

impl From<TrySendError<Request<SplicedBody>>> for UnsentRequest {
    fn from(mut error: TrySendError<Request<SplicedBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Returned(Box::new(request)),
            None => Self::Failed(SendError::Lost(error.into_error().into())),
        }
    }
}
