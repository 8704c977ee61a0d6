//! A caller's own memories and context, from the request to the answer: **user → body → limits → slot → store →
//! response**.
//!
//! The user of a request comes from the key, a signed token or a trusted header, never from the body: nothing in
//! here may take a user's name from what the user wrote.

pub(crate) mod context;
pub(crate) mod memories;
pub(crate) mod store_access;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, header, request::Parts};

use self::{context::ContextRequest, memories::MemoryRequest, store_access::StoreAccess};
use super::proxy::read_request;
use crate::{
    admission::{
        Admission, Counted, RateDecision,
        process_limits::ProcessLimits,
        request::{AdmissionRequest, Operation},
    },
    call::Registry,
    config,
    failpoint::{self, Failpoint},
    memory::service::MemoryService,
    refusal::{GatewayError, MemoryError, Refusal, RequestError},
    server::{
        active_config::ActiveConfig,
        authn::Caller,
        http::response_body::ResponseBody,
        inbound::{InboundRequest, refused_to},
        router::{ContextRoute, MemoryRoute, UserDataRoute},
    },
    tasks::Tasks,
    user::UserId,
};

/// What such a request passes on its way.
pub(crate) struct UserDataContext {
    /// Tells whether the gateway is draining.
    pub tasks: Tasks,
    /// The calls in flight.
    pub calls: Arc<Registry>,
    /// Lets it run.
    pub admission: Arc<Admission>,
    /// Bounds its body.
    pub process_limits: Arc<ProcessLimits>,
    /// Memory, if it is on.
    pub memory: Option<Arc<MemoryService>>,
}

/// What a caller wants, read and checked: all that is left to do is to ask the store.
pub(crate) enum UserDataRequest {
    /// About memories.
    Memories(MemoryRequest),
    /// About the context.
    Context(ContextRequest),
}

/// A request that was not counted yet.
struct ParsedUserDataRequest {
    id: Arc<str>,
    user_request: UserDataRequest,
    priority: i64,
}

/// Answers one request about the caller's own memories or context.
pub(crate) async fn answer(
    context: &UserDataContext,
    inbound: Box<InboundRequest>,
    caller: Caller,
    route: UserDataRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    if context.tasks.draining().is_cancelled() {
        return Err(GatewayError::ShuttingDown.into());
    }
    let memory = context.memory.clone().ok_or(MemoryError::Disabled)?;
    let InboundRequest { id, active, request, .. } = *inbound;
    let user = subject(&active, &caller)?;
    let (parts, mut body) = request.into_parts();
    let most = body_limit(&route, active.snapshot.config.server.max_body);
    if most.is_some() {
        check_is_json(&parts.headers, route == UserDataRoute::Context(ContextRoute::Merge))?;
    }
    // The body is read before a slot is asked for, so that a slow upload holds none.
    let (body, _held) = match most {
        Some(limit) => read_request::body(&mut body, limit, &context.process_limits).await?,
        None => Default::default(),
    };
    let asked = ParsedUserDataRequest {
        id: id.clone(),
        user_request: read(route, &parts, &body)?,
        priority: caller.priority(),
    };
    let limit = time_limit(asked.user_request.operation(), &active.snapshot.config.memory);
    let access = StoreAccess { memory, user: user.clone(), limit, tasks: context.tasks.clone() };
    let RateDecision { verdict, headers } = context.admission.check(&asked.admission_request(&user)).await;
    let answered = match verdict {
        Ok(counted) => run(context, asked, access, counted).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(&user), &id, &refusal));
    response.body_mut().headers_mut().rates = headers;
    Ok(response)
}

/// Waits for a slot, and asks the store.
async fn run(
    context: &UserDataContext,
    asked: ParsedUserDataRequest,
    access: StoreAccess,
    counted: Counted,
) -> Result<Response<ResponseBody>, Refusal> {
    let operation = asked.user_request.operation().as_str();
    let entry = context.calls.enter(asked.id.clone(), access.user.clone(), operation, "".into());
    let slot = context.admission.acquire(&asked.admission_request(&access.user), counted.early).await?;
    let ParsedUserDataRequest { id, user_request, .. } = asked;
    failpoint::request(Failpoint::Slot, &id);
    let response = match user_request {
        UserDataRequest::Memories(user_request) => memories::run(&access, user_request).await,
        UserDataRequest::Context(user_request) => context::run(&access, user_request).await,
    }?;
    Ok(response.map(|body| body.with_guard((slot, entry))))
}

/// The caller. Callers without a name would share one memory, unless the configuration allows that.
fn subject(active: &ActiveConfig, caller: &Caller) -> Result<UserId, Refusal> {
    let user = caller.user([None; 3]);
    if user.is_anonymous() && !active.snapshot.config.memory.anonymous {
        let message = "Memories and contexts belong to a user: send the user id in the header x-user-id.";
        return Err(Refusal::bad_request("missing_field", Some("x-user-id"), message));
    }
    Ok(user)
}

fn read(route: UserDataRoute, parts: &Parts, body: &Bytes) -> Result<UserDataRequest, Refusal> {
    Ok(match route {
        UserDataRoute::Memories(route) => UserDataRequest::Memories(memories::read(route, parts, body)?),
        UserDataRoute::Context(route) => {
            UserDataRequest::Context(context::read(route, &parts.headers, body)?)
        }
    })
}

/// The largest body in bytes; `None` for a request whose body, if it has one, is not read.
fn body_limit(route: &UserDataRoute, max_body: usize) -> Option<usize> {
    match route {
        UserDataRoute::Memories(MemoryRoute::Add | MemoryRoute::Search) => Some(max_body),
        UserDataRoute::Context(ContextRoute::Replace | ContextRoute::Merge) => {
            Some(context::MAX_BODY.min(max_body))
        }
        UserDataRoute::Memories(
            MemoryRoute::List | MemoryRoute::Forget | MemoryRoute::Get(_) | MemoryRoute::ForgetOne(_),
        )
        | UserDataRoute::Context(ContextRoute::Read) => None,
    }
}

fn time_limit(operation: Operation, config: &config::MemoryConfig) -> Duration {
    match operation {
        Operation::UpdateContext => config.update_context_timeout,
        Operation::GetContext | Operation::Chat | Operation::Embeddings | Operation::Other => {
            config.get_context_timeout
        }
    }
}

/// JSON under its own name, under none, or under the one that curl gives to everything. A JSON *patch* (RFC 6902) is
/// another language than a merge patch, and would be stored as what it says instead of what it means.
fn check_is_json(headers: &HeaderMap, patch: bool) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let mime = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match mime.as_str() {
        "" | "application/json" | "application/x-www-form-urlencoded" => Ok(()),
        "application/merge-patch+json" if patch => Ok(()),
        _ => Err(RequestError::UnsupportedMedia(mime).into()),
    }
}

impl ParsedUserDataRequest {
    fn admission_request<'a>(&self, user: &'a UserId) -> AdmissionRequest<'a> {
        let operation = self.user_request.operation();
        AdmissionRequest { user, operation, priority: self.priority, cost: None }
    }
}

impl UserDataRequest {
    /// Reads wait with reads, and writes with writes.
    fn operation(&self) -> Operation {
        let writes = match self {
            Self::Memories(user_request) => user_request.writes(),
            Self::Context(user_request) => matches!(user_request, ContextRequest::Write { .. }),
        };
        if writes { Operation::UpdateContext } else { Operation::GetContext }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_json_is_json() {
        let check = |kind: &'static str, patch| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            check_is_json(&headers, patch).is_ok()
        };
        assert!(check_is_json(&HeaderMap::new(), false).is_ok());
        assert!(check("Application/JSON; charset=utf-8", false));
        assert!(check("application/merge-patch+json", true));
        assert!(!check("application/merge-patch+json", false));
        for kind in ["application/json-patch+json", "text/plain", "application/xml", "multipart/form-data"] {
            assert!(!check(kind, true), "{kind}");
        }
    }
}
