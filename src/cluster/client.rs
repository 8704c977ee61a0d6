//! The Redis client: calls with a short timeout, and the last known state while Redis is down.
//!
//! All calls share one multiplexed connection. A call without a reply within [`CALL_TIMEOUT`] opens the circuit:
//! from then on every call returns [`RedisUnavailable`] at once, until `reconnect` has a new connection. So an outage
//! costs a request one timeout at most, and most requests nothing.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{
    ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation, ServerErrorKind,
    aio::MultiplexedConnection,
};
use rustls::ClientConfig;
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{membership::Membership, pubsub::Channels, reconnect, url::RedisUrl};
use crate::{
    config::{self, OnError},
    tasks::Tasks,
    telemetry::metrics::{Counter, CounterMap},
};

/// The longest that a call waits for its reply.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// Why a call has no reply: a timeout, a broken connection or server, an error reply.
pub const ERRORS: [&str; 3] = ["timeout", "broken", "refused"];
/// Interval between log lines about errors of single calls: a bug of ours must not fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A client of one Redis. Clones share it.
#[derive(Clone)]
pub struct RedisClient(Arc<ClientInner>);

/// Redis cannot be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis cannot be asked now")]
pub struct RedisUnavailable;

/// Identifies this process among the gateways; random at each start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayId(Arc<str>);

/// Whether Redis answers, and the generation of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// Redis answers.
    pub up: bool,
    /// Rises with every connection, and when Redis has lost its data: everything registered there must be
    /// registered again.
    pub since: u64,
}

/// Counts of the client.
#[derive(Debug, Default)]
pub struct RedisMeters {
    /// Calls without a reply, by error.
    pub errors: CounterMap<&'static str>,
    /// Messages of [`RedisClient::publish`] that were not sent.
    pub untold: Counter,
}

pub(super) struct ClientInner {
    pub id: GatewayId,
    pub address: RedisUrl,
    pub tasks: Tasks,
    pub channels: Channels,
    meters: RedisMeters,
    closed: AtomicBool,
    line: ArcSwapOption<RedisConnection>,
    news: watch::Sender<ConnectionState>,
    census: Mutex<Membership>,
    /// Milliseconds from the start of this process to the server's epoch.
    clock: AtomicI64,
    start: Instant,
    /// Milliseconds since the start until errors may be logged again.
    quiet_until: AtomicU64,
    /// Whether the outage has been logged; initially nothing was ever connected.
    told_away: AtomicBool,
}

/// One connection, from its handshake to its end.
pub(super) struct RedisConnection {
    pub connection: MultiplexedConnection,
    /// Distinguishes one process of the server from the next.
    pub run_id: Arc<str>,
    pub broken: CancellationToken,
}

impl RedisClient {
    /// A client of the Redis in `config`, if there is one. An unreachable server is no error: it is connected in the
    /// background. `tls` is called if the URL wants TLS.
    ///
    /// # Errors
    /// One sentence, if the URL is not a valid Redis URL.
    pub fn open(
        config: &config::Redis,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, rustls::Error>,
        tasks: &Tasks,
    ) -> Result<Option<Self>, String> {
        let Some(url) = &config.url else { return Ok(None) };
        let now = Instant::now();
        let inner = Arc::new(ClientInner {
            id: GatewayId::random(),
            address: RedisUrl::parse(url.expose(), tls)?,
            tasks: tasks.clone(),
            channels: Channels::default(),
            meters: RedisMeters::default(),
            closed: AtomicBool::new(config.on_error == OnError::Closed),
            line: ArcSwapOption::empty(),
            news: watch::Sender::default(),
            census: Mutex::new(Membership::new(now)),
            clock: AtomicI64::new(0),
            start: now,
            quiet_until: AtomicU64::new(0),
            told_away: AtomicBool::new(false),
        });
        let kept = inner.clone();
        tasks.spawn_restarting("redis", move || reconnect::run(kept.clone()));
        Ok(Some(Self(inner)))
    }

    /// Runs a script, which is atomic.
    ///
    /// # Errors
    /// [`RedisUnavailable`], after [`CALL_TIMEOUT`] at most.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, RedisUnavailable> {
        let line = self.0.connection()?;
        let mut connection = line.connection.clone();
        self.0.answer(&line, script.invoke_async(&mut connection)).await
    }

    /// Sends several commands at once, and waits for all replies.
    ///
    /// # Errors
    /// [`RedisUnavailable`], after [`CALL_TIMEOUT`] at most.
    pub async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, RedisUnavailable> {
        let line = self.0.connection()?;
        let mut connection = line.connection.clone();
        self.0.answer(&line, pipe.query_async(&mut connection)).await
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        self.0.line.load().is_some()
    }

    /// Watches the state: up or down, and its generation.
    pub fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.0.news.subscribe()
    }

    /// Rises when everything registered in Redis must be registered again: see [`ConnectionState::since`].
    pub fn since(&self) -> u64 {
        self.0.news.borrow().since
    }

    /// The number of live gateways, with this one; the last known number while Redis is down.
    pub fn gateways(&self) -> usize {
        self.0.census.lock().gateways()
    }

    /// The id of this gateway.
    pub fn id(&self) -> &GatewayId {
        &self.0.id
    }

    /// The policy while Redis is down.
    pub fn on_error(&self) -> OnError {
        if self.0.closed.load(Relaxed) { OnError::Closed } else { OnError::Local }
    }

    /// Changes that policy.
    pub fn set_on_error(&self, on_error: OnError) {
        self.0.closed.store(on_error == OnError::Closed, Relaxed);
    }

    /// The run id of the server; `None` while it is down. It changes when the server restarts.
    pub fn run_id(&self) -> Option<Arc<str>> {
        self.0.line.load().as_ref().map(|line| line.run_id.clone())
    }

    /// The server's time in milliseconds at which a call made now times out. A script that runs later, because the server
    /// stalled while holding the request, must do nothing: its reply would be discarded.
    pub fn latest(&self) -> i64 {
        self.0.server_time() + CALL_TIMEOUT.as_millis() as i64
    }

    /// Sets the server's clock to `millis`, after it was changed or our estimate proved wrong.
    pub fn set_clock(&self, millis: i64) {
        self.0.set_clock(millis, Instant::now());
    }

    /// Subscribes to `channel` from now on. Messages are hints and may be lost.
    pub fn subscribe(&self, channel: &str) -> broadcast::Receiver<Bytes> {
        self.0.channels.subscribe(channel)
    }

    /// Publishes a message soon, or never: it is a hint.
    pub fn publish(&self, channel: &str, message: Bytes) {
        if !self.0.channels.publish(channel, message) {
            self.0.meters.untold.inc();
        }
    }

    /// The counts of the client.
    pub fn meters(&self) -> &RedisMeters {
        &self.0.meters
    }

    /// Deregisters, so that the others need not wait until this gateway expires.
    pub async fn close(&self) {
        if self.pipe::<()>(&reconnect::deregister(&self.0.id)).await == Err(RedisUnavailable) {
            tracing::debug!("Redis did not hear that this gateway ends");
        }
    }
}

impl ClientInner {
    fn connection(&self) -> Result<Arc<RedisConnection>, RedisUnavailable> {
        self.line.load_full().ok_or(RedisUnavailable)
    }

    async fn answer<T>(
        &self,
        line: &Arc<RedisConnection>,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisUnavailable> {
        match timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.failed(line, &error);
                Err(RedisUnavailable)
            }
            Err(_) => {
                self.meters.errors.add(ERRORS[0]);
                self.disconnect(line, &format!("no answer within {CALL_TIMEOUT:?}"));
                Err(RedisUnavailable)
            }
        }
    }

    /// A failing server counts as down; one that only rejects a single call does not.
    fn failed(&self, line: &Arc<RedisConnection>, error: &RedisError) {
        let refused = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoScript)
                | ErrorKind::UnexpectedReturnType
        ) || error.code() == Some("WRONGTYPE");
        if !refused {
            self.meters.errors.add(ERRORS[1]);
            return self.disconnect(line, &error.to_string());
        }
        self.meters.errors.add(ERRORS[2]);
        let now = self.start.elapsed().as_millis() as u64;
        let until = now + LOG_INTERVAL.as_millis() as u64;
        if self.quiet_until.fetch_max(until, Relaxed) <= now {
            tracing::error!(%error, "Redis refuses a call");
        }
    }

    /// Puts the connection `line` into use.
    pub fn connected(&self, line: &Arc<RedisConnection>) {
        self.line.store(Some(line.clone()));
        self.news.send_modify(|news| *news = ConnectionState { up: true, since: news.since + 1 });
        self.told_away.store(false, Relaxed);
        tracing::info!(gateways = self.census.lock().gateways(), "Redis is there");
    }

    /// Takes the connection `line` out of use, if it still is in use.
    pub fn disconnect(&self, line: &Arc<RedisConnection>, why: &str) {
        line.broken.cancel();
        let now = self.line.load();
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, line)) {
            self.line.compare_and_swap(&*now, None);
            self.news.send_modify(|news| news.up = false);
            self.away(why);
        }
    }

    /// Logs an outage, once.
    pub fn away(&self, why: &str) {
        if !self.told_away.swap(true, Relaxed) {
            tracing::warn!("Redis is away: {why}");
        }
    }

    /// Redis has lost its data: everything must be registered again.
    pub fn forgotten(&self) {
        tracing::warn!("Redis was emptied");
        self.news.send_modify(|news| news.since += 1);
    }

    /// Records the number of gateways.
    pub fn counted(&self, gateways: usize) {
        self.census.lock().counted(gateways, Instant::now());
    }

    /// Records that the server's clock was `millis` at `at` or a little later.
    pub fn set_clock(&self, millis: i64, at: Instant) {
        self.clock.store(millis - at.saturating_duration_since(self.start).as_millis() as i64, Relaxed);
    }

    fn server_time(&self) -> i64 {
        self.clock.load(Relaxed) + self.start.elapsed().as_millis() as i64
    }
}

impl GatewayId {
    fn random() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)).into())
    }

    /// The id as sixteen hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
