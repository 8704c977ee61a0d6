//! Traces: one span per request, with children for the queue, the recall and each attempt.
//!
//! Without `telemetry.otlp_endpoint` every [`Span`] is empty and costs a null check. A span is a guard: it ends when it is
//! dropped, wherever that happens. No span may contain any of a body, a key or a user's id.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{
        Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan},
};
use tokio::time::{Instant, timeout};

use super::span_exporter::{self, Export, SpanQueue};
use crate::tasks::Tasks;

/// W3C trace context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Creates spans, if tracing is on.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Arc<TracerInner>>);

struct TracerInner {
    tracer: SdkTracer,
    outbox: Arc<SpanQueue>,
    /// The tracer works only as long as its provider lives.
    _provider: SdkTracerProvider,
}

/// A span; it ends when this is dropped.
#[derive(Default)]
pub struct Span(Option<Box<ActiveSpan>>);

struct ActiveSpan {
    span: SdkSpan,
    tracer: SdkTracer,
}

impl Tracer {
    /// A tracer that sends spans to `endpoint` by OTLP over HTTP.
    ///
    /// # Errors
    /// One sentence, if the endpoint cannot be used.
    pub(crate) fn to(endpoint: &url::Url, client: reqwest::Client, tasks: &Tasks) -> Result<Self, String> {
        let resource = Resource::builder()
            .with_service_name("concierge")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let Export { outbox, processor } = span_exporter::start(endpoint, client, &resource, tasks)?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        let tracer = provider.tracer("concierge");
        Ok(Self(Some(Arc::new(TracerInner { tracer, outbox, _provider: provider }))))
    }

    /// The span of a request that was `received` then. It goes on with the client's trace if `headers` name one.
    pub(crate) fn request(
        &self,
        name: impl FnOnce() -> String,
        headers: &HeaderMap,
        received: Instant,
    ) -> Span {
        let Some(inner) = &self.0 else { return Span::default() };
        let context = Context::new();
        let context = match parent(headers) {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        let start = SystemTime::now().checked_sub(received.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        let span = inner.tracer.span_builder(name()).with_kind(SpanKind::Server).with_start_time(start);
        let span = span.start_with_context(&inner.tracer, &context);
        Span(Some(Box::new(ActiveSpan { span, tracer: inner.tracer.clone() })))
    }

    /// Spans dropped because the collector is slow or unreachable.
    pub(crate) fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.outbox.lost())
    }

    /// Sends the waiting spans, for at most `limit`.
    pub(crate) async fn close(&self, limit: Duration) {
        let Some(inner) = &self.0 else { return };
        if timeout(limit, inner.outbox.close()).await.is_err() {
            tracing::warn!("last spans lost: telemetry.otlp_endpoint does not answer");
        }
    }
}

impl Span {
    /// Starts a child span.
    pub fn child(&self, name: impl FnOnce() -> String, kind: SpanKind) -> Span {
        self.begun(name, kind, Duration::ZERO)
    }

    /// A child span that has just ended and took `time`.
    pub fn past(&self, name: &'static str, time: Duration) -> Span {
        self.begun(|| name.to_owned(), SpanKind::Internal, time)
    }

    fn begun(&self, name: impl FnOnce() -> String, kind: SpanKind, since: Duration) -> Span {
        let Some(live) = &self.0 else { return Span::default() };
        let context = Context::new().with_remote_span_context(live.span.span_context().clone());
        let start = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
        let span = live.tracer.span_builder(name()).with_kind(kind).with_start_time(start);
        let span = span.start_with_context(&live.tracer, &context);
        Span(Some(Box::new(ActiveSpan { span, tracer: live.tracer.clone() })))
    }

    /// Adds attributes; `attributes` is not called if tracing is off.
    pub fn set_attribute<const N: usize>(&mut self, attributes: impl FnOnce() -> [(&'static str, Value); N]) {
        if let Some(live) = &mut self.0 {
            live.span.set_attributes(attributes().map(|(key, value)| KeyValue::new(key, value)));
        }
    }

    /// Marks it as failed; `error` is one of a bounded set of values.
    pub fn failed(&mut self, error: &'static str) {
        if let Some(live) = &mut self.0 {
            live.span.set_attribute(KeyValue::new("error.type", error));
            live.span.set_status(Status::error(error));
        }
    }

    /// Injects the trace context into `headers`, so that the receiver's span becomes a child.
    pub fn record(&self, headers: &mut HeaderMap) {
        let Some(live) = &self.0 else { return };
        let context = live.span.span_context();
        let mut text = String::with_capacity(55);
        let sampled = context.trace_flags() & TraceFlags::SAMPLED;
        let written = write!(text, "00-{}-{}-{sampled:02x}", context.trace_id(), context.span_id());
        if let (Ok(()), Ok(value)) = (written, HeaderValue::try_from(text)) {
            headers.insert(TRACEPARENT, value);
            headers.remove(TRACESTATE);
        }
        let state = context.trace_state().header();
        if let Some(value) = HeaderValue::try_from(state).ok().filter(|value| !value.is_empty()) {
            headers.insert(TRACESTATE, value);
        }
    }

    /// The id of the trace, for the log.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|live| live.span.span_context().trace_id())
    }
}

/// The parent span, if `headers` have a valid W3C trace context. An invalid one is ignored.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let text = given.next().filter(|_| given.next().is_none())?.to_str().ok()?;
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let (trace, span) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
    let flags = hex(parts.next()?, 2)? as u8;
    // Later versions may append fields; `ff` is not a version.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context =
        SpanContext::new(TraceId::from(trace), SpanId::from(span as u64), flags, true, state(headers));
    context.is_valid().then_some(context)
}

/// The trace state of other vendors; several headers are one list.
fn state(headers: &HeaderMap) -> TraceState {
    let lists: Vec<&str> = headers.get_all(TRACESTATE).iter().filter_map(|list| list.to_str().ok()).collect();
    lists.join(",").parse().unwrap_or_default()
}

/// Parses exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests;
