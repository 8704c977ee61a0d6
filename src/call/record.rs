//! What is told of one request when it is over, however it ended: a line in the log, the meters of its model, its span.
//! What it has cost is then settled with the user's limits.
//!
//! The user is told by a pseudonym, and nothing of a body is in here.

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

/// What the client gets no status for: it left before the answer.
const CLIENT_LEFT: u16 = 499;

/// What OpenTelemetry calls that which `api` is for.
pub fn gen_ai(api: Api) -> GenAi {
    match api {
        Api::Chat | Api::Responses => GenAi::Chat,
        Api::Completions => GenAi::TextCompletion,
        Api::Embeddings => GenAi::Embeddings,
        Api::Other => GenAi::Other,
    }
}

/// Which request it is.
pub struct RequestInfo {
    /// `x-request-id`
    pub id: Arc<str>,
    /// Whose it is.
    pub user: Pseudonym,
    /// What it is in our words (`chat`, `embeddings`, …),
    pub operation: &'static str,
    /// and in OpenTelemetry's.
    pub gen_ai: GenAi,
    /// The model by the client's name for it.
    pub model: Arc<str>,
    /// When its head had arrived.
    pub received: Instant,
    /// How long it waited for its slot.
    pub queued: Duration,
}

/// Where it is counted; `None`: nowhere.
pub type CallMeters = Option<(Arc<GatewayMeters>, Arc<ModelMeters>)>;

/// What is told of a request. It is told when this is dropped.
pub struct RequestRecord {
    about: RequestInfo,
    meters: CallMeters,
    /// The request in its trace.
    pub span: Span,
    status: Option<u16>,
    /// Who was asked last.
    target: Option<Arc<str>>,
    attempts: u32,
    overhead: Option<Duration>,
    first_token: Option<Duration>,
    usage: Option<Usage>,
    memory: Option<HeaderValue>,
    broken: u32,
    rescued: u32,
    error: Option<&'static str>,
    /// Tokens of the user that are held back for it,
    reservation: Reservation,
    /// and those it has really cost.
    spent: u64,
}

impl RequestRecord {
    /// A request that has just been admitted.
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

    /// What is asked, in OpenTelemetry's words.
    pub fn gen_ai(&self) -> GenAi {
        self.about.gen_ai
    }

    /// `target` is asked, by the call's attempt of this number.
    pub fn asks(&mut self, target: &Target, attempt: u32) {
        let queued = self.about.queued;
        self.overhead.get_or_insert_with(|| clock::since(self.about.received).saturating_sub(queued));
        self.target = Some(target.id.clone());
        self.attempts = attempt;
    }

    /// What memory did, as the client reads it.
    pub fn remembers(&mut self, note: &HeaderValue) {
        self.memory = Some(note.clone());
    }

    /// A whole answer.
    pub fn answered(&mut self, head: &UpstreamHead, usage: Option<Usage>) {
        self.carried(head.status);
        self.usage = usage;
        // Nobody knows how long the answer is: the reservation stands.
        let spent = usage.map_or(self.reservation.tokens(), |usage| usage.total_tokens);
        self.spent = self.spent.saturating_add(spent);
    }

    /// An answer that we do not look into has ended, whole or not.
    pub fn carried(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// The first content of a stream is here.
    pub fn begins(&mut self) {
        self.first_token.get_or_insert_with(|| clock::since(self.about.received));
    }

    /// A stream ended, whole or not. What each attempt cost is a line of its own.
    pub fn streamed(&mut self, usage: Option<Usage>, events: u64) {
        self.carried(StatusCode::OK);
        self.usage = usage;
        self.captured(usage, events);
    }

    /// A stream has cost this much, even if nobody hears the end: what the provider counted, else the prompt and a token
    /// for each of its `events` with content.
    pub fn captured(&mut self, usage: Option<Usage>, events: u64) {
        let counted = usage.map(|usage| usage.total_tokens);
        let spent = counted.unwrap_or_else(|| self.reservation.cost().prompt.saturating_add(events));
        self.spent = self.spent.saturating_add(spent);
    }

    /// A stream broke.
    pub fn broke(&mut self) {
        self.broken += 1;
    }

    /// Another target goes on.
    pub fn rescued(&mut self) {
        self.rescued += 1;
    }

    /// It was refused, with this status and error code.
    pub fn refused(&mut self, status: StatusCode, code: &'static str) {
        self.carried(status);
        self.error = Some(code);
    }

    /// It was refused when its stream had been begun with a comment: no answer will tell, so it is counted here.
    pub fn refused_late(&mut self, code: &'static str) {
        self.refused(StatusCode::OK, code);
        if let Some((gateway, _)) = &self.meters {
            gateway.refusals.add(code);
        }
    }

    /// A stream ended with an error event of this code.
    pub fn ended_with(&mut self, code: &'static str) {
        self.error = Some(code);
    }

    fn count(&self, error: Option<&'static str>) {
        let Some((gateway, model)) = &self.meters else { return };
        let requests = model.requests.of(self.about.gen_ai);
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
