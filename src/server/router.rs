//! Which request is for whom, and who may make it.
//!
//! Deny by default: every [`Route`] states its [`Policy`] in one exhaustive match, so a route without one
//! does not compile.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::openai::Api;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To a provider; the path below `/v1`.
    Proxy(Api, Cow<'static, str>),
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(String),
    /// `GET /livez`, `/healthz`
    Live,
    /// `GET /readyz`
    Ready,
    /// `GET /admin`
    Page,
    /// `GET /admin/providers`
    Providers,
    /// `GET /admin/providers/summary`
    Summary,
    /// `POST /admin/providers/{id}/{hand}`
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
    /// The caller's own memories and context.
    Own(UserDataRoute),
    /// An operator's view of users' memories.
    Users(AdminUserRoute),
}

/// What a caller does with its own memories and context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserDataRoute {
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
    /// `GET /v1/context`
    ReadContext,
    /// `PUT /v1/context`
    ReplaceContext,
    /// `PATCH /v1/context`
    MergeContext,
}

/// What an operator does with users' memories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminUserRoute {
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
pub enum TargetAction {
    /// No new requests.
    Drain,
    /// New requests again.
    Resume,
    /// Forget what was measured.
    Reset,
}

/// Who may make a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Anybody: it reveals nothing.
    Public,
    /// Clients, by their key.
    Client,
    /// Operators.
    Admin,
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteError {
    /// Nothing is there.
    NotFound,
    /// Something is there, with these methods.
    Method(&'static str),
}

impl Route {
    /// Who may make this request.
    pub fn policy(&self) -> Policy {
        match self {
            Self::Live | Self::Ready => Policy::Public,
            Self::Proxy(..) | Self::Models | Self::Model(_) | Self::Own(_) => Policy::Client,
            Self::Page
            | Self::Providers
            | Self::Summary
            | Self::Operate(..)
            | Self::Requests
            | Self::Metrics
            | Self::Slots
            | Self::Config
            | Self::Reload
            | Self::Events
            | Self::Explain
            | Self::OpenApi
            | Self::Users(_) => Policy::Admin,
        }
    }

    /// The route of `method path`; `path` without its query.
    pub fn find(method: &Method, path: &str) -> Result<Self, RouteError> {
        if let Some(rest) = below_v1(path) {
            return Self::find_v1(method, rest);
        }
        let route = match path.trim_end_matches('/') {
            "/livez" | "/healthz" => Self::Live,
            "/readyz" => Self::Ready,
            "/admin" => Self::Page,
            "/admin/providers" => Self::Providers,
            "/admin/providers/summary" => Self::Summary,
            "/admin/requests" => Self::Requests,
            "/metrics" => Self::Metrics,
            "/admin/slots" => Self::Slots,
            "/admin/memory" => Self::Users(AdminUserRoute::Overview),
            "/admin/config" => Self::Config,
            "/admin/events" => Self::Events,
            "/admin/explain" => Self::Explain,
            "/admin/openapi.json" => Self::OpenApi,
            "/admin/reload" => return only(&[Method::POST], method, "POST", Self::Reload),
            other if other == "/admin/cache" || other.starts_with("/admin/cache/") => {
                let user = other.strip_prefix("/admin/cache/").map(decoded);
                return only(
                    &[Method::DELETE],
                    method,
                    "DELETE",
                    Self::Users(AdminUserRoute::ClearCache(user)),
                );
            }
            other if other.starts_with("/admin/users/") => return of_a_user(method, other),
            other => {
                let operate = operate(other).ok_or(RouteError::NotFound)?;
                return only(&[Method::POST], method, "POST", operate);
            }
        };
        only(&[Method::GET, Method::HEAD], method, "GET, HEAD", route)
    }

    fn find_v1(method: &Method, rest: &str) -> Result<Self, RouteError> {
        let get = [Method::GET, Method::HEAD];
        if let Some((api, path)) = Api::PATHS.into_iter().find(|(_, path)| *path == rest) {
            return only(&[Method::POST], method, "POST", Self::Proxy(api, path.into()));
        }
        match rest {
            "/models" => only(&get, method, "GET, HEAD", Self::Models),
            _ if !is_plain(rest) => Err(RouteError::NotFound),
            _ if rest == "/context" || rest == "/memories" || rest.starts_with("/memories/") => {
                own(method, rest).map(Self::Own)
            }
            _ => match rest.strip_prefix("/models/") {
                Some(id) if !id.is_empty() => only(&get, method, "GET, HEAD", Self::Model(decoded(id))),
                _ => Ok(Self::Proxy(Api::Other, rest.to_owned().into())),
            },
        }
    }
}

fn only(allowed: &[Method], method: &Method, names: &'static str, route: Route) -> Result<Route, RouteError> {
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
fn own(method: &Method, rest: &str) -> Result<UserDataRoute, RouteError> {
    let get = matches!(*method, Method::GET | Method::HEAD);
    match (rest, method) {
        ("/memories", _) if get => Ok(UserDataRoute::List),
        ("/memories", &Method::POST) => Ok(UserDataRoute::Add),
        ("/memories", &Method::DELETE) => Ok(UserDataRoute::Forget),
        ("/memories", _) => Err(RouteError::Method("GET, HEAD, POST, DELETE")),
        ("/memories/search", &Method::POST) => Ok(UserDataRoute::Search),
        ("/memories/search", _) => Err(RouteError::Method("POST")),
        ("/context", _) if get => Ok(UserDataRoute::ReadContext),
        ("/context", &Method::PUT) => Ok(UserDataRoute::ReplaceContext),
        ("/context", &Method::PATCH) => Ok(UserDataRoute::MergeContext),
        ("/context", _) => Err(RouteError::Method("GET, HEAD, PUT, PATCH")),
        _ => {
            let id =
                rest.strip_prefix("/memories/").filter(|id| !id.contains('/')).ok_or(RouteError::NotFound)?;
            match *method {
                _ if get => Ok(UserDataRoute::Get(decoded(id))),
                Method::DELETE => Ok(UserDataRoute::ForgetOne(decoded(id))),
                _ => Err(RouteError::Method("GET, HEAD, DELETE")),
            }
        }
    }
}

/// `/admin/users/{user}/memories` and `/context`.
fn of_a_user(method: &Method, path: &str) -> Result<Route, RouteError> {
    let rest = path.strip_prefix("/admin/users/").ok_or(RouteError::NotFound)?;
    let (user, what) =
        rest.rsplit_once('/').filter(|(user, _)| !user.is_empty()).ok_or(RouteError::NotFound)?;
    let get = matches!(*method, Method::GET | Method::HEAD);
    let user = decoded(user);
    match what {
        "memories" if get => Ok(Route::Users(AdminUserRoute::Memories(user))),
        "memories" if method == Method::DELETE => Ok(Route::Users(AdminUserRoute::Forget(user))),
        "memories" => Err(RouteError::Method("GET, HEAD, DELETE")),
        "context" if get => Ok(Route::Users(AdminUserRoute::Context(user))),
        "context" => Err(RouteError::Method("GET, HEAD")),
        _ => Err(RouteError::NotFound),
    }
}

fn operate(path: &str) -> Option<Route> {
    let (id, hand) = path.strip_prefix("/admin/providers/")?.rsplit_once('/')?;
    let hand = match hand {
        "drain" => TargetAction::Drain,
        "resume" => TargetAction::Resume,
        "reset" => TargetAction::Reset,
        _ => return None,
    };
    Some(Route::Operate(decoded(id), hand))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
