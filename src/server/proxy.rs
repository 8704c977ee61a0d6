//! The life of a proxied request: **slot → call → recall → attempts → relay**.

use std::sync::Arc;

use http::{HeaderMap, Response};
use tokio::{select, time::Instant};

use super::{Edge, Gateway, Incomer, auth::Caller, body::ReplyBody, deliver::deliver, intake};
use crate::{
    admission::{
        Operation,
        slots::{Slot, SlotRefusal},
    },
    api::{Api, content::Content},
    call::{Ask, Call},
    config::TargetName,
    recall,
    refusal::Refusal,
    report::Report,
    upstream::{Model, provider::FORWARDED},
    user::UserId,
};

/// Answers one proxied request.
pub async fn answer(
    gateway: &Arc<Gateway>,
    incomer: Incomer,
    caller: Caller,
    (api, path): (Api, String),
) -> Result<Response<ReplyBody>, Refusal> {
    if gateway.tasks.draining().is_cancelled() {
        return Err(Refusal::ShuttingDown);
    }
    let call = admit(gateway, incomer, caller, (api, path)).await?;
    let call = recall::enrich(call).await;
    Ok(deliver(gateway, call).await)
}

/// Reads the request, finds out for whom it is and who may be asked, and waits for a slot.
async fn admit(
    gateway: &Arc<Gateway>,
    incomer: Incomer,
    caller: Caller,
    (api, path): (Api, String),
) -> Result<Box<Call>, Refusal> {
    let Incomer { id, received, edge, request, .. } = incomer;
    let (parts, body) = request.into_parts();
    let wishes = intake::wishes(&parts.headers)?;
    let body = intake::body(body, edge.snapshot.config.server.max_body).await?;
    let content = intake::content(&parts.headers, &body, wishes.pin.is_some())?;
    let user = caller.user(content.claims());
    let models = who_may_be_asked(&edge, &caller, &content, wishes.pin.as_ref())?;
    let name = content.model().map_or_else(|| models[0].config.name.clone(), str::to_owned);
    let operation = operation(api);
    let entry = gateway.calls.enter(id.clone(), user.clone(), operation.as_str(), name.clone());
    let asked = Instant::now();
    let slot = wait_for_slot(gateway, &user, operation, caller.priority()).await?;
    let queued = asked.elapsed();
    let total = wishes.timeout.unwrap_or(edge.snapshot.config.resilience.total_timeout);
    let path = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let ask = Ask {
        method: parts.method,
        path,
        headers: forwarded(&parts.headers),
        body,
        content,
        models,
        pinned: wishes.pin.is_some(),
    };
    Ok(Box::new(Call {
        report: Report::new(id.clone(), operation.as_str(), name, received),
        id,
        user,
        api,
        ask,
        snapshot: edge.snapshot.clone(),
        received,
        queued,
        deadline: Instant::now() + total,
        slot,
        impatient: wishes.timeout.is_some(),
        entry,
    }))
}

/// Who still waits when the gateway is drained has not begun, and is told to go elsewhere.
async fn wait_for_slot(
    gateway: &Gateway,
    user: &UserId,
    operation: Operation,
    priority: i64,
) -> Result<Slot, Refusal> {
    select! {
        biased;
        slot = gateway.slots.acquire(user, operation, priority) => slot.map_err(|refusal| match refusal {
            SlotRefusal::QueueFull { retry_after } => Refusal::QueueFull { retry_after },
            SlotRefusal::QueueTimeout { retry_after } => Refusal::QueueTimeout { retry_after },
            SlotRefusal::Overloaded { retry_after } => Refusal::Overloaded { retry_after },
        }),
        () = gateway.tasks.draining().cancelled() => Err(Refusal::ShuttingDown),
    }
}

fn operation(api: Api) -> Operation {
    match api {
        Api::Chat | Api::Completions | Api::Responses => Operation::Chat,
        Api::Embeddings => Operation::Embeddings,
        Api::Other => Operation::Other,
    }
}

/// The models to ask, in order: the one that was asked for and its fallbacks, or only the pinned target.
fn who_may_be_asked(
    edge: &Edge,
    caller: &Caller,
    content: &Content,
    pin: Option<&TargetName>,
) -> Result<Vec<Arc<Model>>, Refusal> {
    let asked = content.model();
    if let Some(name) = asked.filter(|name| !caller.may_use(name)) {
        return Err(Refusal::ModelNotAllowed(name.to_owned()));
    }
    let unknown = |name: &str| Refusal::ModelNotFound {
        model: name.to_owned(),
        nearest: edge.snapshot.nearest_model(name).filter(|nearest| caller.may_use(nearest)),
    };
    if let Some(pin) = pin {
        let id = pin.to_string();
        let served = asked.and_then(|name| edge.snapshot.model(name));
        let is_of_model = served.is_some_and(|model| model.config.targets.contains(pin));
        if !is_of_model && !caller.may_use(&id) {
            return Err(Refusal::ModelNotAllowed(id));
        }
        return edge.snapshot.direct(pin).map(|model| vec![model]).ok_or_else(|| unknown(&id));
    }
    let Some(name) = asked else {
        return Err(Refusal::bad_request("missing_field", Some("model"), "the field `model` is required"));
    };
    if let Some(model) = edge.snapshot.model(name) {
        return Ok(edge.snapshot.chain(model));
    }
    let target = TargetName::parse(name);
    let direct = target.and_then(|target| edge.snapshot.direct(&target)).ok_or_else(|| unknown(name))?;
    Ok(vec![direct])
}

fn forwarded(theirs: &HeaderMap) -> HeaderMap {
    FORWARDED.iter().filter_map(|name| Some((name.clone(), theirs.get(name)?.clone()))).collect()
}
