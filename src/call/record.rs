//! What is recorded of one request when it is over, however it ended: a log line, the metrics of its model, its span.
//! Its cost is then settled with the user's limits.
//!
//! The user appears under a pseudonym, and nothing of a body is recorded.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::{
    admission::reservation::Reservation,
    clock,
    openai::{Api, usage::Usage},
    telemetry::{
        metrics::{GatewayMeters, GenAi, ModelMeters},
        trace::Span,
    },
    upstream::{Target, exchange::UpstreamHead},
    user::Pseudonym,
};

/// Recorded when the client left before it got a status.
const CLIENT_LEFT: u16 = 499;

/// The OpenTelemetry GenAI operation of `api`.
pub(crate) fn gen_ai(api: Api) -> GenAi {
    match api {
        Api::Chat | Api::Responses => GenAi::Chat,
        Api::Completions => GenAi::TextCompletion,
        Api::Embeddings => GenAi::Embeddings,
        Api::Other => GenAi::Other,
    }
}

/// What is known of a request on admission.
pub struct RequestInfo {
    /// `x-request-id`
    pub id: Arc<str>,
    /// The user's pseudonym.
    pub user: Pseudonym,
    /// The operation in our terms (`chat`, `embeddings`, …),
    pub operation: &'static str,
    /// and in OpenTelemetry's.
    pub gen_ai: GenAi,
    /// The model by the name the client used.
    pub model: Arc<str>,
    /// When its head had arrived.
    pub received: Instant,
    /// How long it waited for its slot.
    pub queued: Duration,
}

/// Where the call is counted; `None`: nowhere.
pub(crate) type CallMeters = Option<(Arc<GatewayMeters>, Arc<ModelMeters>)>;

/// The record of one request. It is written when this is dropped.
pub struct RequestRecord {
    about: RequestInfo,
    meters: CallMeters,
    /// The span of the request.
    pub span: Span,
    status: Option<u16>,
    /// The target tried last.
    target: Option<Arc<str>>,
    attempts: u32,
    overhead: Option<Duration>,
    first_token: Option<Duration>,
    usage: Option<Usage>,
    memory: Option<HeaderValue>,
    broken: u32,
    rescued: u32,
    error: Option<&'static str>,
    /// Tokens held back from the user's limit,
    reservation: Reservation,
    /// and those really used.
    spent: u64,
}

impl RequestRecord {
    /// The record of a request that has just been admitted.
    pub fn new(about: RequestInfo, meters: CallMeters, span: Span, reservation: Reservation) -> Self {
        drop(span.past("queue", about.queued));
        Self {
            about,
            meters,
            span,
            status: None,
            target: None,
            attempts: 0,
            overhead: None,
            first_token: None,
            usage: None,
            memory: None,
            broken: 0,
            rescued: 0,
            error: None,
            reservation,
            spent: 0,
        }
    }

    /// The OpenTelemetry GenAI operation.
    pub fn gen_ai(&self) -> GenAi {
        self.about.gen_ai
    }

    /// Attempt number `attempt` of the call goes to `target`.
    pub fn asks(&mut self, target: &Target, attempt: u32) {
        let queued = self.about.queued;
        self.overhead.get_or_insert_with(|| clock::since(self.about.received).saturating_sub(queued));
        self.target = Some(target.id.clone());
        self.attempts = attempt;
    }

    /// What memory did, as stated in the response header.
    pub fn remembers(&mut self, note: &HeaderValue) {
        self.memory = Some(note.clone());
    }

    /// A whole answer arrived.
    pub fn answered(&mut self, head: &UpstreamHead, usage: Option<Usage>) {
        self.carried(head.status);
        self.usage = usage;
        // The length of the answer is unknown, so the reservation counts as used.
        let spent = usage.map_or(self.reservation.tokens(), |usage| usage.total_tokens);
        self.spent = self.spent.saturating_add(spent);
    }

    /// A passthrough answer has ended, complete or not.
    pub fn carried(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// The first content of a stream has arrived.
    pub fn begins(&mut self) {
        self.first_token.get_or_insert_with(|| clock::since(self.about.received));
    }

    /// A stream ended, complete or not. The cost of each attempt adds up.
    pub fn streamed(&mut self, usage: Option<Usage>, events: u64) {
        self.carried(StatusCode::OK);
        self.usage = usage;
        self.captured(usage, events);
    }

    /// The cost of a stream whose end is not relayed: what the provider counted, else the prompt and one token for each of
    /// its `events` with content.
    pub fn captured(&mut self, usage: Option<Usage>, events: u64) {
        let counted = usage.map(|usage| usage.total_tokens);
        let spent = counted.unwrap_or_else(|| self.reservation.cost().prompt.saturating_add(events));
        self.spent = self.spent.saturating_add(spent);
    }

    /// Counts a stream that broke after its first content.
    pub fn broke(&mut self) {
        self.broken += 1;
    }

    /// Another target continues the stream.
    pub fn rescued(&mut self) {
        self.rescued += 1;
    }

    /// The call was refused with this status and error code.
    pub fn refused(&mut self, status: StatusCode, code: &'static str) {
        self.carried(status);
        self.error = Some(code);
    }

    /// The call was refused after its stream had begun with a comment. No response shows that, so it is counted here.
    pub fn refused_late(&mut self, code: &'static str) {
        self.refused(StatusCode::OK, code);
        if let Some((gateway, _)) = &self.meters {
            gateway.refusals.add(code);
        }
    }

    /// The stream ended with an error event of this code.
    pub fn ended_with(&mut self, code: &'static str) {
        self.error = Some(code);
    }

    fn count(&self, error: Option<&'static str>) {
        let Some((gateway, model)) = &self.meters else { return };
        let requests = model.requests.get(self.about.gen_ai);
        requests.duration.observe(clock::since(self.about.received), error);
        if let Some(first) = self.first_token {
            requests.first_token.observe(first.as_secs_f64());
        }
        model.broken.inc_by(self.broken.into());
        model.rescued.inc_by(self.rescued.into());
        gateway.queue.observe(self.about.queued.as_secs_f64());
        if let Some(overhead) = self.overhead {
            gateway.overhead.observe(overhead.as_secs_f64());
        }
    }

    fn trace(&mut self, status: u16, error: Option<&'static str>) {
        let attempts = i64::from(self.attempts);
        self.span.set_attribute(|| {
            [("http.response.status_code", i64::from(status).into()), ("concierge.attempts", attempts.into())]
        });
        if let Some(target) = &self.target {
            self.span.set_attribute(|| [("concierge.target", target.to_string().into())]);
        }
        if let Some(error) = error {
            self.span.failed(error);
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.reservation.settle(self.spent);
        // A bug of ours, on its way up to where it is caught.
        let panicked = std::thread::panicking();
        let status = self.status.unwrap_or(if panicked { 500 } else { CLIENT_LEFT });
        let error = self.error.or(panicked.then_some("internal_error"));
        let error = error.or((status == CLIENT_LEFT).then_some("cancelled"));
        self.count(error);
        self.trace(status, error);
        let millis = |time: Duration| time.as_millis() as u64;
        tracing::info!(
            request = %self.about.id,
            user = %self.about.user,
            operation = self.about.operation,
            model = &*self.about.model,
            target_id = self.target.as_deref().unwrap_or("-"),
            attempts = self.attempts,
            status,
            queue_ms = millis(self.about.queued),
            first_token_ms = self.first_token.map(millis),
            total_ms = millis(clock::since(self.about.received)),
            tokens = self.usage.map_or(0, |usage| usage.total_tokens),
            memory = self.memory.as_ref().and_then(|note| note.to_str().ok()),
            broken = self.broken,
            rescued = self.rescued,
            error,
            trace = self.span.trace_id().map(tracing::field::display),
            "request"
        );
    }
}
