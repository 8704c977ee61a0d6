//! A client that sees every byte of an answer, when it came and how it ended, and can go away at any moment.
//!
//! One connection per request unless told otherwise, no retries, no redirects: what happens is what is reported.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use crate::sse::{self, Event};

/// How long any one answer may take before the test is lost.
const LIMIT: Duration = Duration::from_secs(60);

/// How the answer's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the rules of HTTP.
    Clean,
    /// The connection broke, or the body was cut.
    Broken,
}

/// Where to ask, and how.
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

    /// Presents this key as a bearer token.
    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Speaks HTTP/2 with prior knowledge.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Speaks TLS; the certificate must be for `localhost`.
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.tls = Some(connector);
        self
    }

    /// GET, to the end.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// POST JSON, to the end.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, body.to_string().into()).await
    }

    /// POST these very bytes as JSON, to the end.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(Method::POST, path, body.into()).await
    }

    /// Any method, to the end.
    pub async fn send(&self, method: Method, path: &str, body: Bytes) -> Reply {
        self.open(method, path, body).await.reply().await
    }

    /// A chat, to the end.
    pub async fn chat(&self, body: &Value) -> Reply {
        self.post("/v1/chat/completions", body).await
    }

    /// A streamed chat, to the end.
    pub async fn stream(&self, body: &Value) -> Heard {
        self.open_stream(body).await.hear().await
    }

    /// A streamed chat whose head is here; read on, or drop it to go away.
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

    /// The same, or why there was no head. Dropping the future goes away at once.
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
        Ok(Open { status: head.status, headers: head.headers, body, _connection: connection })
    }

    /// Writes raw bytes and reads until the server closes or `quiet` passes without a byte.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>, quiet: Duration) -> Vec<u8> {
        let addr = self.url.split("://").nth(1).unwrap_or(&self.url);
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        // The server may answer and close before it has read all of it: what it said still counts.
        let _ = stream.write_all(bytes.as_ref()).await;
        let mut said = Vec::new();
        while let Ok(Ok(n)) = timeout(quiet, stream.read_buf(&mut said)).await {
            if n == 0 {
                break;
            }
        }
        said
    }
}

/// An answer whose head is here. Dropping it closes the connection.
pub struct Open {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: JoinSet<()>,
}

impl Open {
    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The next bytes of the body; `None` at its end, clean or not.
    pub async fn more(&mut self) -> Option<Result<Bytes, String>> {
        let frame = timeout(LIMIT, self.body.frame()).await.expect("a frame within a minute")?;
        Some(frame.map(|f| f.into_data().unwrap_or_default()).map_err(|e| e.to_string()))
    }

    /// Reads on until the bytes so far contain `text`; panics if the body ends before.
    pub async fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let piece =
                self.more().await.unwrap_or_else(|| panic!("ended before `{text}`")).expect("not cut");
            seen.extend_from_slice(&piece);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    async fn collect(mut self) -> (StatusCode, HeaderMap, Bytes, Ended, Vec<(Instant, usize)>) {
        let mut body = BytesMut::new();
        let mut arrivals = Vec::new();
        let mut ended = Ended::Clean;
        while let Some(piece) = self.more().await {
            let Ok(piece) = piece else {
                ended = Ended::Broken;
                break;
            };
            body.extend_from_slice(&piece);
            arrivals.push((Instant::now(), body.len()));
        }
        (self.status, self.headers, body.freeze(), ended, arrivals)
    }

    /// Reads to the end as one body.
    pub async fn reply(self) -> Reply {
        let (status, headers, body, ended, _) = self.collect().await;
        Reply { status, headers, body, ended }
    }

    /// Reads to the end as a stream of events.
    pub async fn hear(self) -> Heard {
        let (status, headers, body, ended, arrivals) = self.collect().await;
        let (events, residue) = sse::parse(&body);
        Heard { status, headers, body, ended, arrivals, events, residue }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// How it ended.
    pub ended: Ended,
}

impl Reply {
    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The body as JSON; panics with the body if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// `error.code`, empty if absent.
    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The text of a whole chat answer.
    pub fn text(&self) -> String {
        self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }
}

/// A streamed answer, heard to its end.
#[derive(Debug)]
pub struct Heard {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// How it ended.
    pub ended: Ended,
    /// When each piece came, and how long the body then was.
    pub arrivals: Vec<(Instant, usize)>,
    /// The events in it, comments included.
    pub events: Vec<Event>,
    /// Bytes behind the last whole event.
    pub residue: usize,
}

impl Heard {
    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The JSON of every data event that is JSON.
    pub fn chunks(&self) -> Vec<Value> {
        self.events.iter().filter_map(Event::json).collect()
    }

    /// The text of choice 0, joined.
    pub fn text(&self) -> String {
        let delta = |chunk: &Value| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned());
        self.chunks().iter().filter_map(delta).collect()
    }

    /// The arguments of the first tool call, joined.
    pub fn tool_arguments(&self) -> String {
        let part = |chunk: &Value| {
            let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
            Some(call["function"]["arguments"].as_str()?.to_owned())
        };
        self.chunks().iter().filter_map(part).collect()
    }

    /// Whether `[DONE]` came.
    pub fn done(&self) -> bool {
        self.events.iter().any(|event| event.data.as_deref() == Some("[DONE]"))
    }

    /// The error inside the stream, if there was one.
    pub fn error(&self) -> Option<Value> {
        self.chunks().into_iter().map(|mut chunk| chunk["error"].take()).find(|error| !error.is_null())
    }

    /// The usage that came, if any.
    pub fn usage(&self) -> Option<Value> {
        self.chunks().into_iter().map(|mut chunk| chunk["usage"].take()).rfind(|usage| !usage.is_null())
    }

    /// All comments.
    pub fn comments(&self) -> Vec<String> {
        self.events.iter().flat_map(|event| event.comments.clone()).collect()
    }

    /// Whether an SDK would take this for a finished answer: no error, no reset.
    pub fn looks_complete(&self) -> bool {
        self.status == 200 && self.ended == Ended::Clean && self.error().is_none()
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}
