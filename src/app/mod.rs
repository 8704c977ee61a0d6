//! The composition root: builds every part from a configuration, owns every task, reloads and drains.

pub(crate) mod parts;
pub(crate) mod reload;
pub(crate) mod reload_trigger;

use std::{
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    select,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};

use self::{parts::Parts, reload_trigger::ReloadSource};
use crate::{
    admin,
    call::Registry,
    cluster::RedisClient,
    config::{self, Config},
    demo::{self, Demo},
    memory::{embedding::embedder::TextEmbedder, service::MemoryService},
    recall::remote_embedder::{EmbedderContext, RemoteEmbedder},
    server::listener,
    tasks::Tasks,
    telemetry, tls,
    upstream::health_check,
};

/// Time for interrupted streams to send their last event.
const FINAL_FLUSH: Duration = Duration::from_secs(1);
/// Time for the memory store to write the last memories: a busy disk is slow.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between checks whether a draining gateway is done.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// Where the configuration comes from.
pub enum ConfigSource {
    /// A file, which is watched.
    File(PathBuf),
    /// The demo's built-in configuration.
    Demo(demo::DemoSettings),
}

/// Runs the gateway until a signal ends it.
///
/// # Errors
/// The messages to print if it cannot start: a bad configuration, a port in use.
pub fn run(source: ConfigSource) -> Result<(), String> {
    // Each call takes two files; the usual soft limit of 1024 is for programs that use select(2).
    drop(rlimit::increase_nofile_limit(u64::MAX));
    let runtime = runtime().map_err(|error| format!("cannot start the async runtime: {error}"))?;
    let done = runtime.block_on(serve(source));
    // Tasks that still resolve a name or watch a file are not waited for.
    runtime.shutdown_background();
    done
}

/// With one CPU there is nothing to share between threads, and a multi-threaded scheduler only costs.
fn runtime() -> io::Result<Runtime> {
    let mut builder = match available_parallelism().map_or(1, NonZeroUsize::get) {
        1 => runtime::Builder::new_current_thread(),
        _ => runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn serve(source: ConfigSource) -> Result<(), String> {
    let tasks = Tasks::new();
    let (loaded, path, _temporary) = match source {
        ConfigSource::File(path) => {
            (config::load(&path).map_err(|problems| problems.to_string())?, Some(path), None)
        }
        ConfigSource::Demo(settings) => {
            let Demo { loaded, memories } = demo::start(&settings, &tasks).await?;
            (loaded, None, Some(memories))
        }
    };
    telemetry::start(&loaded.config.telemetry);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    let listener =
        listener::bind(config.server.listen).map_err(|error| in_words(config.server.listen, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let greeting = greeting(&config, address);
    let redis = RedisClient::open(&config.redis, || tls::client_config(&[]), &tasks)?;
    let embedder = RemoteEmbedder::from_config(&config.memory);
    let memory = match config.memory.enabled {
        true => {
            let embedder = embedder.clone().map(|embedder| embedder as Arc<dyn TextEmbedder>);
            Some(MemoryService::open(&config.memory, redis.as_ref(), embedder, &tasks).await?)
        }
        false => None,
    };
    let parts = Parts::new(config, path, memory, redis, tasks)?;
    connect_embedder(&parts, embedder.as_deref());
    start(&parts, listener, address);
    // The one line on stdout. A closed pipe is no reason to stop.
    drop(writeln!(io::stdout(), "{greeting}"));
    stop_signal().await?;
    drain(&parts).await;
    Ok(())
}

/// Starts every task that runs as long as the process.
fn start(parts: &Parts, listener: TcpListener, address: SocketAddr) {
    start_watching(parts);
    let tasks = &parts.tasks;
    let reload = parts.reload_handle();
    let (listener, server) = (Arc::new(listener), parts.server(reload.clone()));
    tasks.spawn_restarting("accept", move || listener::accept(listener.clone(), server.clone()));
    match &parts.path {
        Some(path) => {
            let source = ReloadSource { path: path.clone(), config: parts.config.clone(), reload };
            tasks.spawn_restarting("reload", move || reload_trigger::watch(source.clone()));
        }
        None => demo::start_traffic(address, tasks),
    }
}

/// Starts what looks at the targets and at the gateway itself.
fn start_watching(parts: &Parts) {
    let tasks = &parts.tasks;
    let probed = parts.config.clone();
    tasks.spawn_restarting("probe", move || {
        let probed = probed.clone();
        health_check::run(move || probed.snapshot())
    });
    if let Some(peers) = &parts.gossip {
        let (peers, current) = (peers.clone(), parts.config.clone());
        tasks.spawn_restarting("peers", move || {
            let current = current.clone();
            peers.clone().run(move || current.snapshot())
        });
    }
    let (events, history, sampled) = (parts.events.clone(), parts.history.clone(), parts.sampler());
    tasks.spawn_restarting("watch", move || {
        admin::event_stream::run(events.clone(), history.clone(), sampled.clone())
    });
    let (events, health) = (parts.events.clone(), Arc::new(parts.health()));
    tasks.spawn_restarting("parts", move || {
        let health = health.clone();
        admin::dependencies::run(events.clone(), move || {
            let health = health.clone();
            async move { health.dependencies().await }
        })
    });
}

/// Gives the embedder, which was opened before the targets, access to them.
fn connect_embedder(parts: &Parts, embedder: Option<&RemoteEmbedder>) {
    let (Some(memory), Some(embedder)) = (&parts.memory, embedder) else { return };
    let current = parts.config.clone();
    embedder.connect(EmbedderContext {
        dispatcher: parts.dispatcher.clone(),
        calls: parts.calls.clone(),
        snapshot: Box::new(move || Some(current.snapshot())),
    });
    memory.start_embedding();
}

/// Drains: readiness turns at once, running calls finish, the rest get an error and are closed.
async fn drain(parts: &Parts) {
    let limit = parts.config.snapshot().config.server.drain_timeout;
    tracing::info!(in_flight = parts.calls.len(), ?limit, "draining");
    parts.tasks.draining().cancel();
    if !idle_before(&parts.calls, Instant::now() + limit).await {
        tracing::warn!(in_flight = parts.calls.len(), "drain timeout reached; aborting requests in flight");
    }
    parts.tasks.abort_streams().cancel();
    idle_before(&parts.calls, Instant::now() + FINAL_FLUSH).await;
    // A moment for the last bytes to leave the sockets.
    sleep(DRAIN_TICK).await;
    if let Some(memory) = &parts.memory
        && timeout(STORE_CLOSE_TIMEOUT, memory.close()).await.is_err()
    {
        tracing::warn!("memory store did not close in time; the last turns may not be remembered");
    }
    parts.tracer.close(FINAL_FLUSH).await;
    if let Some(redis) = &parts.redis {
        parts.admission.close().await;
        redis.close().await;
    }
    parts.tasks.shutdown().cancel();
    if timeout(FINAL_FLUSH, parts.tasks.finished()).await.is_err() {
        tracing::warn!("shutdown timed out; aborting remaining tasks");
    }
    tracing::info!("stopped");
}

async fn idle_before(calls: &Registry, deadline: Instant) -> bool {
    while !calls.is_empty() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(DRAIN_TICK).await;
    }
    true
}

async fn stop_signal() -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn greeting(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let (models, providers) = (config.models.len(), config.providers.len());
    let version = env!("CARGO_PKG_VERSION");
    format!("concierge {version} listens on {scheme}://{address} ({models} models, {providers} providers)")
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the standard library has many kinds, and may have more")]
fn in_words(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("server.listen: {address} is in use: stop what listens there, or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!("server.listen: permission denied for {address}: choose a port above 1023")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("server.listen: {address} is not an address of this machine")
        }
        _ => format!("server.listen: {address}: {error}"),
    }
}
