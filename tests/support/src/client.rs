//! A client that records every byte of an answer, when it arrived and how it ended, and can disconnect at any moment.
//!
//! One connection per request by default, no retries, no redirects: what happens is what is reported.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header::HOST};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub use crate::answer::Ended;
use crate::answer::{Heard, Open, Reply};

/// Timeout of any one answer, after which the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The address and the settings of requests.
#[derive(Clone)]
pub struct Client {
    url: String,
    headers: Vec<(String, String)>,
    http2: bool,
    tls: Option<TlsConnector>,
}

impl Client {
    /// A client of the gateway at this `http://host:port`.
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').into(), headers: Vec::new(), http2: false, tls: None }
    }

    /// Sends this header with every request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends this key as a bearer token.
    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Uses HTTP/2 with prior knowledge.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Uses TLS; the certificate must be for `localhost`.
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.tls = Some(connector);
        self
    }

    /// GET; reads the answer to its end.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// POST of JSON; reads the answer to its end.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, body.to_string().into()).await
    }

    /// POST of these exact bytes as JSON; reads the answer to its end.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, body.into()).await
    }

    /// Any method; reads the answer to its end.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Reply {
        self.open(method, path, body).await.reply().await
    }

    /// A chat; reads the answer to its end.
    pub async fn chat(&self, body: &Value) -> Reply {
        self.post("/v1/chat/completions", body).await
    }

    /// A streamed chat; reads the answer to its end.
    pub async fn stream(&self, body: &Value) -> Heard {
        self.open_stream(body).await.hear().await
    }

    /// A streamed chat whose head has arrived; read on, or drop it to disconnect.
    pub async fn open_stream(&self, body: &Value) -> Open {
        self.open(Method::POST, "/v1/chat/completions", body.to_string().into()).await
    }

    /// Sends and waits for the head; panics if there is none.
    pub async fn open(&self, method: Method, path: &str, body: Bytes) -> Open {
        let asked = timeout(LIMIT, self.try_open(method, path, body)).await;
        asked
            .expect("a head within a minute")
            .unwrap_or_else(|e| panic!("no answer from {}{path}: {e}", self.url))
    }

    /// The same, or why there was no head. Dropping the future disconnects at once.
    pub async fn try_open(&self, method: Method, path: &str, body: Bytes) -> Result<Open, String> {
        let addr = self.url.split("://").nth(1).unwrap_or(&self.url);
        let tcp = TcpStream::connect(addr).await.map_err(|e| e.to_string())?;
        let _ = tcp.set_nodelay(true);
        let request = self.request(method, path, body, addr);
        match &self.tls {
            None => self.exchange(tcp, request).await,
            Some(tls) => {
                let name = "localhost".try_into().expect("a name");
                let stream = tls.connect(name, tcp).await.map_err(|e| e.to_string())?;
                self.exchange(stream, request).await
            }
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes, addr: &str) -> http::Request<Full<Bytes>> {
        let uri = if self.http2 { format!("{}{path}", self.url) } else { path.to_owned() };
        let mut request = http::Request::builder().method(method).uri(uri);
        if !self.http2 {
            request = request.header(HOST, addr);
        }
        let named = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !body.is_empty() && !named("content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).expect("a valid request")
    }

    async fn exchange<S>(&self, stream: S, request: http::Request<Full<Bytes>>) -> Result<Open, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut connection = JoinSet::new();
        let io = TokioIo::new(stream);
        let response = if self.http2 {
            let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
            let (mut sender, driver) = shaken.map_err(|e| e.to_string())?;
            connection.spawn(async { drop(driver.await) });
            sender.send_request(request).await
        } else {
            let shaken = hyper::client::conn::http1::handshake(io).await;
            let (mut sender, driver) = shaken.map_err(|e| e.to_string())?;
            connection.spawn(async { drop(driver.await) });
            sender.send_request(request).await
        };
        let (head, body) = response.map_err(|e| format!("{e:?}"))?.into_parts();
        Ok(Open::new(head, body, connection))
    }

    /// Writes raw bytes and reads until the server closes or `quiet` passes without a byte; five times that for the first.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>, quiet: Duration) -> Vec<u8> {
        let addr = self.url.split("://").nth(1).unwrap_or(&self.url);
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        // The server may answer and close before it has read all of it: its answer still counts.
        let _ = stream.write_all(bytes.as_ref()).await;
        let mut said = Vec::new();
        let mut patience = quiet * 5;
        while let Ok(Ok(n)) = timeout(patience, stream.read_buf(&mut said)).await {
            if n == 0 {
                break;
            }
            patience = quiet;
        }
        said
    }
}
