//! Lets go of HTTP/2 clients that take nothing, or ask nothing.
//!
//! While a client keeps its window shut nobody polls the body that it asked for, so no deadline inside the body can
//! fire; and the connection is well, so no timer of the kernel does either. This is the clock outside: the whole stream
//! is dropped, which resets it, frees its slot and closes what it had open at the provider. The other streams of the
//! connection go on, for they may be other people's. A client that takes anything at all is never hurried.
//!
//! A connection without a stream answers pings for ever, and is a file and memory all the same: see [`Streams::are_idle`].

use std::{future::Future, sync::Arc, time::Duration};

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::{
    select, task_local,
    time::{Instant, sleep_until},
};

use crate::tasks::Tasks;

task_local! {
    /// The client at the other end of this HTTP/2 stream.
    static READER: Arc<StallReader>;
}

/// Runs the streams of one HTTP/2 connection, each for as long as its client takes what it is given. Clones are the same.
#[derive(Clone)]
pub(crate) struct Streams {
    tasks: Tasks,
    /// For a client that takes nothing.
    patience: Duration,
    running: Arc<Mutex<RunningStreams>>,
}

/// How many run, and when the number changed last.
struct RunningStreams {
    streams: usize,
    since: Instant,
}

/// One that runs, until it is dropped.
struct StreamGuard(Arc<Mutex<RunningStreams>>);

impl Streams {
    /// Those of a new connection. They run in `tasks`; a client that takes nothing for `patience` loses its stream.
    pub(crate) fn new(tasks: Tasks, patience: Duration) -> Self {
        let running = RunningStreams { streams: 0, since: Instant::now() };
        Self { tasks, patience, running: Arc::new(Mutex::new(running)) }
    }

    /// Ends once none has run for as long as `limit`.
    pub(crate) async fn are_idle(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let until = {
                let running = self.running.lock();
                (if running.streams == 0 { running.since } else { now }) + limit
            };
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl StreamGuard {
    fn begin(running: &Arc<Mutex<RunningStreams>>) -> Self {
        running.lock().streams += 1;
        Self(running.clone())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut running = self.0.lock();
        running.streams -= 1;
        running.since = Instant::now();
    }
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (reader, patience) = (Arc::new(StallReader::default()), self.patience);
        let runs = StreamGuard::begin(&self.running);
        self.tasks.spawn_until_shutdown(async move {
            let _runs = runs;
            select! {
                _ = READER.scope(reader.clone(), stream) => {}
                () = reader.is_stalled(patience) => tracing::debug!("HTTP/2 stream closed: the client read nothing for {patience:?}"),
            }
        });
    }
}

/// Whether a client has taken what it was given.
#[derive(Debug, Default)]
pub(crate) struct StallReader {
    /// When it was given what it has not taken yet.
    given: Mutex<Option<Instant>>,
}

impl StallReader {
    /// The reader of the stream that this task serves; `None` in HTTP/1.1, where the kernel watches.
    pub(crate) fn current() -> Option<Arc<Self>> {
        READER.try_with(Arc::clone).ok()
    }

    /// It has something to take, and has taken what was before.
    pub(crate) fn given(&self) {
        *self.given.lock() = Some(Instant::now());
    }

    /// It has taken everything, and waits for us.
    pub(crate) fn waits(&self) {
        *self.given.lock() = None;
    }

    /// Ends once it has taken nothing for as long as `patience`.
    async fn is_stalled(&self, patience: Duration) {
        loop {
            let now = Instant::now();
            let until = self.given.lock().unwrap_or(now) + patience;
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests;
