//! An answer as the client gets it: opened, read whole, or read as a stream of events.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, response::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    client::LIMIT,
    sse::{self, Event},
};

/// How the body of the answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Completely, by the rules of HTTP.
    Clean,
    /// The connection broke, or the body was cut.
    Broken,
}

/// An answer whose head has arrived. Dropping it closes the connection.
pub struct Open {
    /// The status.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    body: Incoming,
    _connection: JoinSet<()>,
}

impl Open {
    pub(crate) fn new(head: Parts, body: Incoming, connection: JoinSet<()>) -> Self {
        Self { status: head.status, headers: head.headers, body, _connection: connection }
    }

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
    /// The response headers.
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

    /// The body as JSON; panics with the body if it is invalid.
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

/// A streamed answer, read to its end.
#[derive(Debug)]
pub struct Heard {
    /// The status.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// How it ended.
    pub ended: Ended,
    /// When each piece arrived, and the length of the body after it.
    pub arrivals: Vec<(Instant, usize)>,
    /// The events in it, comments included.
    pub events: Vec<Event>,
    /// Bytes after the last complete event.
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

    /// The last usage in the stream, if any.
    pub fn usage(&self) -> Option<Value> {
        self.chunks().into_iter().map(|mut chunk| chunk["usage"].take()).rfind(|usage| !usage.is_null())
    }

    /// All comments.
    pub fn comments(&self) -> Vec<String> {
        self.events.iter().flat_map(|event| event.comments.clone()).collect()
    }

    /// Whether an SDK would take this for a complete answer: no error, no reset.
    pub fn looks_complete(&self) -> bool {
        self.status == 200 && self.ended == Ended::Clean && self.error().is_none()
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}
