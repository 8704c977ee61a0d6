//! One exchange with one target: sends the request, and reads the answer up to its first content.
//!
//! An answer is only accepted once it is seen: a 200 that is an error, an HTML page, half an object or nothing
//! is a failure here, so that the call can still move on. After the first content the answer belongs to its reader.

pub(crate) mod attempt;
pub(crate) mod event_stream;
pub mod failure;
pub mod outcome;
pub(crate) mod request_body;
pub(crate) mod timed_body;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use self::{
    attempt::Attempt,
    event_stream::{EventRole, EventStream, StreamItem},
    failure::Failure,
    outcome::{HardKind, Outcome},
    request_body::SplicedBody,
    timed_body::TimedBody,
};
use super::{
    client::{SendError, UpstreamBody},
    provider::{Provider, RequestTarget},
};
use crate::{
    clock,
    openai::{
        Api,
        response_check::{self, ResponseVerdict},
        sse::SseEvent,
        usage::Usage,
    },
};

/// The largest answer that is read whole before it is relayed, in bytes.
const MAX_WHOLE: usize = 64 << 20;
/// Response headers that describe the body.
static DESCRIBING: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_DISPOSITION];
/// Response headers with the provider's id of the request.
static IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-generation-id"),
];

/// One request to one target, with its deadlines.
pub struct ExchangeRequest {
    /// Its attempt, which ends with it.
    pub attempt: Attempt,
    /// The API family of the request.
    pub api: Api,
    /// Whether a stream was requested.
    pub stream: bool,
    /// The client requested the usage chunk.
    pub wants_usage: bool,
    /// The request to send.
    pub question: RequestTarget,
    /// Timeout to the first content of a stream, or to the head of a whole answer.
    pub first: Duration,
    /// Longest silence after that.
    pub stall: Duration,
    /// Deadline of the whole call.
    pub total: Instant,
    /// The client set a shorter deadline than the target would have had, so missing it is not the target's fault.
    pub impatient: bool,
    /// Failure messages omit the provider's text: it may quote what only the user may read.
    pub quiet: bool,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct UpstreamHead {
    /// A status of 2xx.
    pub status: StatusCode,
    /// All of the provider's headers, of which the client gets few.
    headers: HeaderMap,
}

/// An answer whose first content has arrived.
pub enum UpstreamResponse {
    /// A whole answer.
    Whole(UpstreamHead, Bytes, Option<Usage>),
    /// A stream from its first content.
    Stream(Box<OpenStream>),
    /// A body that we do not read, from its first bytes.
    Raw(Box<RawStream>),
}

/// A stream whose first content is here.
pub struct OpenStream {
    /// Its head.
    pub head: UpstreamHead,
    /// The events up to the first content.
    pub lead: Vec<SseEvent>,
    /// The rest of the stream.
    pub stream: EventStream,
    /// Its attempt, which is still running.
    pub attempt: Attempt,
    /// Longest silence allowed.
    pub stall: Duration,
}

/// A body that is relayed without reading it.
pub struct RawStream {
    /// Its head.
    pub head: UpstreamHead,
    /// The bytes read so far.
    pub first: Bytes,
    /// The rest of the body.
    pub body: UpstreamBody,
    /// Its attempt, which is still running.
    pub attempt: Attempt,
    /// Longest silence allowed.
    pub stall: Duration,
}

/// Runs one exchange. The request is on the heap, because every future on the way down would contain it twice.
///
/// # Errors
/// The [`Failure`], which is already recorded for the target.
pub async fn exchange_once(mut asking: Box<ExchangeRequest>) -> Result<UpstreamResponse, Failure> {
    let provider = asking.attempt.target.provider.clone();
    match exchange(&mut asking, &provider).await {
        Ok(ReadMode::Whole(head, body, usage)) => {
            asking.attempt.used(usage);
            asking.attempt.completed(usage.map_or(0, |usage| usage.completion_tokens), None);
            Ok(UpstreamResponse::Whole(head, body, usage))
        }
        Ok(ReadMode::Stream(begun)) => {
            let ExchangeRequest { mut attempt, stall, .. } = *asking;
            attempt.succeeded();
            let (head, lead, stream) = *begun;
            Ok(UpstreamResponse::Stream(Box::new(OpenStream { head, lead, stream, attempt, stall })))
        }
        Ok(ReadMode::Raw(begun)) => {
            let ExchangeRequest { mut attempt, stall, .. } = *asking;
            attempt.succeeded();
            let (head, first, body) = *begun;
            Ok(UpstreamResponse::Raw(Box::new(RawStream { head, first, body, attempt, stall })))
        }
        Err(failure) => Err(failed(asking, failure, &provider)),
    }
}

/// Records the failure for the target, and returns it as the caller may see it.
fn failed(asking: Box<ExchangeRequest>, mut failure: Failure, provider: &Provider) -> Failure {
    let ExchangeRequest { mut attempt, impatient, quiet, .. } = *asking;
    let id = attempt.target.id.clone();
    failure.elapsed = clock::since(attempt.started);
    failure.message = match quiet {
        true => format!("{id}: {}", failure.outcome),
        false => format!("{id}: {}", provider.redact_text(&failure.message)),
    };
    if let Some(reply) = &mut failure.reply {
        reply.body = provider.redact(&reply.body);
    }
    if impatient && failure.outcome.is_silence() {
        failure.outcome = Outcome::Cancelled;
    }
    attempt.failed(failure.outcome, &failure.message);
    failure
}

/// A response whose attempt is not attached yet.
enum ReadMode {
    Whole(UpstreamHead, Bytes, Option<Usage>),
    Stream(Box<(UpstreamHead, Vec<SseEvent>, EventStream)>),
    Raw(Box<(UpstreamHead, Bytes, UpstreamBody)>),
}

async fn exchange(asking: &mut ExchangeRequest, provider: &Provider) -> Result<ReadMode, Failure> {
    let deadline = asking.total.min(asking.attempt.started + asking.first);
    let (head, body) = begin(asking, provider, deadline).await?;
    let ExchangeRequest { api, stream, wants_usage, stall, total, .. } = *asking;
    // A whole answer has only its head within the deadline, and then at least the time of a stall.
    let due = if stream { deadline } else { deadline.max(clock::now() + stall).min(total) };
    let mut body = TimedBody::new(body, due, stall, total);
    let known = api.is_known();
    let is_events = head.is_events() || (stream && known && looks_like_events(body.peek().await?));
    if is_events && (stream || !known) {
        let (first, body) = body.into_rest();
        let events = EventStream::new(api, wants_usage, first, body);
        // On the heap: whole answers must not carry its size.
        let begun = first_content(events, deadline, (provider, &head.headers)).boxed().await;
        let (lead, stream) = begun?;
        return Ok(ReadMode::Stream(Box::new((head, lead, stream))));
    }
    if !known && !head.is_json() {
        body.peek().await?;
        let (first, body) = body.into_rest();
        return Ok(ReadMode::Raw(Box::new((head, first, body))));
    }
    let bytes = body.at_most(MAX_WHOLE).await?;
    let usage = judge(api, stream, &head, &bytes, provider)?;
    Ok(ReadMode::Whole(head, bytes, usage))
}

/// Sends the request, and accepts the head of a response by its status.
async fn begin(
    asking: &mut ExchangeRequest,
    provider: &Provider,
    deadline: Instant,
) -> Result<(UpstreamHead, UpstreamBody), Failure> {
    let request = provider
        .request(std::mem::take(&mut asking.question))
        .map_err(|error| Failure::hard(HardKind::Connect, format!("the request cannot be made: {error}")))?;
    let response = send(provider, request, deadline, asking.first).await?;
    asking.attempt.head(response.headers());
    if !response.status().is_success() {
        return Err(Box::pin(Failure::of_status(response, provider, asking.total)).await);
    }
    let (head, body) = response.into_parts();
    Ok((UpstreamHead { status: head.status, headers: head.headers }, body))
}

async fn send(
    provider: &Provider,
    request: Box<Request<SplicedBody>>,
    deadline: Instant,
    first: Duration,
) -> Result<Response<UpstreamBody>, Failure> {
    match timeout_at(deadline, provider.client.send(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error @ SendError::Connect(_))) => Err(Failure::hard(HardKind::Connect, error.to_string())),
        Ok(Err(error @ SendError::Lost(_))) => Err(Failure::hard(HardKind::Reset, error.to_string())),
        Err(_) => {
            let message = format!("no answer within {:.1} s", first.as_secs_f64());
            Err(Failure::hard(HardKind::Silent, message))
        }
    }
}

/// Checks whether a whole body is an answer, and returns its usage.
fn judge(
    api: Api,
    stream: bool,
    head: &UpstreamHead,
    bytes: &[u8],
    provider: &Provider,
) -> Result<Option<Usage>, Failure> {
    match response_check::judge(api, Some(head.content_type()), bytes) {
        ResponseVerdict::Complete { .. } if stream && api.is_known() => {
            Err(Failure::malformed("a single answer although a stream was requested"))
        }
        ResponseVerdict::Complete { usage } => Ok(usage),
        ResponseVerdict::Error(error) => {
            Err(Failure::in_200(provider, &head.headers, &error, "an error under status 200"))
        }
        ResponseVerdict::Empty => Err(Failure::malformed("an empty answer")),
        ResponseVerdict::NotJson => Err(Failure::malformed("an answer that is not JSON")),
        ResponseVerdict::Truncated => Err(Failure::malformed("an answer that was cut off")),
        ResponseVerdict::Malformed => Err(Failure::malformed("an answer that is not valid JSON")),
        ResponseVerdict::WrongShape => Err(Failure::malformed("an answer of an unexpected shape")),
    }
}

/// Reads a stream up to its first content. Comments, blank lines and frames do not reset the timeout.
async fn first_content(
    mut stream: EventStream,
    deadline: Instant,
    (provider, headers): (&Provider, &HeaderMap),
) -> Result<(Vec<SseEvent>, EventStream), Failure> {
    let mut lead = Vec::new();
    loop {
        match stream.next_framed() {
            Some(StreamItem::Event(event, role)) => {
                lead.push(event);
                if role == EventRole::Content {
                    return Ok((lead, stream));
                }
            }
            Some(StreamItem::End(_)) => return Err(Failure::malformed("an empty stream")),
            Some(StreamItem::Broken(broken)) => return Err(Failure::broken_early(provider, headers, broken)),
            None => timeout_at(deadline, stream.read())
                .await
                .map_err(|_| Failure::hard(HardKind::Silent, "no content in time"))?,
        }
    }
}

/// Some servers send events under another content type.
fn looks_like_events(first: &[u8]) -> bool {
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| first.starts_with(field))
}

impl UpstreamHead {
    /// The headers that describe the body.
    pub fn describing(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().filter(|(name, _)| DESCRIBING.contains(name))
    }

    /// The provider's own id of the request.
    pub fn upstream_request_id(&self) -> Option<&HeaderValue> {
        let rank = |name: &HeaderName| IDS.iter().position(|id| id == name);
        let ids = self.headers.iter().filter_map(|(name, value)| Some((rank(name)?, value)));
        ids.min_by_key(|(rank, _)| *rank).map(|(_, id)| id)
    }

    fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn is_events(&self) -> bool {
        self.content_type().starts_with("text/event-stream")
    }

    fn is_json(&self) -> bool {
        let mime = self.content_type().split(';').next().unwrap_or_default().trim();
        mime == "application/json" || mime.ends_with("+json")
    }
}
