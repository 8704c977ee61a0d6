//! From the socket to a handler and back.
//!
//! [`handle`] gives every request an id, finds its route, checks who may take it, and turns every refusal into
//! one shape. The life of a proxied request begins in [`handlers::proxy`].

pub(crate) mod active_config;
mod authn;
pub(crate) mod handlers;
pub(crate) mod http;
mod http2_stall;
mod inbound;
pub(crate) mod listener;
pub(crate) mod reload_handle;
mod router;
mod tls_acceptor;

use ::http::Response;
use std::{convert::Infallible, net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;

use self::{
    active_config::CurrentConfig,
    handlers::{
        admin::{self, AdminContext},
        health::{self, HealthContext},
        models,
        proxy::{self, ProxyContext},
        user_data::{self, UserDataContext},
    },
    http::{error_response, response_body::ResponseBody},
    http2_stall::StallReader,
    inbound::{InboundRequest, new_request_id, refused, refused_to, with_id},
    router::{ClientRoute, Route, RouteError},
};
use crate::{
    admission::{Admission, failed_auth::FailedAuthLimiter, process_limits::ProcessLimits},
    failpoint::{self, Failpoint},
    http1::server::HeadError,
    refusal::{AdmissionError, AuthError, GatewayError, Refusal, RequestError},
    tasks::Tasks,
    telemetry::metrics::GatewayMeters,
};

/// What answers clients, and what its handlers are given of the rest.
pub(crate) struct HttpServer {
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

/// Answers one request, whatever happens.
pub(crate) async fn handle(
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
