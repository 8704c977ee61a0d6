//! Every task of the process, in one set with one end.
//!
//! Nothing is spawned anywhere else, so that a shutdown can wait for all of it and a panic in a task is
//! seen. A task gets a name and must itself watch [`Tasks::shutdown`] if it does not end on its own.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The set, and the signals that end it. Clones share both.
#[derive(Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    draining: CancellationToken,
    cut: CancellationToken,
    shutdown: CancellationToken,
}

impl Tasks {
    /// A new, empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` until it ends. The only spawn of the crate.
    #[allow(clippy::disallowed_methods)]
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tracker.spawn(task));
    }

    /// Runs `task` until it ends or the process does.
    pub fn spawn_until_shutdown(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Cancelled when no new requests are taken any more.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when calls that still run must end now, with a word to their clients.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Cancelled when every task must end now.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Waits until every task has ended; call after [`Tasks::shutdown`] was cancelled.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
