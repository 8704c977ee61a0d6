//! Reads a proxied request: its body within bounds, and of it only what we act on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    admission::process_limits::{HeldBytes, ProcessLimits},
    call::MemoryUse,
    clock,
    config::TargetName,
    openai::{multipart, request_body::RequestContent, request_peek},
    refusal::{AdmissionError, Refusal, RequestError},
    server::http::request_body::RequestBody,
};

/// Silence inside an upload.
const BODY_SILENCE: Duration = Duration::from_secs(30);
/// A whole upload.
const BODY_TOTAL: Duration = Duration::from_secs(300);

/// The whole body, at most `limit` bytes, and what the process holds for it.
pub(crate) async fn body(
    body: &mut RequestBody,
    limit: usize,
    load: &ProcessLimits,
) -> Result<(Bytes, HeldBytes), Refusal> {
    let too_large = || RequestError::TooLarge { limit }.into();
    let full = || AdmissionError::Overloaded { retry_after: Duration::from_secs(1) }.into();
    let hint = body.size_hint();
    if hint.lower() > limit as u64 {
        return Err(too_large());
    }
    let mut held = HeldBytes::default();
    if !load.hold(&mut held, hint.lower() as usize) {
        return Err(full());
    }
    let ends = clock::now() + BODY_TOTAL;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = next_frame(body, ends).await? else { break };
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if length > limit {
            return Err(too_large());
        }
        if !load.hold(&mut held, length) {
            return Err(full());
        }
        match &first {
            None => first = Some(data),
            Some(head) => {
                if rest.is_empty() {
                    rest.reserve(hint.exact().unwrap_or(0) as usize);
                    rest.extend_from_slice(head);
                    first = Some(Bytes::new());
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    let body = if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() };
    Ok((body, held))
}

/// What comes next of a body that must be there when it `ends`. Nearly always it came with the head, and needs no timer.
async fn next_frame(body: &mut RequestBody, ends: Instant) -> Result<Option<Frame<Bytes>>, Refusal> {
    let frame = match body.frame().now_or_never() {
        Some(frame) => frame,
        None => {
            let due = ends.min(clock::now() + BODY_SILENCE);
            timeout_at(due, body.frame()).await.map_err(|_| RequestError::SlowBody)?
        }
    };
    frame.transpose().map_err(|_| body_error())
}

fn body_error() -> Refusal {
    Refusal::bad_request("invalid_json", None, "The request body ended early.")
}

/// What a client says about its request in `x-concierge-*` headers.
#[derive(Debug, Default)]
pub(crate) struct RequestOptions {
    /// `x-concierge-target`
    pub pin: Option<TargetName>,
    /// `x-concierge-timeout`
    pub timeout: Option<Duration>,
    /// `x-concierge-memory`
    pub memory: MemoryUse,
}

/// Reads the `x-concierge-*` headers.
pub(crate) fn request_options(headers: &HeaderMap) -> Result<RequestOptions, Refusal> {
    let [mut target, mut timeout, mut memory] = [None; 3];
    // Gone over once: nearly no request has any of them, and to look for each would cost more.
    for (name, value) in headers {
        let request = match name.as_str() {
            "x-concierge-target" => &mut target,
            "x-concierge-timeout" => &mut timeout,
            "x-concierge-memory" => &mut memory,
            _ => continue,
        };
        request.get_or_insert(value.to_str().unwrap_or_default().trim());
    }
    let pin = target.map(|value| {
        let (provider, model) = value.split_once('/').filter(|(p, m)| !p.is_empty() && !m.is_empty())?;
        Some(TargetName { provider: provider.to_owned(), model: model.to_owned() })
    });
    let timeout =
        timeout.map(|value| humantime::parse_duration(value).ok().filter(|timeout| !timeout.is_zero()));
    let memory = memory.map(MemoryUse::parse);
    let wrong = |name, form| {
        let message = format!("The header {name} must have the form {form}.");
        Refusal::bad_request("invalid_type", Some(name), message)
    };
    Ok(RequestOptions {
        pin: pin.map(|pin| pin.ok_or_else(|| wrong("x-concierge-target", "provider/model"))).transpose()?,
        timeout: timeout.map(|t| t.ok_or_else(|| wrong("x-concierge-timeout", "30s"))).transpose()?,
        memory: memory
            .map(|m| m.ok_or_else(|| wrong("x-concierge-memory", "on, off, read or write")))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// What the body asks for. A request that pins its target may come without a model.
pub(crate) fn content(headers: &HeaderMap, body: &Bytes, pinned: bool) -> Result<RequestContent, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mime = kind.split(';').next().unwrap_or_default().trim();
    let content = match mime {
        _ if body.is_empty() && pinned => return Ok(RequestContent::Opaque),
        _ if is_taken_for_json(mime) => {
            request_peek::peek(body).map(|peek| RequestContent::Json(Box::new(peek)))
        }
        _ if mime.eq_ignore_ascii_case("multipart/form-data") => {
            multipart::peek(kind, body).map(RequestContent::Form)
        }
        _ if pinned => return Ok(RequestContent::Opaque),
        other => return Err(RequestError::UnsupportedMedia(other.to_ascii_lowercase()).into()),
    };
    content.map_err(|bad| Refusal::bad_request(bad.code, bad.param, bad.message))
}

/// curl sends JSON under the name of a form unless told otherwise: it is taken for what it is.
fn is_taken_for_json(mime: &str) -> bool {
    let names = ["application/json", "", "text/json", "application/x-www-form-urlencoded", "text/plain"];
    names.iter().any(|name| mime.eq_ignore_ascii_case(name))
        || mime.rsplit_once('+').is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
}
