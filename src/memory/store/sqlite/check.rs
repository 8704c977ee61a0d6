//! The look over the whole of a large file, beside the work: at the start it would hold everybody up for seconds.
//!
//! What it finds ends the store: every later call is refused with it. It must never hold up the end of the process.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use rusqlite::{Connection, InterruptHandle};

use super::threads::ThreadQueue;
use crate::memory::store::StoreError;

/// A check that runs, has run, or was not needed.
pub(super) struct Check {
    interrupt: Option<InterruptHandle>,
    damage: Arc<OnceLock<StoreError>>,
    /// Its one thread takes nothing from the queue.
    lane: ThreadQueue<Infallible>,
}

impl Check {
    /// Of a file that was looked over when it was opened.
    pub(super) fn done() -> Self {
        Self { interrupt: None, damage: Arc::default(), lane: ThreadQueue::new(0).0 }
    }

    /// Begins to look over the file of `connection`.
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let mut check = Self::done();
        check.interrupt = Some(connection.get_interrupt_handle());
        let damage = check.damage.clone();
        check.lane.start("memory-check", move || {
            if let Err(error @ StoreError::Corrupt(_)) = whole(&connection) {
                tracing::error!(%error, "memory store check failed");
                damage.get_or_init(|| error);
            }
        })?;
        Ok(check)
    }

    /// # Errors
    /// [`StoreError::Corrupt`] once damage was found.
    pub(super) fn passed(&self) -> Result<(), StoreError> {
        self.damage.get().map_or(Ok(()), |damage| Err(damage.clone()))
    }

    pub(super) async fn close(&self) {
        self.give_up();
        self.lane.ended().await;
    }

    fn give_up(&self) {
        if let Some(running) = &self.interrupt {
            running.interrupt();
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Reads every page.
///
/// # Errors
/// [`StoreError::Corrupt`] with the first thing that is wrong.
pub(super) fn whole(connection: &Connection) -> Result<(), StoreError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Corrupt(verdict)) }
}
