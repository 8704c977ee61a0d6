//! The admin routes: what operators see, and what they do to the targets.
//!
//! The caller is known to be an operator. No answer holds a secret, and none may be cached.

pub(crate) mod page;
pub(crate) mod users;

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{
    admin::{
        self, Moment,
        content_negotiation::{preferred_format, prefers_html},
        event_stream, explain,
        history::History,
        metrics::{self, Sources},
        summary::Summary,
        view::{self, TargetRow},
    },
    admission::Admission,
    call::Registry,
    cluster::RedisClient,
    dispatch::budget::Budget,
    events::Events,
    gossip::Gossip,
    memory::service::MemoryService,
    refusal::{GatewayError, Refusal, RequestError},
    server::{
        active_config::ActiveConfig,
        http::{error_response, header_names, response_body::ResponseBody},
        reload_handle::ReloadHandle,
        router::{AdminRoute, TargetAction},
    },
    tasks::Tasks,
    telemetry::{metrics::GatewayMeters, trace::Tracer},
    upstream::{RequestNeed, Snapshot, Target, health::score::LatencyKind},
};

/// What operators look at, and what they may do.
pub(crate) struct AdminContext {
    /// Ends streams of events with the process.
    pub tasks: Tasks,
    /// The calls in flight.
    pub calls: Arc<Registry>,
    /// The slots and limits of users.
    pub admission: Arc<Admission>,
    /// How many attempts may be repeats.
    pub retry_budget: Arc<Budget>,
    /// Memory, if it is on.
    pub memory: Option<Arc<MemoryService>>,
    /// What gateways share, if they do.
    pub redis: Option<RedisClient>,
    /// What they tell each other of the targets; likewise.
    pub gossip: Option<Gossip>,
    /// What happened, and what happens.
    pub events: Events,
    /// The last minutes of every target.
    pub history: Arc<History>,
    /// What is counted of the gateway as a whole.
    pub meters: Arc<GatewayMeters>,
    /// Counts the spans that were lost.
    pub tracer: Tracer,
    /// Reads the configuration again.
    pub reload: Arc<ReloadHandle>,
}

/// What an admin route looks at of its request.
pub(crate) struct AdminRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The headers, for `accept`.
    pub headers: &'a HeaderMap,
    /// The query.
    pub query: Option<&'a str>,
}

impl<'a, B> From<&'a Request<B>> for AdminRequest<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self { method: request.method(), headers: request.headers(), query: request.uri().query() }
    }
}

/// Answers an admin route.
///
/// # Errors
/// There is no such target or model, or a parameter is wrong.
pub(crate) async fn answer(
    context: &AdminContext,
    active: &ActiveConfig,
    route: &AdminRoute,
    asked: AdminRequest<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let snapshot = &active.snapshot;
    let html = prefers_html(asked.headers);
    let response = match route {
        AdminRoute::Page => page::show(context, active, asked.headers).await,
        AdminRoute::Providers if html => page::show(context, active, asked.headers).await,
        AdminRoute::Providers => providers(snapshot),
        AdminRoute::Summary => ok(&Summary(&view::rows(snapshot, Moment::current()))),
        AdminRoute::Operate(id, action) => apply_action(snapshot, id, *action)?,
        AdminRoute::Requests => ok(&json!({ "requests": context.calls.view(Instant::now()) })),
        AdminRoute::Metrics => metrics(context, active, asked.headers).await?,
        AdminRoute::Slots => ok(&context.admission.slots_view()),
        AdminRoute::Config => {
            ok(&json!({ "config": snapshot.config.masked(), "last_reload": context.reload.last() }))
        }
        AdminRoute::Reload => reloaded(json!(context.reload.reload())),
        AdminRoute::Events => events(context),
        AdminRoute::Explain => explained(snapshot, asked.query)?,
        AdminRoute::OpenApi => error_response::json(StatusCode::OK, admin::OPENAPI),
        AdminRoute::Users(route) => users::answer(context, active, route, asked.query).await?,
    };
    // A form of the page that was sent without its script: the page shows how it went.
    Ok(if html && asked.method == Method::POST { page::back() } else { response })
}

fn ok(body: &impl Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(body) {
        Ok(body) => error_response::json(StatusCode::OK, body),
        Err(error) => {
            tracing::error!(%error, "cannot serialise an admin view");
            error_response::refuse(&GatewayError::Internal.into())
        }
    }
}

fn providers(snapshot: &Snapshot) -> Response<ResponseBody> {
    let mut response = ok(&json!({ "providers": view::rows(snapshot, Moment::current()) }));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// The targets that a request would try now: `?model=`, and for other than short streams `&stream=false` and `&tokens=`.
fn explained(snapshot: &Snapshot, query: Option<&str>) -> Result<Response<ResponseBody>, Refusal> {
    let (mut name, mut need) = (None, RequestNeed { kind: LatencyKind::Stream, tokens: 0 });
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match (&*key, &*value) {
            ("model", _) => name = Some(value.into_owned()),
            ("stream", "true") => need.kind = LatencyKind::Stream,
            ("stream", "false") => need.kind = LatencyKind::Whole,
            ("stream", _) => return Err(wrong("stream", "must be true or false")),
            ("tokens", _) => match value.parse() {
                Ok(tokens) => need.tokens = tokens,
                Err(_) => return Err(wrong("tokens", "must be a number of tokens")),
            },
            _ => return Err(wrong(&key, "is unknown; known parameters are model, stream and tokens")),
        }
    }
    let name = name.ok_or_else(|| wrong("model", "is required: the name of a model or a target"))?;
    let Some(model) = explain::find(snapshot, &name) else {
        let nearest = snapshot.nearest_model(&name);
        return Err(RequestError::ModelNotFound { model: name, nearest }.into());
    };
    Ok(ok(&explain::explain(snapshot, &model, need, Moment::current())))
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::bad_request("invalid_type", Some(name), format!("The query parameter `{name}` {what}."))
}

/// Applies `action` to the target `id`, or to every target of the provider `id`; answers how they are now.
fn apply_action(
    snapshot: &Snapshot,
    id: &str,
    action: TargetAction,
) -> Result<Response<ResponseBody>, Refusal> {
    let whole = snapshot.provider(id);
    let targets = targets_of(snapshot, id);
    if targets.is_empty() && whole.is_none() {
        return Err(RequestError::TargetNotFound(id.to_owned()).into());
    }
    // Before its targets: one that appears in between is drained, too.
    match (whole, action) {
        (Some(provider), TargetAction::Drain) => provider.drain(true),
        (Some(provider), TargetAction::Resume) => provider.drain(false),
        (Some(_), TargetAction::Reset) | (None, _) => {}
    }
    let now = Instant::now();
    for target in &targets {
        tracing::info!(target_id = %target.id, hand = ?action, "operator action on a target");
        match action {
            TargetAction::Drain => target.state.drain(true, now),
            TargetAction::Resume => target.state.drain(false, now),
            TargetAction::Reset => target.state.reset(snapshot.config.routing.half_life, now),
        }
    }
    let touched = |row: &TargetRow| targets.iter().any(|target| *target.id == *row.id);
    let rows: Vec<TargetRow> = view::rows(snapshot, Moment::current()).into_iter().filter(touched).collect();
    Ok(ok(&json!({ "providers": rows })))
}

/// The target `provider/model`, or all targets of a provider.
fn targets_of(snapshot: &Snapshot, id: &str) -> Vec<Arc<Target>> {
    let by_provider = |target: &Arc<Target>| target.name.provider == id;
    match snapshot.find(id) {
        Some(target) => vec![target],
        None => snapshot.targets().into_iter().filter(by_provider).collect(),
    }
}

/// How a reload went: 200, or 400 with the same fields beside the usual `error`.
fn reloaded(mut outcome: Value) -> Response<ResponseBody> {
    if outcome["ok"] == true {
        return ok(&outcome);
    }
    let messages = outcome["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let message = format!("The configuration was not reloaded: {}", messages.collect::<Vec<_>>().join("; "));
    outcome["error"] = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": "invalid_config" });
    error_response::json(StatusCode::BAD_REQUEST, outcome.to_string())
}

async fn metrics(
    context: &AdminContext,
    active: &ActiveConfig,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, Refusal> {
    let format = preferred_format(headers);
    let sources = Sources {
        snapshot: &active.snapshot,
        gateway: &context.meters,
        budget: &context.retry_budget,
        admission: &context.admission,
        calls: &context.calls,
        memory: context.memory.as_deref(),
        redis: context.redis.as_ref(),
        peers: context.gossip.as_ref(),
        events_lost: context.events.losses().count(),
        spans_lost: context.tracer.lost(),
    };
    let page = metrics::page(sources, Moment::current()).await;
    let mut response =
        Response::new(ResponseBody::whole(page.text(format).map_err(|_| GatewayError::Internal)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn events(context: &AdminContext) -> Response<ResponseBody> {
    let stream = event_stream::stream(&context.events, context.tasks.shutdown().clone());
    let mut response = Response::new(ResponseBody::stream(Box::pin(stream.map(Ok))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header_names::BUFFERING, HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests;
