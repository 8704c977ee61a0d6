//! The admin routes: what operators see, and the operator's hand on the targets.
//!
//! Who may come here was decided before. No answer holds a secret, and none may be cached.

use std::sync::Arc;

use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Edge, Gateway,
    body::ReplyBody,
    reply,
    routes::{Hand, Route},
};
use crate::{
    admin::{
        Moment,
        accept::{preferred_format, prefers_html},
        metrics::{self, Sources},
        page,
        summary::Summary,
        view::{self, Row},
        watch,
    },
    refusal::Refusal,
    upstream::{Snapshot, Target},
};

/// Answers an admin route. `headers`: the request's, for its `accept`.
pub async fn answer(
    gateway: &Arc<Gateway>,
    edge: &Edge,
    route: &Route,
    headers: &HeaderMap,
) -> Result<Response<ReplyBody>, Refusal> {
    let snapshot = &edge.snapshot;
    Ok(match route {
        Route::Page => providers(snapshot, true),
        Route::Providers => providers(snapshot, prefers_html(headers)),
        Route::Summary => ok(&Summary(&view::rows(snapshot, Moment::current()))),
        Route::Operate(id, hand) => operate(snapshot, id, *hand)?,
        Route::Requests => ok(&json!({ "requests": gateway.calls.view(Instant::now()) })),
        Route::Metrics => metrics(gateway, edge, headers).await?,
        Route::Slots => ok(&gateway.slots.view()),
        Route::Config => {
            ok(&json!({ "config": snapshot.config.masked(), "last_reload": *gateway.last_reload.lock() }))
        }
        Route::Reload => reloaded(json!(super::reload::reload(gateway))),
        Route::Events => events(gateway),
        other => return Err(Refusal::RouteNotFound(format!("{other:?}"))),
    })
}

fn ok(body: &impl Serialize) -> Response<ReplyBody> {
    match serde_json::to_vec(body) {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(error) => {
            tracing::error!(%error, "an admin view does not serialise");
            reply::refuse(&Refusal::Internal)
        }
    }
}

fn providers(snapshot: &Snapshot, html: bool) -> Response<ReplyBody> {
    let at = Moment::current();
    let rows = view::rows(snapshot, at);
    let mut response =
        if html { document(page::render(&rows, at)) } else { ok(&json!({ "providers": rows })) };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// An HTML page that may do nothing but be read.
fn document(html: String) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(html));
    let policy = HeaderValue::from_str(&page::policy());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let strictest = HeaderValue::from_static("default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.unwrap_or(strictest));
    response
}

/// Lays `hand` on the target `id`, or on every target of the provider `id`; answers how they are now.
fn operate(snapshot: &Snapshot, id: &str, hand: Hand) -> Result<Response<ReplyBody>, Refusal> {
    let whole = snapshot.provider(id);
    let targets = targets_of(snapshot, id);
    if targets.is_empty() && whole.is_none() {
        return Err(Refusal::TargetNotFound(id.to_owned()));
    }
    // Before its targets: one that appears in between is drained, too.
    match (whole, hand) {
        (Some(provider), Hand::Drain) => provider.drain(true),
        (Some(provider), Hand::Resume) => provider.drain(false),
        _ => {}
    }
    let now = Instant::now();
    for target in &targets {
        tracing::info!(target_id = %target.id, ?hand, "an operator's hand");
        match hand {
            Hand::Drain => target.known.drain(true, now),
            Hand::Resume => target.known.drain(false, now),
            Hand::Reset => target.known.reset(snapshot.config.routing.half_life, now),
        }
    }
    let touched = |row: &Row| targets.iter().any(|target| *target.id == *row.id);
    let rows: Vec<Row> = view::rows(snapshot, Moment::current()).into_iter().filter(touched).collect();
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
fn reloaded(mut outcome: Value) -> Response<ReplyBody> {
    if outcome["ok"] == true {
        return ok(&outcome);
    }
    let messages = outcome["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let message = format!("The configuration was not replaced: {}", messages.collect::<Vec<_>>().join("; "));
    outcome["error"] = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": "invalid_config" });
    reply::json(StatusCode::BAD_REQUEST, outcome.to_string())
}

async fn metrics(
    gateway: &Gateway,
    edge: &Edge,
    headers: &HeaderMap,
) -> Result<Response<ReplyBody>, Refusal> {
    let format = preferred_format(headers);
    let sources = Sources {
        snapshot: &edge.snapshot,
        gateway: &gateway.meters,
        budget: &gateway.dispatcher.budget,
        slots: &gateway.slots,
        calls: &gateway.calls,
        memory: gateway.memory.as_deref(),
        events_lost: gateway.events.losses().count(),
        spans_lost: gateway.tracer.lost(),
    };
    let page = metrics::page(sources, Moment::current()).await;
    let mut response = Response::new(ReplyBody::whole(page.text(format).map_err(|_| Refusal::Internal)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn events(gateway: &Gateway) -> Response<ReplyBody> {
    let stream = watch::stream(&gateway.events, gateway.tasks.shutdown().clone());
    let mut response = Response::new(ReplyBody::stream(Box::pin(stream.map(Ok))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
