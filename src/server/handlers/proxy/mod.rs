//! The life of a proxied request: **limits → slot → call → recall → attempts → relay**. The first two are [`crate::admission`].

pub(crate) mod read_request;
pub(crate) mod respond;
pub(crate) mod token_estimate;

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Response};
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use self::{respond::deliver, token_estimate::estimate};
use crate::{
    admission::{
        Admission, Counted, RateDecision,
        process_limits::ProcessLimits,
        request::{AdmissionRequest, Operation, TokenCost},
        reservation::Reservation,
        slot::Slot,
    },
    call::{
        Call, InFlightCall, MemoryUse, Registry, UpstreamRequest,
        record::{self, RequestInfo, RequestRecord},
    },
    clock,
    config::TargetName,
    dispatch::{Dispatcher, ResponseTrail},
    failpoint::{self, Failpoint},
    memory::service::MemoryService,
    openai::{Api, request_body::RequestContent},
    recall::{self, Enriched},
    refusal::{AuthError, GatewayError, Refusal, RequestError},
    server::{
        active_config::ActiveConfig,
        authn::Caller,
        http::{error_response, header_names, response_body::ResponseBody},
        inbound::{InboundRequest, refused_to},
    },
    tasks::Tasks,
    telemetry::{
        metrics::{GatewayMeters, OTHER},
        trace::{Span, Tracer},
    },
    upstream::{Model, provider::FORWARDED},
    user::UserId,
};

/// What a request passes on its way.
pub(crate) struct ProxyContext {
    /// Tells whether the gateway is draining.
    pub tasks: Tasks,
    /// The calls in flight.
    pub calls: Arc<Registry>,
    /// Lets it run.
    pub admission: Arc<Admission>,
    /// Bounds its body.
    pub process_limits: Arc<ProcessLimits>,
    /// Gets the answer.
    pub dispatcher: Arc<Dispatcher>,
    /// What users said before; `None` if nothing is remembered.
    pub memory: Option<Arc<MemoryService>>,
    /// Counts it.
    pub meters: Arc<GatewayMeters>,
    /// Makes its span.
    pub tracer: Tracer,
}

/// What was asked, and for whom; nothing was granted yet.
struct ParsedRequest {
    id: Arc<str>,
    received: Instant,
    active: Arc<ActiveConfig>,
    user: UserId,
    priority: i64,
    api: Api,
    /// The model by the client's name for it.
    model: Arc<str>,
    timeout: Option<Duration>,
    memory: MemoryUse,
    cost: TokenCost,
    span: Span,
    ask: UpstreamRequest,
}

/// Answers one proxied request.
pub(crate) async fn answer(
    context: &ProxyContext,
    inbound: Box<InboundRequest>,
    caller: Caller,
    route: (Api, Cow<'static, str>),
) -> Result<Response<ResponseBody>, Refusal> {
    if context.tasks.draining().is_cancelled() {
        return Err(GatewayError::ShuttingDown.into());
    }
    let asked = read(context, inbound, caller, route).await?;
    let RateDecision { verdict, headers } = context.admission.check(&asked.admission_request()).await;
    let mut response = match verdict {
        Ok(counted) => run(context, asked, counted).await,
        Err(refusal) => refused_to(Some(&asked.user), &asked.id, &refusal),
    };
    response.body_mut().headers_mut().rates = headers;
    Ok(response)
}

/// Waits for a slot, and gets the answer.
async fn run(
    context: &ProxyContext,
    asked: Box<ParsedRequest>,
    Counted { reservation, early }: Counted,
) -> Response<ResponseBody> {
    let begun = clock::now();
    let entry = asked.enter(&context.calls);
    let slot = context.admission.acquire(&asked.admission_request(), early).await;
    let (received, queued) = (asked.received, clock::since(begun));
    match begin_call(context, asked, (reservation, slot), (entry, queued)) {
        Ok(call) => with_memory(context, call).await,
        Err((refusal, mut report)) => {
            let mut response = error_response::refuse(&refusal);
            report.refused(response.status(), error_response::code(&refusal));
            let overhead = begun.saturating_duration_since(received);
            response.body_mut().headers_mut().trail =
                Some(ResponseTrail { target: None, attempts: 0, queued, overhead });
            response
        }
    }
}

/// Gets the answer to a call that knows what its user said before, and remembers what he says now.
async fn with_memory(context: &ProxyContext, call: Box<Call>) -> Response<ResponseBody> {
    let mut recalling = call.record.span.child(|| "recall".to_owned(), SpanKind::Internal);
    let Enriched { mut call, note, remember } = recall::enrich(context.memory.as_ref(), call).await;
    if let Some(note) = &note {
        let note_text = || note.to_str().unwrap_or_default().to_owned().into();
        recalling.set_attribute(|| [("concierge.memory", note_text())]);
        call.record.remembers(note);
    }
    drop(recalling);
    let mut response = deliver(&context.dispatcher, call).await;
    if let Some(note) = note {
        response.headers_mut().insert(header_names::MEMORY, note);
    }
    match remember {
        Some(remember) if response.status().is_success() => response.map(|body| body.with_guard(remember)),
        Some(remember) => {
            remember.discard();
            response
        }
        None => response,
    }
}

/// Reads the request, and finds out for whom it is and who may be asked.
async fn read(
    context: &ProxyContext,
    mut inbound: Box<InboundRequest>,
    caller: Caller,
    (api, path): (Api, Cow<'static, str>),
) -> Result<Box<ParsedRequest>, Refusal> {
    let wishes = read_request::request_options(inbound.request.headers())?;
    let limit = inbound.active.snapshot.config.server.max_body;
    let (body, held) = read_request::body(inbound.request.body_mut(), limit, &context.process_limits).await?;
    let InboundRequest { id, received, active, request, .. } = *inbound;
    let headers = request.headers();
    let content = read_request::content(headers, &body, wishes.pin.is_some())?;
    let models = resolve_models(&active, &caller, &content, wishes.pin.as_ref())?;
    let path = match request.uri().query() {
        Some(query) => format!("{path}?{query}").into(),
        None => path,
    };
    let span = begin_trace(context, &id, received, (api, &models[0]), headers);
    Ok(Box::new(ParsedRequest {
        id,
        received,
        user: caller.user(content.claims()),
        priority: caller.priority(),
        api,
        model: Arc::from(content.model().unwrap_or(&models[0].config.name)),
        timeout: wishes.timeout,
        memory: wishes.memory,
        cost: estimate(api, &content),
        span,
        ask: UpstreamRequest {
            method: request.method().clone(),
            path,
            headers: forwarded(headers),
            body,
            held,
            content,
            models,
            pinned: wishes.pin.is_some(),
        },
        active,
    }))
}

/// The request in its trace. A model that clients name and the configuration does not is not told.
fn begin_trace(
    context: &ProxyContext,
    id: &str,
    received: Instant,
    (api, model): (Api, &Model),
    headers: &HeaderMap,
) -> Span {
    let operation = record::gen_ai(api).as_str();
    let model = if model.direct { OTHER } else { &model.config.name };
    let mut span = context.tracer.request(|| format!("{operation} {model}"), headers, received);
    span.set_attribute(|| {
        [
            ("gen_ai.operation.name", operation.into()),
            ("gen_ai.request.model", model.to_owned().into()),
            ("concierge.request.id", id.to_owned().into()),
        ]
    });
    span
}

impl ParsedRequest {
    fn admission_request(&self) -> AdmissionRequest<'_> {
        let operation = operation(self.api);
        AdmissionRequest { user: &self.user, operation, priority: self.priority, cost: Some(self.cost) }
    }

    /// Its line in the list of what is in flight.
    fn enter(&self, calls: &Arc<Registry>) -> InFlightCall {
        let operation = operation(self.api).as_str();
        calls.enter(self.id.clone(), self.user.clone(), operation, self.model.clone())
    }
}

/// With a slot, for which it was `queued`, the request is a call. Without one there is still something to tell.
fn begin_call(
    context: &ProxyContext,
    asked: Box<ParsedRequest>,
    (reservation, slot): (Reservation, Result<Slot, Refusal>),
    (entry, queued): (InFlightCall, Duration),
) -> Result<Box<Call>, (Refusal, Box<RequestRecord>)> {
    let ParsedRequest { id, received, active, user, api, model, timeout, memory, span, ask, .. } = *asked;
    let about = RequestInfo {
        id: id.clone(),
        user: user.pseudonym(),
        operation: operation(api).as_str(),
        gen_ai: record::gen_ai(api),
        model,
        received,
        queued,
    };
    let slot = match slot {
        Ok(slot) => slot,
        // Metrics count what was admitted, and refusals by their code.
        Err(refusal) => return Err((refusal, Box::new(RequestRecord::new(about, None, span, reservation)))),
    };
    failpoint::request(Failpoint::Slot, &id);
    let meters = ask.models[0].meters.clone().map(|model| (context.meters.clone(), model));
    let total = timeout.unwrap_or(active.snapshot.config.resilience.total_timeout);
    Ok(Box::new(Call {
        record: RequestRecord::new(about, meters, span, reservation),
        id,
        user,
        api,
        upstream: ask,
        snapshot: active.snapshot.clone(),
        received,
        queued,
        deadline: clock::now() + total,
        slot,
        memory,
        client_timeout: timeout.is_some(),
        capture: None,
        in_flight: entry,
    }))
}

fn operation(api: Api) -> Operation {
    match api {
        Api::Chat | Api::Completions | Api::Responses => Operation::Chat,
        Api::Embeddings => Operation::Embeddings,
        Api::Other => Operation::Other,
    }
}

/// The models to ask, in order: the one that was asked for and its fallbacks, or only the pinned target.
fn resolve_models(
    active: &ActiveConfig,
    caller: &Caller,
    content: &RequestContent,
    pin: Option<&TargetName>,
) -> Result<Vec<Arc<Model>>, Refusal> {
    let asked = content.model();
    if let Some(name) = asked.filter(|name| !caller.may_use(name)) {
        return Err(AuthError::ModelNotAllowed(name.to_owned()).into());
    }
    let unknown = |name: &str| RequestError::ModelNotFound {
        model: name.to_owned(),
        nearest: active.snapshot.nearest_model(name).filter(|nearest| caller.may_use(nearest)),
    };
    if let Some(pin) = pin {
        let id = pin.to_string();
        let served = asked.and_then(|name| active.snapshot.model(name));
        let is_of_model = served.is_some_and(|model| model.config.targets.contains(pin));
        if !is_of_model && !caller.may_use(&id) {
            return Err(AuthError::ModelNotAllowed(id).into());
        }
        return active.snapshot.ad_hoc(pin).map(|model| vec![model]).ok_or_else(|| unknown(&id).into());
    }
    let Some(name) = asked else {
        return Err(Refusal::bad_request("missing_field", Some("model"), "The field `model` is required."));
    };
    if let Some(model) = active.snapshot.model(name) {
        return Ok(active.snapshot.chain(model));
    }
    let target = TargetName::parse(name);
    let direct = target.and_then(|target| active.snapshot.ad_hoc(&target)).ok_or_else(|| unknown(name))?;
    Ok(vec![direct])
}

/// Copies: a clone of a value would keep all of the buffer that the head was read into, as long as the call.
fn forwarded(theirs: &HeaderMap) -> HeaderMap {
    // Most say what they send and what they take. A map with room for more would stay as long as the call.
    let mut headers = HeaderMap::with_capacity(2);
    for (name, value) in theirs.iter().filter(|(name, _)| FORWARDED.contains(name)) {
        let copied = match value.as_bytes() {
            // Nearly all say this and nothing else.
            b"application/json" => Ok(HeaderValue::from_static("application/json")),
            other => HeaderValue::from_bytes(other),
        };
        if let Ok(copied) = copied {
            headers.entry(name).or_insert(copied);
        }
    }
    headers
}
