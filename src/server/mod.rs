//! From the socket to a handler and back.
//!
//! [`handle`] gives every request an id, finds its route, checks who may take it, and turns every refusal into
//! one shape. The life of a proxied request begins in [`handlers::proxy`].

mod authn;
pub(crate) mod handlers;
pub(crate) mod http;
mod http2_stall;
pub mod listener;
mod router;

use ::http::{HeaderMap, Request, Response};
use std::{
    convert::Infallible, net::IpAddr, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use self::{
    authn::{ConnectionInfo, Keyring},
    handlers::{admin, health, models, proxy, user_data},
    http::{error_response, header_names, request_body::RequestBody, response_body::ResponseBody},
    http2_stall::StallReader,
    router::{ClientRoute, Route, RouteError},
};
use crate::{
    admin::{Reloaded, event_stream::OperatorSample, history::History},
    admission::{Admission, failed_auth::FailedAuthLimiter, process_limits::ProcessLimits},
    call::Registry,
    clock,
    cluster::RedisClient,
    config::Config,
    dispatch::Dispatcher,
    events::Events,
    failpoint::{self, Failpoint},
    gossip::Gossip,
    http1::server::HeadError,
    memory::service::MemoryService,
    refusal::{AdmissionError, AuthError, GatewayError, Refusal, RequestError},
    tasks::Tasks,
    telemetry::{metrics::GatewayMeters, trace::Tracer},
    upstream::{self, Snapshot},
    user::UserId,
};

/// For one request to the collector of traces.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that outlives a reload, and the [`ActiveConfig`] that does not.
pub struct Gateway {
    /// Every task of the process.
    pub tasks: Tasks,
    /// The address we listen on.
    pub listener: IpAddr,
    /// The calls in flight.
    pub calls: Arc<Registry>,
    /// The slots and limits of users.
    pub admission: Admission,
    /// How much the process takes on.
    process_limits: ProcessLimits,
    /// How many wrong keys there were.
    failed_auth: FailedAuthLimiter,
    /// How answers are got.
    pub dispatcher: Arc<Dispatcher>,
    /// What users said before; `None` if nothing is remembered.
    pub memory: Option<Arc<MemoryService>>,
    /// The line to Redis; `None` if nothing is shared with other gateways.
    pub redis: Option<RedisClient>,
    /// What gateways tell each other of the targets; likewise.
    pub gossip: Option<Gossip>,
    /// What operators watch.
    pub events: Events,
    /// What they see of the last minutes.
    pub history: Arc<History>,
    /// What is counted of the gateway as a whole.
    pub meters: Arc<GatewayMeters>,
    /// Makes the spans of requests.
    pub tracer: Tracer,
    /// The file that was read; `None` in the demo.
    pub path: Option<PathBuf>,
    /// How the last reload went; held while one runs.
    pub last_reload: Mutex<Option<Reloaded>>,
    active: ArcSwap<ActiveConfig>,
}

/// What a configuration makes of the gateway; replaced as a whole.
pub struct ActiveConfig {
    /// Configuration and targets.
    pub snapshot: Arc<Snapshot>,
    keys: Keyring,
    tls: Option<TlsAcceptor>,
}

impl ActiveConfig {
    /// What `config` makes of the gateway; targets that `before` had keep what is known of them.
    pub fn new(
        config: Config,
        before: Option<&Snapshot>,
        events: &Events,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let keys = Keyring::new(&config.auth);
        let tls = config.server.tls.as_ref().map(listener::tls_acceptor).transpose()?;
        let snapshot = Snapshot::new(config, before, events, tasks)?;
        Ok(Self { snapshot: Arc::new(snapshot), keys, tls })
    }
}

impl Gateway {
    /// A gateway that runs `config`.
    pub fn new(
        config: Config,
        path: Option<PathBuf>,
        memory: Option<Arc<MemoryService>>,
        redis: Option<RedisClient>,
        tasks: Tasks,
    ) -> Result<Arc<Self>, String> {
        let events = Events::new();
        let listener = config.server.listen.ip();
        let admission = Admission::new(&config, redis.clone(), &tasks);
        let load = ProcessLimits::new(config.server.max_body);
        let tracer = tracer(&config, &tasks)?;
        let active = ActiveConfig::new(config, None, &events, &tasks)?;
        let dispatcher = Dispatcher::new(events.clone(), tasks.clone(), Instant::now());
        Ok(Arc::new(Self {
            tasks,
            listener,
            calls: Arc::default(),
            admission,
            process_limits: load,
            failed_auth: FailedAuthLimiter::default(),
            dispatcher,
            memory,
            gossip: redis.clone().map(Gossip::new),
            redis,
            events,
            history: Arc::default(),
            meters: Arc::default(),
            tracer,
            path,
            last_reload: Mutex::default(),
            active: ArcSwap::from_pointee(active),
        }))
    }

    /// What is in force now.
    pub fn active_config(&self) -> Arc<ActiveConfig> {
        self.active.load_full()
    }

    /// What the watch of operators looks at.
    pub fn operator_sample(&self) -> OperatorSample {
        let (in_flight, waiting) = (self.calls.len(), self.admission.slots_view().total.waiting);
        OperatorSample { snapshot: self.active_config().snapshot.clone(), in_flight, waiting }
    }

    /// Puts `edge` in force. Calls in flight end under the old one.
    pub fn replace(&self, active: ActiveConfig) {
        if let Some(redis) = &self.redis {
            redis.set_on_error(active.snapshot.config.redis.on_error);
        }
        self.admission.reconfigure(&active.snapshot.config);
        let memory = &active.snapshot.config.memory;
        match &self.memory {
            Some(ours) => ours.reconfigure(memory),
            None if memory.enabled => tracing::warn!("memory.enabled: comes into force with a restart"),
            None => {}
        }
        let (old, new) = (&self.active_config().snapshot.config.telemetry, &active.snapshot.config.telemetry);
        if (&old.log, old.log_format, &old.otlp_endpoint) != (&new.log, new.log_format, &new.otlp_endpoint) {
            tracing::warn!("telemetry: log, log_format and otlp_endpoint come into force with a restart");
        }
        self.active.store(Arc::new(active));
    }

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

    fn tls(&self) -> Option<TlsAcceptor> {
        self.active.load().tls.clone()
    }
}

fn tracer(config: &Config, tasks: &Tasks) -> Result<Tracer, String> {
    let Some(endpoint) = &config.telemetry.otlp_endpoint else { return Ok(Tracer::default()) };
    Tracer::to(endpoint, upstream::http_client(COLLECTOR_TIMEOUT)?, tasks)
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
    gateway: Arc<Gateway>,
    inbound: Box<InboundRequest>,
) -> Result<Response<ResponseBody>, Infallible> {
    let id = inbound.id.clone();
    // A panic is a bug of ours; it costs one request, not the process.
    let response = match AssertUnwindSafe(answer(&gateway, inbound)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => refused(&id, &refusal),
        Err(_) => {
            tracing::error!(request = %id, "a bug in the gateway: see the panic above");
            gateway.meters.panics.inc();
            refused(&id, &GatewayError::Internal.into())
        }
    };
    if let Some(error_response::ErrorCode(code)) = response.extensions().get() {
        gateway.meters.refusals.add(code);
    }
    Ok(with_id(response, id).map(|body| body.watched(StallReader::current())))
}

/// Tells the client, and the log.
fn refused(id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    refused_to(None, id, refusal)
}

/// The same, where it is known who asked.
fn refused_to(user: Option<&UserId>, id: &str, refusal: &Refusal) -> Response<ResponseBody> {
    let response = error_response::refuse(refusal);
    // Who guesses keys must not fill the log.
    if !matches!(refusal, Refusal::Auth(AuthError::WrongKeys { .. })) {
        let (status, error) = (response.status().as_u16(), error_response::code(refusal));
        let user = user.map(|user| tracing::field::display(user.pseudonym()));
        tracing::info!(request = %id, user, status, error, "refused");
    }
    response
}

/// The answer to what is no request.
fn no_request(gateway: &Gateway, bad: HeadError) -> Response<ResponseBody> {
    let refusal: Refusal = match bad {
        HeadError::TooLarge => RequestError::HeadTooLarge.into(),
        bad => Refusal::bad_request("invalid_type", None, format!("The request could not be read: {bad}.")),
    };
    refused_early(gateway, &refusal)
}

/// The answer to a request that the process does not take on.
fn overloaded(gateway: &Gateway) -> Response<ResponseBody> {
    refused_early(gateway, &AdmissionError::Overloaded { retry_after: Duration::from_secs(1) }.into())
}

/// Refuses what no handler has seen.
fn refused_early(gateway: &Gateway, refusal: &Refusal) -> Response<ResponseBody> {
    gateway.meters.refusals.add(error_response::code(refusal));
    let id = new_request_id();
    with_id(refused(&id, refusal), id)
}

fn with_id(mut response: Response<ResponseBody>, id: Arc<str>) -> Response<ResponseBody> {
    response.body_mut().headers_mut().id = Some(id);
    response
}

/// What is large is on the heap, each for itself: one request is moved around with the room for one route.
async fn answer(
    gateway: &Arc<Gateway>,
    inbound: Box<InboundRequest>,
) -> Result<Response<ResponseBody>, Refusal> {
    failpoint::request(Failpoint::Handler, &inbound.id);
    let (method, path) = (inbound.request.method(), inbound.request.uri().path());
    let route = Route::find(method, path).map_err(|miss| match miss {
        RouteError::NotFound => RequestError::RouteNotFound(format!("{method} {path}")),
        RouteError::Method(allowed) => RequestError::MethodNotAllowed(allowed),
    })?;
    match route {
        Route::Public(route) => health::answer(gateway, &inbound.active, route).await,
        Route::Client(route) => answer_client(gateway, inbound, route).await,
        Route::Admin(route) => {
            if let Err(error) = inbound.admit_operator() {
                let refusal = gateway.count_wrong_key(&inbound, error);
                return admin::page::sign_in(&route, inbound.request.headers(), &refusal).ok_or(refusal);
            }
            admin::answer(gateway, &inbound.active, &route, (&inbound.request).into()).boxed().await
        }
    }
}

async fn answer_client(
    gateway: &Arc<Gateway>,
    inbound: Box<InboundRequest>,
    route: ClientRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    let caller = inbound.active.keys.identify(inbound.request.headers());
    let caller = caller.map_err(|error| gateway.count_wrong_key(&inbound, error))?;
    let (id, user) = (inbound.id.clone(), caller.user([None; 3]));
    let answered = match route {
        ClientRoute::Proxy(api, path) => proxy::answer(gateway, inbound, caller, (api, path)).boxed().await,
        ClientRoute::UserData(route) => user_data::answer(gateway, inbound, caller, route).boxed().await,
        ClientRoute::Model(id) => models::one(&inbound.active, &caller, &id),
        ClientRoute::Models => models::all(&inbound.active, &caller),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused_to(Some(&user), &id, &refusal));
    let headers = response.body_mut().headers_mut();
    headers.rates = gateway.admission.rate_headers(&user, headers.rates).await;
    Ok(response)
}

impl InboundRequest {
    /// `request`, which has just come; what follows is under what is in force now. On the heap: it is passed from hand to
    /// hand, and is larger than what most hands do with it.
    pub fn new(gateway: &Gateway, connection: ConnectionInfo, request: Request<RequestBody>) -> Box<Self> {
        let (id, active) = (request_id(request.headers()), gateway.active.load_full());
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
