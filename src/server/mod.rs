//! From the socket to a handler and back.
//!
//! [`handle`] gives every request an id, finds its route, checks who may take it, and turns every refusal into
//! one shape. The life of a proxied request begins in [`handlers::proxy`].

pub mod active_config;
mod authn;
pub mod handlers;
pub(crate) mod http;
mod http2_stall;
pub mod listener;
pub mod reload_handle;
mod router;

use ::http::{HeaderMap, Request, Response};
use std::{convert::Infallible, net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;

use self::{
    active_config::{ActiveConfig, CurrentConfig},
    authn::ConnectionInfo,
    handlers::{
        admin::{self, AdminContext},
        health::{self, HealthContext},
        models,
        proxy::{self, ProxyContext},
        user_data::{self, UserDataContext},
    },
    http::{error_response, header_names, request_body::RequestBody, response_body::ResponseBody},
    http2_stall::StallReader,
    router::{ClientRoute, Route, RouteError},
};
use crate::{
    admission::{Admission, failed_auth::FailedAuthLimiter, process_limits::ProcessLimits},
    clock,
    failpoint::{self, Failpoint},
    http1::server::HeadError,
    refusal::{AdmissionError, AuthError, GatewayError, Refusal, RequestError},
    tasks::Tasks,
    telemetry::metrics::GatewayMeters,
    user::UserId,
};

/// What answers clients, and what its handlers are given of the rest.
pub struct HttpServer {
    /// For the tasks of connections.
    pub tasks: Tasks,
    /// The address we listen on.
    pub listener: IpAddr,
    /// The configuration in force.
    pub config: CurrentConfig,
    /// Bounds what the process takes on.
    pub process_limits: Arc<ProcessLimits>,
    /// Counts wrong keys.
    pub failed_auth: FailedAuthLimiter,
    /// Knows what is left of a user's limits.
    pub admission: Arc<Admission>,
    /// Counts refusals and panics.
    pub meters: Arc<GatewayMeters>,
    /// For probes.
    pub health: HealthContext,
    /// For requests to providers.
    pub proxy: ProxyContext,
    /// For users' own memories and contexts.
    pub user_data: UserDataContext,
    /// For operators.
    pub admin: AdminContext,
}

impl HttpServer {
    /// A wrong key is one thing, and too many of them another.
    fn count_wrong_key(&self, inbound: &InboundRequest, error: AuthError) -> Refusal {
        if error != AuthError::InvalidKey {
            return error.into();
        }
        match self.failed_auth.record(inbound.connection.peer.ip()) {
            Ok(()) => error.into(),
            Err(retry_after) => AuthError::WrongKeys { retry_after }.into(),
        }
    }
}

/// A request on its way to its handler.
pub struct InboundRequest {
    id: Arc<str>,
    received: Instant,
    connection: ConnectionInfo,
    active: Arc<ActiveConfig>,
    request: Request<RequestBody>,
}

/// Answers one request, whatever happens.
pub async fn handle(
    server: Arc<HttpServer>,
    inbound: Box<InboundRequest>,
) -> Result<Response<ResponseBody>, Infallible> {
    let id = inbound.id.clone();
    // A panic is a bug of ours; it costs one request, not the process.
    let response = match AssertUnwindSafe(answer(&server, inbound)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refused(&id, &refusal),
        Err(_) => {
            tracing::error!(request = %id, "request failed by a bug in the gateway; see the panic above");
            server.meters.panics.inc();
            refused(&id, &GatewayError::Internal.into())
        }
    };
    if let Some(error_response::ErrorCode(code)) = response.extensions().get() {
        server.meters.refusals.add(code);
    }
    Ok(with_id(response, id).map(|body| body.watched(StallReader::current())))
}

/// Writes the error response, and logs it.
fn refused(id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    refused_to(None, id, refusal)
}

/// The same, where the user is known.
fn refused_to(user: Option<&UserId>, id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    let response = error_response::refuse(refusal);
    // Guesses at keys must not fill the log.
    if !matches!(refusal, Refusal::Auth(AuthError::WrongKeys { .. })) {
        let (status, error) = (response.status().as_u16(), error_response::code(refusal));
        let user = user.map(|user| tracing::field::display(user.pseudonym()));
        tracing::info!(request = %id, user, status, error, "refused");
    }
    response
}

/// The answer to a request whose head cannot be read.
fn no_request(server: &HttpServer, bad: HeadError) -> Response<ResponseBody> {
    let refusal: Refusal = match bad {
        HeadError::TooLarge => RequestError::HeadTooLarge.into(),
        HeadError::Syntax(_) | HeadError::Target | HeadError::Framing(_) => {
            Refusal::bad_request("invalid_type", None, format!("{bad}."))
        }
    };
    refused_early(server, &refusal)
}

/// The answer to a request that the process does not take on.
fn overloaded(server: &HttpServer) -> Response<ResponseBody> {
    refused_early(server, &AdmissionError::Overloaded { retry_after: Duration::from_secs(1) }.into())
}

/// Refuses what has not reached a handler.
fn refused_early(server: &HttpServer, refusal: &Refusal) -> Response<ResponseBody> {
    server.meters.refusals.add(error_response::code(refusal));
    let id = new_request_id();
    with_id(refused(&id, refusal), id)
}

fn with_id(mut response: Response<ResponseBody>, id: Arc<str>) -> Response<ResponseBody> {
    response.body_mut().headers_mut().id = Some(id);
    response
}

/// What is large is on the heap, each for itself: one request is moved around with the room for one route.
async fn answer(
    server: &HttpServer,
    inbound: Box<InboundRequest>,
) -> Result<Response<ResponseBody>, Refusal> {
    failpoint::request(Failpoint::Handler, &inbound.id);
    let (method, path) = (inbound.request.method(), inbound.request.uri().path());
    let route = Route::find(method, path).map_err(|miss| match miss {
        RouteError::NotFound => RequestError::RouteNotFound(format!("{method} {path}")),
        RouteError::Method(allowed) => RequestError::MethodNotAllowed(allowed),
    })?;
    match route {
        Route::Public(route) => health::answer(&server.health, &inbound.active, route).await,
        Route::Client(route) => answer_client(server, inbound, route).await,
        Route::Admin(route) => {
            if let Err(error) = inbound.admit_operator() {
                let refusal = server.count_wrong_key(&inbound, error);
                return admin::page::sign_in(&route, inbound.request.headers(), &refusal).ok_or(refusal);
            }
            admin::answer(&server.admin, &inbound.active, &route, (&inbound.request).into()).boxed().await
        }
    }
}

async fn answer_client(
    server: &HttpServer,
    inbound: Box<InboundRequest>,
    route: ClientRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    let caller = inbound.active.keys.identify(inbound.request.headers());
    let caller = caller.map_err(|error| server.count_wrong_key(&inbound, error))?;
    let (id, user) = (inbound.id.clone(), caller.user([None; 3]));
    let answered = match route {
        ClientRoute::Proxy(api, path) => {
            proxy::answer(&server.proxy, inbound, caller, (api, path)).boxed().await
        }
        ClientRoute::UserData(route) => {
            user_data::answer(&server.user_data, inbound, caller, route).boxed().await
        }
        ClientRoute::Model(id) => models::one(&inbound.active, &caller, &id),
        ClientRoute::Models => models::all(&inbound.active, &caller),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(&user), &id, &refusal));
    let headers = response.body_mut().headers_mut();
    headers.rates = server.admission.rate_headers(&user, headers.rates).await;
    Ok(response)
}

impl InboundRequest {
    /// `request`, which has just come; what follows is under what is in force now. On the heap: it is passed from hand to
    /// hand, and is larger than what most hands do with it.
    pub fn new(server: &HttpServer, connection: ConnectionInfo, request: Request<RequestBody>) -> Box<Self> {
        let (id, active) = (request_id(request.headers()), server.config.load());
        Box::new(Self { id, received: clock::now(), connection, active, request })
    }

    fn admit_operator(&self) -> Result<(), AuthError> {
        let token = self.active.snapshot.config.admin.token.as_ref();
        let request = (self.request.method(), self.request.version(), self.request.headers());
        authn::admit_operator(token, &self.active.keys, self.connection, request)
    }
}

/// The client's own id if it is a sane token, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    // Gone over rather than looked up: a name that is no standard one is hashed byte by byte.
    let id = headers.iter().find(|(name, _)| **name == header_names::REQUEST_ID).map(|(_, value)| value);
    match id.and_then(|value| value.to_str().ok()).filter(sane) {
        Some(id) => Arc::from(id),
        None => new_request_id(),
    }
}

/// 96 random bits. Digit by digit: formatting would be the dearest part of it.
fn new_request_id() -> Arc<str> {
    let (mut id, mut bits) = (*b"req-0123456789abcdef01234567", fastrand::u128(..));
    for digit in &mut id[4..] {
        *digit = b"0123456789abcdef"[(bits & 15) as usize];
        bits >>= 4;
    }
    Arc::from(std::str::from_utf8(&id).unwrap_or("req-?"))
}
