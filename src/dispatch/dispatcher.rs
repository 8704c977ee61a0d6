//! What all calls share, and what the response headers report of one.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{budget::Budget, hedge::Hedges};
use crate::{events::Events, tasks::Tasks};

/// What all calls share.
pub struct Dispatcher {
    /// Bounds how many attempts may be repeats.
    pub budget: Arc<Budget>,
    pub(super) hedges: Hedges,
    pub(super) events: Events,
    tasks: Tasks,
}

impl Dispatcher {
    /// With a full budget.
    pub fn new(events: Events, tasks: Tasks, now: Instant) -> Arc<Self> {
        Arc::new(Self { budget: Budget::new(now), hedges: Hedges::default(), events, tasks })
    }

    /// The tasks of the process.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// The path to an answer, for the response headers.
#[derive(Debug, Clone)]
pub struct ResponseTrail {
    /// The target that answered, or failed last; `None` if none was tried.
    pub target: Option<Arc<str>>,
    /// Attempts made, on all targets together.
    pub attempts: u32,
    /// Time spent in the queue for a slot.
    pub queued: Duration,
    /// Time in the gateway before the first attempt, without the queue.
    pub overhead: Duration,
}
