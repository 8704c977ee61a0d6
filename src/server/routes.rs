//! Which request is for whom, and who may make it.
//!
//! Deny by default: every [`Route`] states its [`Policy`] in one exhaustive match, so a route without one
//! does not compile.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::api::Api;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To a provider; the path below `/v1`.
    Proxy(Api, String),
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
    Operate(String, Hand),
    /// `GET /admin/requests`
    Requests,
    /// `GET /admin/slots`
    Slots,
    /// `GET /admin/config`
    Config,
    /// `POST /admin/reload`
    Reload,
    /// `GET /admin/events`
    Events,
}

/// What an operator does to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
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
pub enum Miss {
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
            Self::Proxy(..) | Self::Models | Self::Model(_) => Policy::Client,
            Self::Page
            | Self::Providers
            | Self::Summary
            | Self::Operate(..)
            | Self::Requests
            | Self::Slots
            | Self::Config
            | Self::Reload
            | Self::Events => Policy::Admin,
        }
    }

    /// The route of `method path`; `path` without its query.
    pub fn find(method: &Method, path: &str) -> Result<Self, Miss> {
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
            "/admin/slots" => Self::Slots,
            "/admin/config" => Self::Config,
            "/admin/events" => Self::Events,
            "/admin/reload" => return only(&[Method::POST], method, "POST", Self::Reload),
            other => {
                let operate = operate(other).ok_or(Miss::NotFound)?;
                return only(&[Method::POST], method, "POST", operate);
            }
        };
        only(&[Method::GET, Method::HEAD], method, "GET, HEAD", route)
    }

    fn find_v1(method: &Method, rest: &str) -> Result<Self, Miss> {
        if !is_plain(rest) {
            return Err(Miss::NotFound);
        }
        let get = [Method::GET, Method::HEAD];
        let post = [Method::POST];
        match rest {
            "/models" => only(&get, method, "GET, HEAD", Self::Models),
            "/chat/completions" => only(&post, method, "POST", proxy(Api::Chat, rest)),
            "/completions" => only(&post, method, "POST", proxy(Api::Completions, rest)),
            "/responses" => only(&post, method, "POST", proxy(Api::Responses, rest)),
            "/embeddings" => only(&post, method, "POST", proxy(Api::Embeddings, rest)),
            "/context" | "/memories" => Err(Miss::NotFound),
            _ if rest.starts_with("/memories/") => Err(Miss::NotFound),
            _ => match rest.strip_prefix("/models/") {
                Some(id) if !id.is_empty() => only(&get, method, "GET, HEAD", Self::Model(decoded(id))),
                _ => Ok(proxy(Api::Other, rest)),
            },
        }
    }
}

fn only(allowed: &[Method], method: &Method, names: &'static str, route: Route) -> Result<Route, Miss> {
    if allowed.contains(method) { Ok(route) } else { Err(Miss::Method(names)) }
}

fn proxy(api: Api, rest: &str) -> Route {
    Route::Proxy(api, rest.to_owned())
}

/// The part of `path` below `/v1`, which some vendors' SDKs call `/openai/v1`.
fn below_v1(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/openai").unwrap_or(path).strip_prefix("/v1")?;
    (rest.len() > 1 && rest.starts_with('/')).then_some(rest)
}

/// No segment may climb out of the provider's base URL, however it is spelled.
fn is_plain(rest: &str) -> bool {
    let sane = |segment: &str| {
        let decoded = decoded(segment);
        decoded != "." && decoded != ".." && !decoded.contains(['\\', '\0', '\r', '\n'])
    };
    rest.split('/').skip(1).all(|segment| !segment.is_empty() && sane(segment))
}

fn operate(path: &str) -> Option<Route> {
    let (id, hand) = path.strip_prefix("/admin/providers/")?.rsplit_once('/')?;
    let hand = match hand {
        "drain" => Hand::Drain,
        "resume" => Hand::Resume,
        "reset" => Hand::Reset,
        _ => return None,
    };
    Some(Route::Operate(decoded(id), hand))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Route, Miss> {
        Route::find(&Method::GET, path)
    }

    fn post(path: &str) -> Result<Route, Miss> {
        Route::find(&Method::POST, path)
    }

    #[test]
    fn every_promised_route_is_there() {
        for prefix in ["/v1", "/openai/v1"] {
            assert_eq!(
                post(&format!("{prefix}/chat/completions")),
                Ok(proxy(Api::Chat, "/chat/completions"))
            );
            assert_eq!(get(&format!("{prefix}/models")), Ok(Route::Models));
            assert_eq!(
                get(&format!("{prefix}/models/groq/llama%2D3")),
                Ok(Route::Model("groq/llama-3".into()))
            );
            assert_eq!(post(&format!("{prefix}/audio/speech")), Ok(proxy(Api::Other, "/audio/speech")));
        }
        assert_eq!(get("/healthz"), Ok(Route::Live));
        assert_eq!(get("/admin/"), Ok(Route::Page));
        let id = "groq/llama-3.3-70b".to_owned();
        assert_eq!(post("/admin/providers/groq%2Fllama-3.3-70b/drain"), Ok(Route::Operate(id, Hand::Drain)));
        assert_eq!(post("/admin/providers/groq/reset"), Ok(Route::Operate("groq".into(), Hand::Reset)));
    }

    /// Row A1: whatever this file calls `/admin…` is for operators.
    #[test]
    fn every_admin_path_is_for_operators() {
        let source = include_str!("routes.rs").split("#[cfg(test)]").next().unwrap();
        let named = source.split('"').filter(|text| text.starts_with("/admin"));
        let hands = ["drain", "resume", "reset"].map(|hand| format!("/admin/providers/x/{hand}"));
        let paths: Vec<_> =
            named.filter(|path| !path.ends_with('/')).map(str::to_owned).chain(hands).collect();
        assert!(paths.len() >= 10, "{paths:?}");
        for path in paths {
            let route = get(&path).or_else(|_| post(&path)).unwrap();
            assert_eq!(route.policy(), Policy::Admin, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_one() {
        assert_eq!(get("/v1/chat/completions"), Err(Miss::Method("POST")));
        assert_eq!(post("/v1/models"), Err(Miss::Method("GET, HEAD")));
        assert_eq!(get("/admin/reload"), Err(Miss::Method("POST")));
        assert_eq!(get("/admin/providers/groq/drain"), Err(Miss::Method("POST")));
    }

    #[test]
    fn no_spelling_climbs_out_of_the_base_url() {
        for path in
            ["/v1/../admin", "/v1/a/%2e%2e/b", "/v1/%2E", "/v1//x", "/v1/a%5cb", "/v1", "/v1/", "/v1x/y", "/"]
        {
            assert_eq!(post(path), Err(Miss::NotFound), "{path}");
        }
    }
}
