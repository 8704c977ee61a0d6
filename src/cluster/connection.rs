//! The connection to Redis that is in force, and what is known while there is none.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{membership::Membership, pubsub::Channels, url::RedisUrl};
use crate::{
    tasks::Tasks,
    telemetry::metrics::{Counter, CounterMap},
};

/// The longest that a call waits for its reply.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// Why a call has no reply: a timeout, a broken connection or server, an error reply.
pub(crate) const ERRORS: [&str; 3] = ["timeout", "broken", "refused"];
/// Interval between log lines about errors of single calls: a bug of ours must not fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Redis cannot be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis is unavailable")]
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
    /// Messages of [`super::RedisClient::publish`] that were not sent.
    pub unsent: Counter,
}

pub(super) struct ClientInner {
    pub id: GatewayId,
    pub address: RedisUrl,
    pub tasks: Tasks,
    pub channels: Channels,
    pub meters: RedisMeters,
    pub closed: AtomicBool,
    pub line: ArcSwapOption<RedisConnection>,
    pub news: watch::Sender<ConnectionState>,
    pub membership: Mutex<Membership>,
    /// Milliseconds from the start of this process to the server's epoch.
    pub clock: AtomicI64,
    pub start: Instant,
    /// Milliseconds since the start until errors may be logged again.
    pub quiet_until: AtomicU64,
    /// Whether the outage has been logged; initially nothing was ever connected.
    pub outage_logged: AtomicBool,
}

/// One connection, from its handshake to its end.
pub(super) struct RedisConnection {
    pub connection: MultiplexedConnection,
    /// Distinguishes one process of the server from the next.
    pub run_id: Arc<str>,
    pub broken: CancellationToken,
}

impl ClientInner {
    pub(crate) fn connection(&self) -> Result<Arc<RedisConnection>, RedisUnavailable> {
        self.line.load_full().ok_or(RedisUnavailable)
    }

    pub(crate) async fn answer<T>(
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
            tracing::error!(%error, "Redis rejected a command");
        }
    }

    /// Puts the connection `line` into use.
    pub(crate) fn connected(&self, line: &Arc<RedisConnection>) {
        self.line.store(Some(line.clone()));
        self.news.send_modify(|news| *news = ConnectionState { up: true, since: news.since + 1 });
        self.outage_logged.store(false, Relaxed);
        tracing::info!(gateways = self.membership.lock().gateways(), "connected to Redis");
    }

    /// Takes the connection `line` out of use, if it still is in use.
    pub(crate) fn disconnect(&self, line: &Arc<RedisConnection>, why: &str) {
        line.broken.cancel();
        let now = self.line.load();
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, line)) {
            self.line.compare_and_swap(&*now, None);
            self.news.send_modify(|news| news.up = false);
            self.away(why);
        }
    }

    /// Logs an outage, once.
    pub(crate) fn away(&self, why: &str) {
        if !self.outage_logged.swap(true, Relaxed) {
            tracing::warn!("Redis is unavailable: {why}");
        }
    }

    /// Redis has lost its data: everything must be registered again.
    pub(crate) fn forgotten(&self) {
        tracing::warn!("Redis has lost its data; leases are registered again");
        self.news.send_modify(|news| news.since += 1);
    }

    /// Records the number of gateways.
    pub(crate) fn counted(&self, gateways: usize) {
        self.membership.lock().counted(gateways, Instant::now());
    }

    /// Records that the server's clock was `millis` at `at` or a little later.
    pub(crate) fn set_clock(&self, millis: i64, at: Instant) {
        self.clock.store(millis - at.saturating_duration_since(self.start).as_millis() as i64, Relaxed);
    }

    pub(crate) fn server_time(&self) -> i64 {
        self.clock.load(Relaxed) + self.start.elapsed().as_millis() as i64
    }
}

impl GatewayId {
    pub(super) fn random() -> Self {
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
