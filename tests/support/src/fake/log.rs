//! The log of calls to a fake provider.

use std::{
    ops::Deref,
    sync::{Arc, Mutex},
};

use tokio::{sync::Notify, time::Instant};

use super::request::Request;

/// One call and its progress.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request; its body is empty until `whole`.
    pub request: Request,
    /// The number of its connection to this provider, from 0.
    pub connection: usize,
    /// When the head had arrived.
    pub at: Instant,
    /// Whether the whole request body arrived.
    pub whole: bool,
    /// When the script had been played to its end.
    pub answered: Option<Instant>,
    /// When the peer closed the connection before the script's end.
    pub peer_closed: Option<Instant>,
}

impl Deref for Call {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

/// The log, and the number of concurrent calls.
#[derive(Default)]
pub(super) struct Log {
    inner: Mutex<Inner>,
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    /// Calls removed by `clear`, so that running ones still find their entries.
    forgotten: usize,
    in_flight: usize,
    high_water: usize,
}

impl Log {
    pub(super) fn begin(self: &Arc<Self>, connection: usize, head: &Request) -> Running {
        let request = head.clone();
        let call =
            Call { request, connection, at: Instant::now(), whole: false, answered: None, peer_closed: None };
        let number = self.with(|log| {
            log.in_flight += 1;
            log.high_water = log.high_water.max(log.in_flight);
            log.calls.push(call);
            log.forgotten + log.calls.len() - 1
        });
        Running { log: Arc::clone(self), number }
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.look(|log| log.calls.clone())
    }

    pub(super) fn clear(&self) {
        self.with(|log| {
            log.forgotten += log.calls.len();
            log.calls.clear();
            log.high_water = log.in_flight;
        });
    }

    /// Calls running now, and the most there were at once.
    pub(super) fn load(&self) -> (usize, usize) {
        self.look(|log| (log.in_flight, log.high_water))
    }

    fn look<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().expect("no test panics while it holds the log"))
    }

    /// Changes the log and notifies those waiting for a change.
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        let value = self.look(f);
        self.changed.notify_waiters();
        value
    }
}

/// A call that is being answered. Counts as in flight until dropped.
pub(super) struct Running {
    log: Arc<Log>,
    number: usize,
}

impl Running {
    pub(super) fn whole(&self, request: &Request) {
        self.update(|call| {
            call.request = request.clone();
            call.whole = true;
        });
    }

    pub(super) fn answered(&self, at: Instant) {
        self.update(|call| call.answered = Some(at));
    }

    pub(super) fn peer_closed(&self, at: Instant) {
        self.update(|call| call.peer_closed = Some(at));
    }

    fn update(&self, f: impl FnOnce(&mut Call)) {
        self.log.with(|log| {
            let call = self.number.checked_sub(log.forgotten).and_then(|i| log.calls.get_mut(i));
            call.map(f);
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.log.with(|log| log.in_flight -= 1);
    }
}
