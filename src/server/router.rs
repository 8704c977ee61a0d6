//! Which request is for whom, and who may make it.
//!
//! Deny by default: a [`Route`] is in the group of those who may take it, so neither its policy nor its handler can be
//! forgotten.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::openai::Api;

/// What a request is for, by who may make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// For anybody: it reveals nothing.
    Public(PublicRoute),
    /// For clients, by their key.
    Client(ClientRoute),
    /// For operators.
    Admin(AdminRoute),
}

/// What anybody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicRoute {
    /// `GET /livez`, `/healthz`
    Live,
    /// `GET /readyz`
    Ready,
}

/// What clients may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientRoute {
    /// To a provider; the path below `/v1`.
    Proxy(Api, Cow<'static, str>),
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(String),
    /// The caller's own memories and context.
    UserData(UserDataRoute),
}

/// What operators may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminRoute {
    /// `GET /admin`
    Page,
    /// `GET /admin/providers`
    Providers,
    /// `GET /admin/providers/summary`
    Summary,
    /// `POST /admin/providers/{id}/{action}`
    Operate(String, TargetAction),
    /// `GET /admin/requests`
    Requests,
    /// `GET /metrics`
    Metrics,
    /// `GET /admin/slots`
    Slots,
    /// `GET /admin/config`
    Config,
    /// `POST /admin/reload`
    Reload,
    /// `GET /admin/events`
    Events,
    /// `GET /admin/explain`
    Explain,
    /// `GET /admin/openapi.json`
    OpenApi,
    /// An operator's view of users' memories.
    Users(AdminUserRoute),
}

/// What a caller does with what is stored for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UserDataRoute {
    Memories(MemoryRoute),
    Context(ContextRoute),
}

/// What a caller does with its own memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemoryRoute {
    /// `GET /v1/memories`
    List,
    /// `POST /v1/memories`
    Add,
    /// `DELETE /v1/memories`
    Forget,
    /// `GET /v1/memories/{id}`
    Get(String),
    /// `DELETE /v1/memories/{id}`
    ForgetOne(String),
    /// `POST /v1/memories/search`
    Search,
}

/// What a caller does with its own context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContextRoute {
    /// `GET /v1/context`
    Read,
    /// `PUT /v1/context`
    Replace,
    /// `PATCH /v1/context`
    Merge,
}

/// What an operator does with users' memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminUserRoute {
    /// `GET /admin/memory`
    Overview,
    /// `GET /admin/users/{user}/memories`
    Memories(String),
    /// `DELETE /admin/users/{user}/memories`
    Forget(String),
    /// `GET /admin/users/{user}/context`
    Context(String),
    /// `DELETE /admin/cache`, `DELETE /admin/cache/{user}`
    ClearCache(Option<String>),
}

/// What an operator does to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetAction {
    /// No new requests.
    Drain,
    /// New requests again.
    Resume,
    /// Forget what was measured.
    Reset,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// Nothing is there.
    NotFound,
    /// Something is there, with these methods.
    Method(&'static str),
}

impl Route {
    /// The route of `method path`; `path` without its query.
    pub(crate) fn find(method: &Method, path: &str) -> Result<Self, RouteError> {
        if let Some(rest) = below_v1(path) {
            return find_v1(method, rest).map(Self::Client);
        }
        let public = |route| only(GET, method, "GET, HEAD", route).map(Self::Public);
        match path.trim_end_matches('/') {
            "/livez" | "/healthz" => public(PublicRoute::Live),
            "/readyz" => public(PublicRoute::Ready),
            path => find_admin(method, path).map(Self::Admin),
        }
    }
}

fn find_admin(method: &Method, path: &str) -> Result<AdminRoute, RouteError> {
    let route = match path {
        "/admin" => AdminRoute::Page,
        "/admin/providers" => AdminRoute::Providers,
        "/admin/providers/summary" => AdminRoute::Summary,
        "/admin/requests" => AdminRoute::Requests,
        "/metrics" => AdminRoute::Metrics,
        "/admin/slots" => AdminRoute::Slots,
        "/admin/memory" => AdminRoute::Users(AdminUserRoute::Overview),
        "/admin/config" => AdminRoute::Config,
        "/admin/events" => AdminRoute::Events,
        "/admin/explain" => AdminRoute::Explain,
        "/admin/openapi.json" => AdminRoute::OpenApi,
        "/admin/reload" => return only(&[Method::POST], method, "POST", AdminRoute::Reload),
        other if other == "/admin/cache" || other.starts_with("/admin/cache/") => {
            let user = other.strip_prefix("/admin/cache/").map(decoded);
            let clear = AdminRoute::Users(AdminUserRoute::ClearCache(user));
            return only(&[Method::DELETE], method, "DELETE", clear);
        }
        other if other.starts_with("/admin/users/") => {
            return of_a_user(method, other).map(AdminRoute::Users);
        }
        other => {
            let operate = operate(other).ok_or(RouteError::NotFound)?;
            return only(&[Method::POST], method, "POST", operate);
        }
    };
    only(GET, method, "GET, HEAD", route)
}

/// `rest` is below `/v1`.
fn find_v1(method: &Method, rest: &str) -> Result<ClientRoute, RouteError> {
    if let Some((api, path)) = Api::PATHS.into_iter().find(|(_, path)| *path == rest) {
        return only(&[Method::POST], method, "POST", ClientRoute::Proxy(api, path.into()));
    }
    match rest {
        "/models" => only(GET, method, "GET, HEAD", ClientRoute::Models),
        _ if !is_plain(rest) => Err(RouteError::NotFound),
        _ if rest == "/context" || rest == "/memories" || rest.starts_with("/memories/") => {
            user_data(method, rest).map(ClientRoute::UserData)
        }
        _ => match rest.strip_prefix("/models/") {
            Some(id) if !id.is_empty() => only(GET, method, "GET, HEAD", ClientRoute::Model(decoded(id))),
            _ => Ok(ClientRoute::Proxy(Api::Other, rest.to_owned().into())),
        },
    }
}

/// What reads.
const GET: &[Method] = &[Method::GET, Method::HEAD];

fn only<T>(allowed: &[Method], method: &Method, names: &'static str, route: T) -> Result<T, RouteError> {
    if allowed.contains(method) { Ok(route) } else { Err(RouteError::Method(names)) }
}

/// The part of `path` below `/v1`, which some vendors' SDKs call `/openai/v1`.
fn below_v1(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/openai").unwrap_or(path).strip_prefix("/v1")?;
    (rest.len() > 1 && rest.starts_with('/')).then_some(rest)
}

/// No segment may climb out of the provider's base URL, however it is spelled.
fn is_plain(rest: &str) -> bool {
    let sane = |segment: &str| {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        decoded != "." && decoded != ".." && !decoded.contains(['\\', '\0', '\r', '\n'])
    };
    rest.split('/').skip(1).all(|segment| !segment.is_empty() && sane(segment))
}

/// The routes of the caller's own memories and context; `rest` is below `/v1`.
fn user_data(method: &Method, rest: &str) -> Result<UserDataRoute, RouteError> {
    match rest {
        "/context" => context(method).map(UserDataRoute::Context),
        _ => memories(method, rest).map(UserDataRoute::Memories),
    }
}

fn context(method: &Method) -> Result<ContextRoute, RouteError> {
    match *method {
        Method::GET | Method::HEAD => Ok(ContextRoute::Read),
        Method::PUT => Ok(ContextRoute::Replace),
        Method::PATCH => Ok(ContextRoute::Merge),
        _ => Err(RouteError::Method("GET, HEAD, PUT, PATCH")),
    }
}

fn memories(method: &Method, rest: &str) -> Result<MemoryRoute, RouteError> {
    let get = GET.contains(method);
    match (rest, method) {
        ("/memories", _) if get => Ok(MemoryRoute::List),
        ("/memories", &Method::POST) => Ok(MemoryRoute::Add),
        ("/memories", &Method::DELETE) => Ok(MemoryRoute::Forget),
        ("/memories", _) => Err(RouteError::Method("GET, HEAD, POST, DELETE")),
        ("/memories/search", &Method::POST) => Ok(MemoryRoute::Search),
        ("/memories/search", _) => Err(RouteError::Method("POST")),
        _ => {
            let id =
                rest.strip_prefix("/memories/").filter(|id| !id.contains('/')).ok_or(RouteError::NotFound)?;
            match *method {
                _ if get => Ok(MemoryRoute::Get(decoded(id))),
                Method::DELETE => Ok(MemoryRoute::ForgetOne(decoded(id))),
                _ => Err(RouteError::Method("GET, HEAD, DELETE")),
            }
        }
    }
}

/// `/admin/users/{user}/memories` and `/context`.
fn of_a_user(method: &Method, path: &str) -> Result<AdminUserRoute, RouteError> {
    let rest = path.strip_prefix("/admin/users/").ok_or(RouteError::NotFound)?;
    let (user, what) =
        rest.rsplit_once('/').filter(|(user, _)| !user.is_empty()).ok_or(RouteError::NotFound)?;
    let get = GET.contains(method);
    let user = decoded(user);
    match what {
        "memories" if get => Ok(AdminUserRoute::Memories(user)),
        "memories" if method == Method::DELETE => Ok(AdminUserRoute::Forget(user)),
        "memories" => Err(RouteError::Method("GET, HEAD, DELETE")),
        "context" if get => Ok(AdminUserRoute::Context(user)),
        "context" => Err(RouteError::Method("GET, HEAD")),
        _ => Err(RouteError::NotFound),
    }
}

fn operate(path: &str) -> Option<AdminRoute> {
    let (id, action) = path.strip_prefix("/admin/providers/")?.rsplit_once('/')?;
    let action = match action {
        "drain" => TargetAction::Drain,
        "resume" => TargetAction::Resume,
        "reset" => TargetAction::Reset,
        _ => return None,
    };
    Some(AdminRoute::Operate(decoded(id), action))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
