//! The line to Redis: calls that never take long, and what is known while nobody answers.
//!
//! All calls share one connection, which carries many at a time. Who gets no answer within [`PATIENCE`] opens the circuit:
//! from then on every call is answered [`RedisUnavailable`] at once, until `keeper` has connected anew. So an outage costs
//! a request one patience at most, and most requests nothing.

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

/// The longest that a call waits for its answer.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// How a call can go without an answer: it came too late, the connection or the server broke, the server refused it.
pub const ERRORS: [&str; 3] = ["timeout", "broken", "refused"];
/// Errors of single calls are told this far apart: a bug of ours must not fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The line to Redis. Clones share it.
#[derive(Clone)]
pub struct RedisClient(Arc<ClientInner>);

/// Redis is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis is unavailable")]
pub struct RedisUnavailable;

/// Tells this process from the others; drawn at its start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayId(Arc<str>);

/// Whether Redis answers, and since when it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionState {
    /// Whether Redis is connected.
    pub up: bool,
    /// Rises with every connection, and when Redis has forgotten what it knew: whatever was entered there is to be
    /// entered again.
    pub since: u64,
}

/// What happened on the line.
#[derive(Debug, Default)]
pub struct RedisMeters {
    /// Calls without an answer, by what was wrong.
    pub errors: CounterMap<&'static str>,
    /// Messages of [`RedisClient::tell`] that were not sent.
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
    /// Milliseconds since the start until errors may be told again.
    quiet_until: AtomicU64,
    /// Whether the outage was told of; nobody was ever connected at first.
    told_away: AtomicBool,
}

/// One connection, from its handshake to its end.
pub(super) struct RedisConnection {
    pub connection: MultiplexedConnection,
    /// Tells one process of the server from the next.
    pub run_id: Arc<str>,
    pub broken: CancellationToken,
}

impl RedisClient {
    /// The line to the server of `config`, if it names one. An absent server is no error: it is connected in the background.
    /// `tls` is asked where the URL wants TLS.
    ///
    /// # Errors
    /// One sentence, if the URL cannot be one of a Redis.
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
    /// [`RedisUnavailable`], after [`PATIENCE`] at most.
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, RedisUnavailable> {
        let line = self.0.connection()?;
        let mut connection = line.connection.clone();
        self.0.answer(&line, script.invoke_async(&mut connection)).await
    }

    /// Sends some commands at once, and waits for all of their answers.
    ///
    /// # Errors
    /// [`RedisUnavailable`], after [`PATIENCE`] at most.
    pub async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, RedisUnavailable> {
        let line = self.0.connection()?;
        let mut connection = line.connection.clone();
        self.0.answer(&line, pipe.query_async(&mut connection)).await
    }

    /// Whether Redis answers.
    pub fn is_up(&self) -> bool {
        self.0.line.load().is_some()
    }

    /// What [`RedisClient::is_up`] says and how it changes; it also says when Redis has forgotten.
    pub fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.0.news.subscribe()
    }

    /// Rises when what was entered in Redis is to be entered again: see [`ConnectionState::since`].
    pub fn since(&self) -> u64 {
        self.0.news.borrow().since
    }

    /// How many gateways live, with this one; the last that was known while Redis is away.
    pub fn gateways(&self) -> usize {
        self.0.census.lock().gateways()
    }

    /// Who we are to the others.
    pub fn id(&self) -> &GatewayId {
        &self.0.id
    }

    /// What to do while Redis is away.
    pub fn on_error(&self) -> OnError {
        if self.0.closed.load(Relaxed) { OnError::Closed } else { OnError::Local }
    }

    /// Another rule from now on.
    pub fn set_on_error(&self, on_error: OnError) {
        self.0.closed.store(on_error == OnError::Closed, Relaxed);
    }

    /// Which process of the server answers; `None` while none does. After a restart it is another.
    pub fn run_id(&self) -> Option<Arc<str>> {
        self.0.line.load().as_ref().map(|line| line.run_id.clone())
    }

    /// The server's time in milliseconds at which a call that is made now has been given up. A script that is run later,
    /// because the server was stopped with our words in its ear, must do nothing: nobody would hear of it.
    pub fn latest(&self) -> i64 {
        self.0.server_time() + CALL_TIMEOUT.as_millis() as i64
    }

    /// The server's clock says `millis`: it was set, or we have lost count.
    pub fn set_clock(&self, millis: i64) {
        self.0.set_clock(millis, Instant::now());
    }

    /// What others publish on `channel` from now on. Messages may be lost: they are hints.
    pub fn subscribe(&self, channel: &str) -> broadcast::Receiver<Bytes> {
        self.0.channels.subscribe(channel)
    }

    /// Publishes a message soon, or never: it is a hint.
    pub fn publish(&self, channel: &str, message: Bytes) {
        if !self.0.channels.publish(channel, message) {
            self.0.meters.untold.inc();
        }
    }

    /// What happened on the line.
    pub fn meters(&self) -> &RedisMeters {
        &self.0.meters
    }

    /// Says goodbye, so that the others need not wait until this gateway has been silent for long.
    pub async fn close(&self) {
        if self.pipe::<()>(&reconnect::deregister(&self.0.id)).await == Err(RedisUnavailable) {
            tracing::debug!("could not deregister this gateway from Redis");
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

    /// A server that cannot serve is away; one that refuses a single call is not.
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
            tracing::error!(%error, "Redis rejected a command");
        }
    }

    /// `line` is in force.
    pub fn connected(&self, line: &Arc<RedisConnection>) {
        self.line.store(Some(line.clone()));
        self.news.send_modify(|news| *news = ConnectionState { up: true, since: news.since + 1 });
        self.told_away.store(false, Relaxed);
        tracing::info!(gateways = self.census.lock().gateways(), "connected to Redis");
    }

    /// `line` is not any more, if it still was.
    pub fn disconnect(&self, line: &Arc<RedisConnection>, why: &str) {
        line.broken.cancel();
        let now = self.line.load();
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, line)) {
            self.line.compare_and_swap(&*now, None);
            self.news.send_modify(|news| news.up = false);
            self.away(why);
        }
    }

    /// Tells of an outage, once.
    pub fn away(&self, why: &str) {
        if !self.told_away.swap(true, Relaxed) {
            tracing::warn!("Redis is unavailable: {why}");
        }
    }

    /// Redis has forgotten what it knew.
    pub fn forgotten(&self) {
        tracing::warn!("Redis has lost its data; leases are registered again");
        self.news.send_modify(|news| news.since += 1);
    }

    /// So many gateways are there.
    pub fn counted(&self, gateways: usize) {
        self.census.lock().counted(gateways, Instant::now());
    }

    /// The server's clock said `millis` at `at` or a little later.
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

    /// Sixteen hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
