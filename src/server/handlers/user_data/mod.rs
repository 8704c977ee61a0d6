//! A caller's own memories and context, from the request to the answer: **who → body → limits → slot → store →
//! reply**.
//!
//! Whom a request is for comes from the key, a signed token or a trusted header, never from the body: nothing in
//! here may take a user's name from what the user wrote.

pub(crate) mod context;
pub(crate) mod memories;

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, header, request::Parts};
use tokio::time::timeout;

use self::{context::ContextRequest, memories::MemoryRequest};
use super::proxy::read_request;
use crate::{
    admission::{
        Counted, RateDecision,
        request::{AdmissionRequest, Operation},
    },
    config,
    failpoint::{self, Failpoint},
    memory::{
        service::MemoryService,
        store::{Forgotten, StoreError},
    },
    refusal::{GatewayError, MemoryError, Refusal, RequestError},
    server::{
        ActiveConfig, Gateway, InboundRequest, authn::Caller, http::response_body::ResponseBody, refused_to,
        router::UserDataRoute,
    },
    tasks::Tasks,
    user::UserId,
};

/// What a caller wants, read and checked: all that is left to do is to ask the store.
pub enum UserDataRequest {
    /// About memories.
    Memories(MemoryRequest),
    /// About the context.
    Context(ContextRequest),
}

/// An errand that was not counted yet.
struct ParsedUserDataRequest {
    id: Arc<str>,
    user_request: UserDataRequest,
    priority: i64,
}

/// For whom the store is asked, and how long it may take.
#[derive(Clone)]
pub struct StoreAccess {
    /// Memory.
    pub memory: Arc<MemoryService>,
    /// Whose.
    pub user: UserId,
    /// Longest wait for one answer of the store.
    pub limit: Duration,
    /// For answers that take long: they end with the process.
    pub tasks: Tasks,
}

/// Answers one request about the caller's own memories or context.
pub async fn answer(
    gateway: &Arc<Gateway>,
    inbound: Box<InboundRequest>,
    caller: Caller,
    own: UserDataRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    if gateway.tasks.draining().is_cancelled() {
        return Err(GatewayError::ShuttingDown.into());
    }
    let memory = gateway.memory.clone().ok_or(MemoryError::Disabled)?;
    let InboundRequest { id, active, request, .. } = *inbound;
    let user = subject(&active, &caller)?;
    let (parts, mut body) = request.into_parts();
    let most = body_limit(&own, &active.snapshot.config);
    if most.is_some() {
        check_is_json(&parts.headers, own == UserDataRoute::MergeContext)?;
    }
    // The body is read before a slot is asked for, so that a slow upload holds none.
    let (body, _held) = match most {
        Some(limit) => read_request::body(&mut body, limit, &gateway.process_limits).await?,
        None => Default::default(),
    };
    let asked = ParsedUserDataRequest {
        id: id.clone(),
        user_request: read(own, &parts, &body)?,
        priority: caller.priority(),
    };
    let limit = time_limit(asked.user_request.operation(), &active.snapshot.config.memory);
    let access = StoreAccess { memory, user: user.clone(), limit, tasks: gateway.tasks.clone() };
    let RateDecision { verdict, headers } = gateway.admission.check(&asked.admission_request(&user)).await;
    let answered = match verdict {
        Ok(counted) => run(gateway, asked, access, counted).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(&user), &id, &refusal));
    response.body_mut().headers_mut().rates = headers;
    Ok(response)
}

/// Waits for a slot, and does it.
async fn run(
    gateway: &Gateway,
    asked: ParsedUserDataRequest,
    access: StoreAccess,
    counted: Counted,
) -> Result<Response<ResponseBody>, Refusal> {
    let operation = asked.user_request.operation().as_str();
    let entry = gateway.calls.enter(asked.id.clone(), access.user.clone(), operation, "".into());
    let slot = gateway.admission.acquire(&asked.admission_request(&access.user), counted.early).await?;
    let ParsedUserDataRequest { id, user_request, .. } = asked;
    failpoint::request(Failpoint::Slot, &id);
    let response = match user_request {
        UserDataRequest::Memories(user_request) => memories::run(&access, user_request).await,
        UserDataRequest::Context(user_request) => context::run(&access, user_request).await,
    }?;
    Ok(response.map(|body| body.with_guard((slot, entry))))
}

/// The caller; who does not say who it is would share a memory with everybody else who does not.
fn subject(active: &ActiveConfig, caller: &Caller) -> Result<UserId, Refusal> {
    let user = caller.user([None; 3]);
    if user.is_anonymous() && !active.snapshot.config.memory.anonymous {
        let message = "Memories and contexts belong to a user: say who the user is in the header x-user-id.";
        return Err(Refusal::bad_request("missing_field", Some("x-user-id"), message));
    }
    Ok(user)
}

fn read(own: UserDataRoute, parts: &Parts, body: &Bytes) -> Result<UserDataRequest, Refusal> {
    match own {
        UserDataRoute::ReadContext | UserDataRoute::ReplaceContext | UserDataRoute::MergeContext => {
            context::read(&own, &parts.headers, body).map(UserDataRequest::Context)
        }
        other => memories::read(other, parts, body).map(UserDataRequest::Memories),
    }
}

/// The largest body in bytes; `None` for a request whose body, if it has one, is not read.
fn body_limit(own: &UserDataRoute, config: &config::Config) -> Option<usize> {
    match own {
        UserDataRoute::Add | UserDataRoute::Search => Some(config.server.max_body),
        UserDataRoute::ReplaceContext | UserDataRoute::MergeContext => {
            Some(context::MAX_BODY.min(config.server.max_body))
        }
        UserDataRoute::List
        | UserDataRoute::Forget
        | UserDataRoute::Get(_)
        | UserDataRoute::ForgetOne(_)
        | UserDataRoute::ReadContext => None,
    }
}

fn time_limit(operation: Operation, config: &config::Memory) -> Duration {
    match operation {
        Operation::UpdateContext => config.update_context_timeout,
        _ => config.get_context_timeout,
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

impl StoreAccess {
    /// What the store says to `work`, within the time limit: see [`ask`].
    ///
    /// # Errors
    /// The refusal that the store's trouble means to the client; the log has the rest.
    pub async fn call_store<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        ask(self.limit, work).await
    }
}

/// What the store says to `work`, within `limit`.
///
/// # Errors
/// The refusal that the store's trouble means to the client; the log has the rest.
pub async fn ask<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Refusal> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| refusal(&error)),
        Err(_) => {
            tracing::warn!(?limit, "the memory store did not answer in time");
            let message = "The memory store did not answer in time; a write may have been done or not.";
            Err(MemoryError::StoreUnavailable(message).into())
        }
    }
}

/// How many memories are gone; a refusal if their text may still be in the files.
pub fn after_erasure(forgotten: &Forgotten) -> Result<usize, Refusal> {
    let message = "The memories are gone, but their text could not be wiped from the files yet: \
        please repeat the request.";
    if forgotten.erased {
        Ok(forgotten.seqs.len())
    } else {
        Err(MemoryError::StoreUnavailable(message).into())
    }
}

fn refusal(error: &StoreError) -> Refusal {
    let message = error.for_client();
    match error {
        StoreError::Duplicate => MemoryError::Duplicate(message).into(),
        StoreError::Stale { etag } => MemoryError::PreconditionFailed { etag: etag.clone() }.into(),
        StoreError::NotAnObject => Refusal::bad_request("invalid_type", None, message),
        StoreError::TooLarge { limit } => RequestError::TooLarge { limit: *limit }.into(),
        outage => {
            tracing::error!(error = %outage, "the memory store");
            MemoryError::StoreUnavailable(message).into()
        }
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

    #[test]
    fn what_the_store_cannot_do_is_told_in_the_clients_terms() {
        assert!(matches!(refusal(&StoreError::Duplicate), Refusal::Memory(MemoryError::Duplicate(_))));
        let stale = StoreError::Stale { etag: "\"a\"".into() };
        assert_eq!(refusal(&stale), MemoryError::PreconditionFailed { etag: "\"a\"".into() }.into());
        assert!(matches!(refusal(&StoreError::NotAnObject), Refusal::Request(RequestError::Invalid(_))));
        for outage in [StoreError::Busy, StoreError::Full, StoreError::Corrupt("/secret/path".into())] {
            let Refusal::Memory(MemoryError::StoreUnavailable(message)) = refusal(&outage) else {
                panic!("{outage}")
            };
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn what_is_still_in_the_files_is_not_forgotten() {
        let forgotten = |erased| Forgotten { seqs: vec![1, 2], epoch: 3, erased };
        assert_eq!(after_erasure(&forgotten(true)), Ok(2));
        assert!(matches!(
            after_erasure(&forgotten(false)),
            Err(Refusal::Memory(MemoryError::StoreUnavailable(_)))
        ));
    }
}
