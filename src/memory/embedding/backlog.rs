//! The memories that wait for a vector: what wakes the worker, and what operators see of it.

use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Shared by whoever writes memories and the [worker](super::backlog_worker).
#[derive(Default)]
pub(crate) struct EmbeddingBacklog {
    pub(super) written: Notify,
    pub(super) trouble: Mutex<Option<String>>,
    /// The store knows our embedder: it is registered once, and not again after a bug of ours.
    pub(super) registered: AtomicBool,
}

impl EmbeddingBacklog {
    /// There is something new.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }

    /// Why it makes no progress, if it does not.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}
