//! The reusable connections to one origin.
//!
//! It knows their ages and number of users. It cannot know whether a peer still lives: a connection whose
//! peer has vanished looks good. A caller that finds out must call [`ConnectionPool::evict`].

use std::{sync::Arc, time::Duration};

use hyper::client::conn::http2;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    clock,
    http1::client::{Http1, Reuse},
    upstream::exchange::request_body::SplicedBody,
};

/// Shorter than the keep-alive of every known provider, so that we close first.
const IDLE: Duration = Duration::from_secs(20);
/// A busy connection is not reused past this age: the next one resolves the name again.
const MAX_AGE: Duration = Duration::from_secs(55);
/// Streams on one HTTP/2 connection before a second is opened; servers commonly allow 100.
const H2_STREAMS: usize = 90;
/// Idle HTTP/1.1 connections kept.
const MAX_IDLE: usize = 256;

/// A connection that can take a request.
pub(crate) enum PooledConnection {
    Http1(Http1),
    Http2 { sender: http2::SendRequest<SplicedBody>, stream: Stream },
}

/// One user of an HTTP/2 connection, until dropped.
pub(crate) type Stream = Arc<()>;

/// All reusable connections to one origin.
#[derive(Default)]
pub(crate) struct ConnectionPool {
    idle: Mutex<Vec<IdleConnection>>,
    shared: Mutex<Vec<SharedHttp2>>,
}

struct IdleConnection {
    connection: Http1,
    since: Instant,
}

struct SharedHttp2 {
    sender: http2::SendRequest<SplicedBody>,
    born: Instant,
    /// Its strong count is the number of users plus one.
    streams: Stream,
}

impl ConnectionPool {
    /// A connection that looks good; for HTTP/1.1 the most recently used one.
    pub(crate) fn take(&self) -> Option<PooledConnection> {
        let now = clock::now();
        if let Some(connection) = self.take_h2(now) {
            return Some(connection);
        }
        loop {
            let mut idle = self.idle.lock().pop()?;
            if idle.is_fresh(now) && idle.connection.is_quiet() {
                return Some(PooledConnection::Http1(idle.connection));
            }
        }
    }

    fn take_h2(&self, now: Instant) -> Option<PooledConnection> {
        let mut shared = self.shared.lock();
        shared.retain(|shared| shared.is_fresh(now));
        let free = shared.iter().find(|shared| Arc::strong_count(&shared.streams) <= H2_STREAMS)?;
        Some(PooledConnection::Http2 { sender: free.sender.clone(), stream: free.streams.clone() })
    }

    /// Offers a new HTTP/2 connection to everybody; its first user is the caller.
    pub(crate) fn share(&self, sender: http2::SendRequest<SplicedBody>) -> PooledConnection {
        let stream = Stream::default();
        let shared = SharedHttp2 { sender: sender.clone(), born: clock::now(), streams: stream.clone() };
        self.shared.lock().push(shared);
        PooledConnection::Http2 { sender, stream }
    }

    /// Removes every connection: idle ones close, those in use close when their users have finished.
    pub(crate) fn evict(&self) {
        self.idle.lock().clear();
        self.shared.lock().clear();
    }

    /// Removes connections that have been idle too long, or are too old.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.lock().retain_mut(|idle| idle.is_fresh(now) && idle.connection.is_quiet());
        self.shared.lock().retain(|shared| shared.is_fresh(now));
    }
}

impl Reuse for Arc<ConnectionPool> {
    fn reuse(&self, connection: Http1) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(IdleConnection { connection, since: clock::now() });
        }
    }
}

impl IdleConnection {
    fn is_fresh(&self, now: Instant) -> bool {
        now < self.since + IDLE && now < self.connection.born + MAX_AGE
    }
}

impl SharedHttp2 {
    fn is_fresh(&self, now: Instant) -> bool {
        now < self.born + MAX_AGE && !self.sender.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn only_a_quiet_connection_is_used_again() {
        let pool = Arc::<ConnectionPool>::default();
        for quiet in [true, false] {
            let (ours, mut provider) = duplex(64);
            pool.reuse(Http1::new(ours, Instant::now()));
            if !quiet {
                provider.write_all(b"HTTP/1.1 408 Timeout\r\n\r\n").await.unwrap();
            }
            assert_eq!(pool.take().is_some(), quiet);
        }
    }
}
