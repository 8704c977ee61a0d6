//! The Redis client: calls with a short timeout, and the last known state while Redis is down.
//!
//! All calls share one multiplexed connection. A call without a reply within [`CALL_TIMEOUT`] opens the circuit:
//! from then on every call returns [`RedisUnavailable`] at once, until `reconnect` has a new connection. So an outage
//! costs a request one timeout at most, and most requests nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{FromRedisValue, Pipeline, ScriptInvocation};
use rustls::ClientConfig;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use super::{
    connection::{CALL_TIMEOUT, ClientInner, ConnectionState, GatewayId, RedisMeters, RedisUnavailable},
    membership::Membership,
    pubsub::Channels,
    reconnect,
    url::RedisUrl,
};
use crate::{
    config::{self, OnError},
    tasks::Tasks,
};

/// A client of one Redis. Clones share it.
#[derive(Clone)]
pub struct RedisClient(Arc<ClientInner>);

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
            membership: Mutex::new(Membership::new(now)),
            clock: AtomicI64::new(0),
            start: now,
            quiet_until: AtomicU64::new(0),
            outage_logged: AtomicBool::new(false),
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
        self.0.membership.lock().gateways()
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
            self.0.meters.unsent.inc();
        }
    }

    /// The counts of the client.
    pub fn meters(&self) -> &RedisMeters {
        &self.0.meters
    }

    /// Deregisters, so that the others need not wait until this gateway expires.
    pub async fn close(&self) {
        if self.pipe::<()>(&reconnect::deregister(&self.0.id)).await == Err(RedisUnavailable) {
            tracing::debug!("could not deregister this gateway from Redis");
        }
    }
}
