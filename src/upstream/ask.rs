//! Asks one target once: the question out, the answer in, up to its first content.
//!
//! Nothing of an answer is believed before it is seen: a 200 that is an error, a page, half an object or nothing
//! is a failure here, so that it can still move on. After the first content the answer belongs to its reader.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use super::{
    attempt::Attempt,
    client::{AnswerBody, SendError},
    outcome::{self, BrokenKind, HardKind, Outcome, Said},
    provider::{Provider, Question},
    stream::{Break, EventStream, Item, Role},
};
use crate::{
    api::{
        Api,
        answer::{self, Verdict},
        error::{self, ProviderError},
        sse::Event,
        usage::Usage,
    },
    refusal::ProviderReply,
};

/// The largest answer that is read whole before it is passed on.
const MAX_WHOLE: usize = 64 << 20;
/// The largest error body that is passed on.
const MAX_ERROR: usize = 1 << 20;
/// For the body of an error, whose head has already said the most.
const ERROR_BODY: Duration = Duration::from_secs(5);
/// Headers of an answer that describe its body.
const DESCRIBING: [header::HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_DISPOSITION];

/// What is asked, and how long it may take.
pub struct Asking {
    /// What it speaks.
    pub api: Api,
    /// A stream was asked for.
    pub stream: bool,
    /// The client asked for the usage chunk.
    pub wants_usage: bool,
    /// The request.
    pub question: Question,
    /// To the first content of a stream, or the head of a whole answer.
    pub first: Duration,
    /// Silence after that.
    pub stall: Duration,
    /// When everything must be over.
    pub total: Instant,
    /// The client itself gave less time than the target would have had: running out of it proves nothing.
    pub impatient: bool,
}

/// What describes an answer.
#[derive(Debug, Clone)]
pub struct Head {
    /// 2xx.
    pub status: StatusCode,
    /// The provider's headers that describe the body.
    pub headers: HeaderMap,
    /// The provider's own id of the request.
    pub upstream_request_id: Option<HeaderValue>,
}

/// An answer that has begun.
pub enum Answer {
    /// All of it.
    Whole(Head, Bytes, Option<Usage>),
    /// Its first content.
    Stream(Box<Open>),
    /// Its first bytes; we do not look into the rest.
    Raw(Box<Raw>),
}

/// A stream whose first content is here.
pub struct Open {
    /// What describes it.
    pub head: Head,
    /// What came up to the first content.
    pub lead: Vec<Event>,
    /// The rest.
    pub stream: EventStream,
    /// The attempt that it is.
    pub attempt: Attempt,
    /// Silence it is allowed.
    pub stall: Duration,
}

/// Bytes that we pass on without looking.
pub struct Raw {
    /// What describes it.
    pub head: Head,
    /// What came so far.
    pub first: Bytes,
    /// The rest.
    pub body: AnswerBody,
    /// The attempt that it is.
    pub attempt: Attempt,
    /// Silence it is allowed.
    pub stall: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What it counts as.
    pub outcome: Outcome,
    /// One sentence, without secrets.
    pub message: String,
    /// What the provider said, for the case that it is the client's to read.
    pub reply: Option<ProviderReply>,
    /// How long the attempt took.
    pub elapsed: Duration,
}

impl Failure {
    fn hard(kind: HardKind, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Hard(kind), message: message.into(), reply: None, elapsed: Duration::ZERO }
    }

    fn malformed(message: &str) -> Self {
        Self::hard(HardKind::Malformed, message)
    }
}

/// Asks the target of `attempt`.
///
/// # Errors
/// The [`Failure`], of which the target has been told already.
pub async fn ask(mut attempt: Attempt, asking: Asking) -> Result<Answer, Failure> {
    let provider = attempt.target.provider.clone();
    let id = attempt.target.id.clone();
    let impatient = asking.impatient;
    match exchange(&attempt, asking, &provider).await {
        Ok(Reading::Whole(head, body, usage)) => {
            attempt.completed(usage.map_or(0, |usage| usage.completion_tokens), None);
            Ok(Answer::Whole(head, body, usage))
        }
        Ok(Reading::Stream { head, lead, stream, stall }) => {
            attempt.succeeded();
            Ok(Answer::Stream(Box::new(Open { head, lead, stream, attempt, stall })))
        }
        Ok(Reading::Raw { head, first, body, stall }) => {
            attempt.succeeded();
            Ok(Answer::Raw(Box::new(Raw { head, first, body, attempt, stall })))
        }
        Err(mut failure) => {
            failure.elapsed = attempt.started.elapsed();
            failure.message = format!("{id}: {}", provider.redact_text(&failure.message));
            if let Some(reply) = &mut failure.reply {
                reply.body = provider.redact(&reply.body);
            }
            if impatient && failure.outcome.is_silence() {
                failure.outcome = Outcome::Cancelled;
            }
            if matches!(failure.outcome, Outcome::Hard(HardKind::Silent | HardKind::Reset)) {
                provider.client.evict();
            }
            attempt.failed(failure.outcome, &failure.message);
            Err(failure)
        }
    }
}

/// An answer before its attempt is bound to it.
enum Reading {
    Whole(Head, Bytes, Option<Usage>),
    Stream { head: Head, lead: Vec<Event>, stream: EventStream, stall: Duration },
    Raw { head: Head, first: Bytes, body: AnswerBody, stall: Duration },
}

async fn exchange(attempt: &Attempt, asking: Asking, provider: &Provider) -> Result<Reading, Failure> {
    let Asking { api, stream, wants_usage, question, first, stall, total, .. } = asking;
    let deadline = total.min(attempt.started + first);
    let silent = || Failure::hard(HardKind::Silent, format!("no answer within {}", seconds(first)));
    let request = provider
        .request(question)
        .map_err(|error| Failure::hard(HardKind::Connect, format!("the request cannot be made: {error}")))?;
    let response = match timeout_at(deadline, provider.client.send(request)).await {
        Err(_) => return Err(silent()),
        Ok(Err(error @ SendError::Connect(_))) => {
            return Err(Failure::hard(HardKind::Connect, error.to_string()));
        }
        Ok(Err(error @ SendError::Lost(_))) => return Err(Failure::hard(HardKind::Reset, error.to_string())),
        Ok(Ok(response)) => response,
    };
    attempt.head(response.headers());
    if !response.status().is_success() {
        return Err(refused(response, provider, total).await);
    }
    let head = Head::of(&response);
    let is_sse = head.content_type().starts_with("text/event-stream");
    let mut body = Incoming { body: response.into_body(), deadline, stall, total };
    let begun = match () {
        () if is_sse && (stream || api == Api::Other) => Some(Bytes::new()),
        () if stream && api != Api::Other => body.next().await?.filter(|first| looks_like_events(first)),
        () => None,
    };
    if let Some(first) = begun {
        let events = EventStream::new(api, wants_usage, first, body.body);
        let (lead, stream) = first_content(events, deadline, (provider, &head.headers)).await?;
        return Ok(Reading::Stream { head, lead, stream, stall });
    }
    if api == Api::Other && (is_sse || !head.is_small_json()) {
        let first = body.next().await?.unwrap_or_default();
        return Ok(Reading::Raw { head, first, body: body.body, stall });
    }
    let bytes = body.whole().await?;
    if stream && api != Api::Other && !bytes.is_empty() {
        let said = ProviderError::parse(&bytes);
        return Err(in_200(provider, &head.headers, &said, "an answer in one piece though a stream was asked"));
    }
    match answer::judge(api, Some(head.content_type()), &bytes) {
        Verdict::Complete { usage } => Ok(Reading::Whole(head, bytes, usage)),
        Verdict::Error(error) => Err(in_200(provider, &head.headers, &error, "an error under status 200")),
        Verdict::Empty => Err(Failure::malformed("an empty answer")),
        Verdict::NotJson => Err(Failure::malformed("an answer that is not JSON")),
        Verdict::Truncated => Err(Failure::malformed("an answer that was cut off")),
        Verdict::Malformed => Err(Failure::malformed("an answer that is not valid JSON")),
        Verdict::WrongShape => Err(Failure::malformed("an answer of the wrong shape")),
    }
}

/// Reads a stream up to its first content. Comments, blank lines and frames re-arm nothing.
async fn first_content(
    mut stream: EventStream,
    deadline: Instant,
    (provider, headers): (&Provider, &HeaderMap),
) -> Result<(Vec<Event>, EventStream), Failure> {
    let mut lead = Vec::new();
    loop {
        match stream.next_framed() {
            Some(Item::Event(event, role)) => {
                lead.push(event);
                if role == Role::Content {
                    return Ok((lead, stream));
                }
            }
            Some(Item::End(_)) => return Err(Failure::malformed("an empty stream")),
            Some(Item::Broken(broken)) => return Err(broken_early(provider, headers, broken)),
            None => timeout_at(deadline, stream.read())
                .await
                .map_err(|_| Failure::hard(HardKind::Silent, "no content in time"))?,
        }
    }
}

fn broken_early(provider: &Provider, headers: &HeaderMap, broken: Break) -> Failure {
    match (broken.kind, broken.error) {
        (_, Some(error)) => in_200(provider, headers, &error, "an error event"),
        (BrokenKind::Malformed, None) => Failure::malformed("an event that is not valid JSON"),
        (_, None) => Failure::malformed("a stream that ended before its first content"),
    }
}

/// An error in a 200's clothes.
fn in_200(provider: &Provider, headers: &HeaderMap, error: &ProviderError, what: &str) -> Failure {
    let said = said(error);
    let outcome = outcome::of_error_in_200(provider.quirks, headers, said, SystemTime::now());
    let status = error.code.as_deref().and_then(|code| code.parse::<u16>().ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok()).filter(StatusCode::is_client_error);
    let kind = error.kind.as_deref().unwrap_or("invalid_request_error");
    let body =
        error::body(&error.message, kind, error.param.as_deref(), error.code.as_deref().unwrap_or("error"));
    let reply =
        ProviderReply { status: status.unwrap_or(StatusCode::BAD_REQUEST), content_type: None, body };
    Failure { outcome, message: with_words(what, &error.message), reply: Some(reply), elapsed: Duration::ZERO }
}

/// A status that is not 2xx.
async fn refused(response: Response<AnswerBody>, provider: &Provider, total: Instant) -> Failure {
    let (parts, body) = response.into_parts();
    let deadline = total.min(Instant::now() + ERROR_BODY);
    let mut body = Incoming { body, deadline, stall: ERROR_BODY, total: deadline };
    let body = body.at_most(MAX_ERROR).await.unwrap_or_default();
    let error = ProviderError::parse(&body);
    let status = parts.status.as_u16();
    let outcome =
        outcome::of_status(provider.quirks, status, &parts.headers, said(&error), SystemTime::now());
    let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
    // What a provider says about our key is between us and the provider.
    let words = if outcome == Outcome::KeyRefused { "" } else { &error.message };
    let message = with_words(&format!("status {status}"), words);
    Failure { outcome, message, reply: Some(ProviderReply { status: parts.status, content_type, body }), elapsed: Duration::ZERO }
}

fn said(error: &ProviderError) -> Said<'_> {
    Said {
        code: error.code.as_deref(),
        kind: error.kind.as_deref(),
        param: error.param.as_deref(),
        message: &error.message,
    }
}

fn with_words(what: &str, words: &str) -> String {
    let words: String = words.chars().take(200).collect();
    if words.is_empty() { what.to_owned() } else { format!("{what}: {words}") }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Some servers send events under another type.
fn looks_like_events(first: &[u8]) -> bool {
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| first.starts_with(field))
}

impl Head {
    fn of(response: &Response<AnswerBody>) -> Self {
        let theirs = response.headers();
        let described = DESCRIBING.iter().filter_map(|name| Some((name.clone(), theirs.get(name)?.clone())));
        let id = ["x-request-id", "request-id", "x-generation-id"].iter().find_map(|name| theirs.get(*name));
        Self { status: response.status(), headers: described.collect(), upstream_request_id: id.cloned() }
    }

    fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn is_small_json(&self) -> bool {
        let mime = self.content_type().split(';').next().unwrap_or_default().trim();
        mime == "application/json" || mime.ends_with("+json")
    }
}

/// A body that is read within its deadlines.
struct Incoming {
    body: AnswerBody,
    /// For what comes next.
    deadline: Instant,
    stall: Duration,
    total: Instant,
}

impl Incoming {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout_at(self.deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| Failure::hard(HardKind::Silent, "the answer stalled"))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame
                .map_err(|error| Failure::hard(HardKind::Reset, format!("the answer was cut off: {error}")))?;
            self.deadline = self.total.min(Instant::now() + self.stall);
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    async fn whole(&mut self) -> Result<Bytes, Failure> {
        self.at_most(MAX_WHOLE).await
    }

    async fn at_most(&mut self, limit: usize) -> Result<Bytes, Failure> {
        let expected = self.body.size_hint().exact().unwrap_or(0) as usize;
        let mut bytes = BytesMut::with_capacity(expected.min(limit));
        while let Some(data) = self.next().await? {
            if bytes.len() + data.len() > limit {
                return Err(Failure::malformed("an answer larger than the gateway reads"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }
}
