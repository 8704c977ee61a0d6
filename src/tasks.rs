//! All tasks of the process, in one set that ends together.
//!
//! Nothing is spawned anywhere else, so that a shutdown can wait for all tasks. A task must itself watch
//! [`Tasks::shutdown`] if it does not end on its own. An essential one is [restarted](Tasks::spawn_restarting) after a
//! panic: a bug of ours must not leave a gateway that looks alive and has stopped listening, probing or
//! remembering.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::failpoint;

/// Delay before a task that panicked is restarted: one that always panics must not fill the log.
const RESTART: Duration = Duration::from_secs(1);

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
        // On the heap: the block below would otherwise reserve space for it twice, as long as a connection lives.
        let task = Box::pin(task);
        self.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs what `make` makes until it ends or the process does; after a panic it is made anew. The first is made at once,
    /// before this returns.
    pub fn spawn_restarting<F>(&self, name: &'static str, mut make: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut task = make();
        self.spawn_until_shutdown(async move {
            loop {
                let run = async {
                    failpoint::task(name);
                    task.await;
                };
                if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
                    return;
                }
                tracing::error!(task = name, "task panicked; restarting it");
                sleep(RESTART).await;
                task = make();
            }
        });
    }

    /// Cancelled when no new requests are accepted any more.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Cancelled when running calls must end now, with an error to their clients.
    pub fn abort_streams(&self) -> &CancellationToken {
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_until_it_ends() {
        let (tasks, starts) = (Tasks::new(), Arc::new(AtomicU32::new(0)));
        tasks.spawn_restarting("test", {
            let starts = starts.clone();
            move || {
                let start = starts.fetch_add(1, SeqCst) + 1;
                async move { assert!(start >= 3, "a bug") }
            }
        });
        assert_eq!(starts.load(SeqCst), 1, "made before it is spawned");
        tasks.finished().await;
        assert_eq!(starts.load(SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_process_ends_a_task_that_always_panics() {
        let tasks = Tasks::new();
        tasks.spawn_restarting("test", || async { panic!("a bug") });
        sleep(10 * RESTART).await;
        tasks.shutdown().cancel();
        tasks.finished().await;
    }
}
