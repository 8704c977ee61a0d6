//! Every part of the gateway, built once, and what each handler is given of them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::reload::Reloader;
use crate::{
    admin::{event_stream::OperatorSample, history::History},
    admission::{Admission, failed_auth::FailedAuthLimiter, process_limits::ProcessLimits},
    call::Registry,
    cluster::RedisClient,
    config::Config,
    dispatch::Dispatcher,
    events::Events,
    gossip::Gossip,
    memory::service::MemoryService,
    server::{
        HttpServer,
        active_config::{ActiveConfig, CurrentConfig},
        handlers::{
            admin::AdminContext, health::HealthContext, proxy::ProxyContext, user_data::UserDataContext,
        },
        reload_handle::ReloadHandle,
    },
    tasks::Tasks,
    telemetry::{metrics::GatewayMeters, trace::Tracer},
    tls,
};

/// For one request to the collector of traces.
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// What lives as long as the process.
pub(crate) struct Parts {
    /// Every task of the process.
    pub tasks: Tasks,
    /// The configuration in force.
    pub config: CurrentConfig,
    /// The calls in flight.
    pub calls: Arc<Registry>,
    /// The slots and limits of users.
    pub admission: Arc<Admission>,
    /// Bounds what the process takes on.
    pub process_limits: Arc<ProcessLimits>,
    /// How answers are got.
    pub dispatcher: Arc<Dispatcher>,
    /// What users said before; `None` if nothing is remembered.
    pub memory: Option<Arc<MemoryService>>,
    /// The client of the Redis that gateways share; `None` if they share nothing.
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
}

impl Parts {
    /// The parts of a gateway that runs `config`.
    ///
    /// # Errors
    /// The configuration names files or addresses that are of no use.
    pub(crate) fn new(
        config: Config,
        path: Option<PathBuf>,
        memory: Option<Arc<MemoryService>>,
        redis: Option<RedisClient>,
        tasks: Tasks,
    ) -> Result<Self, String> {
        let events = Events::new();
        Ok(Self {
            calls: Arc::default(),
            admission: Arc::new(Admission::new(&config, redis.clone(), &tasks)),
            process_limits: Arc::new(ProcessLimits::new(config.server.max_body)),
            dispatcher: Dispatcher::new(events.clone(), tasks.clone(), Instant::now()),
            memory,
            gossip: redis.clone().map(Gossip::new),
            redis,
            history: Arc::default(),
            meters: Arc::default(),
            tracer: tracer(&config, &tasks)?,
            path,
            config: CurrentConfig::new(ActiveConfig::new(config, None, &events, &tasks)?),
            events,
            tasks,
        })
    }

    /// What answers clients; `reload` is for operators.
    pub(crate) fn server(&self, reload: Arc<ReloadHandle>) -> Arc<HttpServer> {
        Arc::new(HttpServer {
            tasks: self.tasks.clone(),
            listener: self.config.snapshot().config.server.listen.ip(),
            config: self.config.clone(),
            process_limits: self.process_limits.clone(),
            failed_auth: FailedAuthLimiter::default(),
            admission: self.admission.clone(),
            meters: self.meters.clone(),
            health: self.health(),
            proxy: self.proxy(),
            user_data: self.user_data(),
            admin: self.admin(reload),
        })
    }

    /// For probes of readiness, and for the watch of dependencies.
    pub(crate) fn health(&self) -> HealthContext {
        HealthContext { tasks: self.tasks.clone(), memory: self.memory.clone(), redis: self.redis.clone() }
    }

    fn proxy(&self) -> ProxyContext {
        ProxyContext {
            tasks: self.tasks.clone(),
            calls: self.calls.clone(),
            admission: self.admission.clone(),
            process_limits: self.process_limits.clone(),
            dispatcher: self.dispatcher.clone(),
            memory: self.memory.clone(),
            meters: self.meters.clone(),
            tracer: self.tracer.clone(),
        }
    }

    fn user_data(&self) -> UserDataContext {
        UserDataContext {
            tasks: self.tasks.clone(),
            calls: self.calls.clone(),
            admission: self.admission.clone(),
            process_limits: self.process_limits.clone(),
            memory: self.memory.clone(),
        }
    }

    /// What operators look at.
    pub(crate) fn admin(&self, reload: Arc<ReloadHandle>) -> AdminContext {
        AdminContext {
            tasks: self.tasks.clone(),
            calls: self.calls.clone(),
            admission: self.admission.clone(),
            retry_budget: self.dispatcher.budget.clone(),
            memory: self.memory.clone(),
            redis: self.redis.clone(),
            gossip: self.gossip.clone(),
            events: self.events.clone(),
            history: self.history.clone(),
            meters: self.meters.clone(),
            tracer: self.tracer.clone(),
            reload,
        }
    }

    /// Reads the configuration again.
    pub(crate) fn reload_handle(&self) -> Arc<ReloadHandle> {
        let reloader = Reloader {
            path: self.path.clone(),
            tasks: self.tasks.clone(),
            config: self.config.clone(),
            admission: self.admission.clone(),
            memory: self.memory.clone(),
            redis: self.redis.clone(),
            events: self.events.clone(),
            meters: self.meters.clone(),
        };
        Arc::new(ReloadHandle::new(move || reloader.reload()))
    }

    /// What the event stream of operators tells of the gateway as a whole.
    pub(crate) fn sampler(&self) -> impl Fn() -> OperatorSample + Clone + Send + Sync + 'static {
        let (calls, admission, config) = (self.calls.clone(), self.admission.clone(), self.config.clone());
        move || {
            let (in_flight, waiting) = (calls.len(), admission.slots_view().total.waiting);
            OperatorSample { snapshot: config.snapshot(), in_flight, waiting }
        }
    }
}

fn tracer(config: &Config, tasks: &Tasks) -> Result<Tracer, String> {
    let Some(endpoint) = &config.telemetry.otlp_endpoint else { return Ok(Tracer::default()) };
    Tracer::to(endpoint, tls::http_client(COLLECTOR_TIMEOUT)?, tasks)
}
