//! One provider: its address, its key, its connections, and its requests.
//!
//! Nothing of a client's request can change where it is sent. Only listed headers are forwarded; the key is
//! added last, and nowhere else.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use super::{
    client::{Client, FixedHeaders},
    exchange::request_body::SplicedBody,
};
use crate::{
    config::{
        self,
        known::{self, ProviderProfile},
    },
    openai::Api,
    tasks::Tasks,
};

/// The `user-agent` of requests to providers.
const USER_AGENT: &str = concat!("concierge/", env!("CARGO_PKG_VERSION"));

/// The client's headers that are forwarded.
pub(crate) static FORWARDED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A configured provider.
pub struct Provider {
    /// Its configuration.
    pub config: config::ProviderConfig,
    /// Its deviations from OpenAI's API.
    pub profile: &'static ProviderProfile,
    /// Its connection pool.
    pub client: Arc<Client>,
    /// The common paths below the base URL with their parsed URIs: built once, because parsing a URI is expensive.
    usual: Vec<(&'static str, Uri)>,
    in_flight: AtomicUsize,
    drained: AtomicBool,
}

/// A request before it is bound to a provider.
#[derive(Default)]
pub struct RequestTarget {
    /// The client's method.
    pub method: Method,
    /// Path and query below the base URL; nearly always a constant.
    pub path: Cow<'static, str>,
    /// The client's headers that are forwarded.
    pub headers: HeaderMap,
    /// The body, in parts.
    pub body: SplicedBody,
}

impl Provider {
    /// A provider without connections yet.
    pub fn new(
        config: config::ProviderConfig,
        default: &config::Resilience,
        tasks: Tasks,
    ) -> Result<Arc<Self>, String> {
        let url = &config.base_url;
        let origin: Uri =
            url[..url::Position::BeforePath].parse().map_err(|_| format!("{url}: not a URL"))?;
        let connect_timeout = config.connect_timeout.unwrap_or(default.connect_timeout);
        let standing = FixedHeaders::new(standing_headers(&config)?);
        let client = Client::new(origin, standing, connect_timeout, tasks)?;
        let profile = known::profile(url.host_str().unwrap_or_default());
        let (in_flight, drained) = (AtomicUsize::new(0), AtomicBool::new(false));
        let usual = Vec::with_capacity(Api::PATHS.len());
        let mut provider = Self { config, profile, client, usual, in_flight, drained };
        for (_, path) in Api::PATHS {
            let uri = Uri::try_from(provider.uri(path)).map_err(|error| error.to_string())?;
            provider.usual.push((path, uri));
        }
        Ok(Arc::new(provider))
    }

    /// Whether the connections of a provider configured as `other` would be the same.
    pub fn is_same(&self, other: &config::ProviderConfig) -> bool {
        let ours = &self.config;
        ours.base_url == other.base_url
            && ours.api_key == other.api_key
            && ours.headers == other.headers
            && ours.connect_timeout == other.connect_timeout
            && ours.api_key_header == other.api_key_header
            && ours.max_concurrency == other.max_concurrency
            && ours.prefill == other.prefill
    }

    /// The HTTP request for `question` to this provider. The client adds the headers that are the same in every request.
    pub fn request(&self, question: RequestTarget) -> Result<Box<Request<SplicedBody>>, http::Error> {
        let RequestTarget { method, path, headers, body } = question;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.headers_mut()) = (method, headers);
        *request.uri_mut() = match self.usual.iter().find(|(usual, _)| *usual == path) {
            Some((_, uri)) => uri.clone(),
            None => Uri::try_from(self.uri(&path))?,
        };
        Ok(Box::new(request))
    }

    /// The headers of every request, the key among them.
    pub fn headers(&self) -> &HeaderMap {
        self.client.standing.headers()
    }

    /// The path and query at this provider of `path`, a path and query below the base URL.
    pub fn uri(&self, path: &str) -> String {
        let base = self.config.base_url.path().trim_end_matches('/');
        let (path, asked) = path.split_once('?').unwrap_or((path, ""));
        match (self.config.base_url.query().unwrap_or_default(), asked) {
            ("", "") => [base, path].concat(),
            (query, "") | ("", query) => [base, path, "?", query].concat(),
            (own, asked) => [base, path, "?", own, "&", asked].concat(),
        }
    }

    /// Whether one more request may be in flight.
    pub fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) < self.most()
    }

    /// Counts a request as in flight until the guard is dropped; `None` if the limit is reached.
    pub fn enter(self: &Arc<Self>) -> Option<ConcurrencyPermit> {
        let one_more = |n| (n < self.most()).then_some(n + 1);
        let entered = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok().map(|_| ConcurrencyPermit(self.clone()))
    }

    /// Whether an operator drained the whole provider: a target that does not exist yet begins drained.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Drains or resumes targets that are yet to be created; existing ones have their own state.
    pub fn drain(&self, drained: bool) {
        self.drained.store(drained, Ordering::Relaxed);
    }

    fn most(&self) -> usize {
        self.config.max_concurrency.unwrap_or(usize::MAX)
    }
}

impl Provider {
    /// `text` without our key, in case the provider repeats it.
    pub fn redact_text(&self, text: &str) -> String {
        match &self.config.api_key {
            Some(key) if text.contains(key.expose()) => text.replace(key.expose(), "***"),
            _ => text.to_owned(),
        }
    }

    /// `body` without our key, in case the provider repeats it.
    pub fn redact(&self, body: &Bytes) -> Bytes {
        let key = self.config.api_key.as_ref().map(|key| key.expose()).filter(|key| !key.is_empty());
        match (key, std::str::from_utf8(body)) {
            (Some(key), Ok(text)) if text.contains(key) => Bytes::from(text.replace(key, "***")),
            _ => body.clone(),
        }
    }
}

/// A request in flight at a provider; dropping it frees its place.
pub struct ConcurrencyPermit(Arc<Provider>);

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn standing_headers(config: &config::ProviderConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    // Never compressed: compression makes a stream arrive in bursts.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let authority = &config.base_url[url::Position::BeforeHost..url::Position::AfterPort];
    headers.insert(header::HOST, HeaderValue::from_str(authority).map_err(|error| error.to_string())?);
    for (name, value) in &config.headers {
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name"))?;
        headers.insert(name, secret(value.expose())?);
    }
    if let Some(key) = &config.api_key {
        let name = HeaderName::try_from(&config.api_key_header)
            .map_err(|_| format!("{:?} is not a header name", config.api_key_header))?;
        let bearer = name == header::AUTHORIZATION;
        let value = if bearer { format!("Bearer {}", key.expose()) } else { key.expose().to_owned() };
        headers.insert(name, secret(&value)?);
    }
    Ok(headers)
}

/// A header value from a secret; the error does not contain it.
fn secret(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(value).map_err(|_| "a value with control characters".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(base_url: &str) -> Arc<Provider> {
        let config = config::ProviderConfig {
            name: "p".into(),
            base_url: base_url.parse().unwrap(),
            api_key: Some(config::Secret::new("k")),
            headers: [("x-org".to_owned(), config::Secret::new("o"))].into(),
            connect_timeout: None,
            api_key_header: "authorization".into(),
            max_concurrency: Some(1),
            prefill: config::Prefill::None,
        };
        Provider::new(config, &config::Resilience::default(), Tasks::new()).unwrap()
    }

    #[test]
    fn paths_stay_below_the_base_url_and_queries_are_joined() {
        assert_eq!(provider("https://api.groq.com/openai/v1").uri("/models"), "/openai/v1/models");
        assert_eq!(provider("http://localhost:1/").uri("/a/b?c=d"), "/a/b?c=d");
        let azure = provider("https://x.openai.azure.com/openai?api-version=1");
        assert_eq!(azure.uri("/chat/completions?z=1"), "/openai/chat/completions?api-version=1&z=1");
    }

    #[test]
    fn a_question_goes_where_its_path_is_and_the_key_with_every_one() {
        let provider = provider("https://h:8443/openai?v=1");
        for (path, uri) in [
            ("/chat/completions", "/openai/chat/completions?v=1"),
            ("/chat/completions?x=2", "/openai/chat/completions?v=1&x=2"),
            ("/x", "/openai/x?v=1"),
        ] {
            let headers = HeaderMap::new();
            let question = RequestTarget {
                method: Method::POST,
                path: path.into(),
                headers,
                body: SplicedBody::default(),
            };
            assert_eq!(provider.request(question).unwrap().uri(), uri);
        }
        for (name, value) in [("authorization", "Bearer k"), ("x-org", "o"), ("host", "h:8443")] {
            assert_eq!(provider.headers()[name], value);
        }
    }

    #[test]
    fn room_is_counted() {
        let provider = provider("https://h/v1");
        let guard = provider.enter();
        assert!(guard.is_some() && !provider.has_room() && provider.enter().is_none());
        drop(guard);
        assert!(provider.has_room());
    }
}
