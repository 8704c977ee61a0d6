//! How much the process takes on: connections, requests at once, bytes of bodies held.
//!
//! Beyond a bound a request is refused at once, before the process suffers; a connection waits to be accepted. Users
//! are kept apart by slots and limits: these bounds protect the process from all of them together.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections open at once; the next waits in the kernel's queue.
const CONNECTIONS: usize = 20_000;
/// Requests whose response has not begun: those that wait for a slot (10,000 at most), and those being asked.
const REQUESTS: usize = 20_000;
/// Bytes of request bodies held for all calls, at least.
const BODIES: usize = 512 << 20;
/// Of the largest bodies, this many at least.
const LARGEST_BODIES: usize = 4;
/// Bodies are counted in pieces of this many bytes.
const PIECE: usize = 1024;

/// The bounds, shared by everything that serves.
pub(crate) struct ProcessLimits {
    connections: Arc<Connections>,
    /// For tower's limit of requests at once.
    pub requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

struct Connections {
    free: Semaphore,
    ended: Notify,
}

/// Room for one connection; given back when dropped, which is after the connection's end.
pub(crate) struct ConnectionPermit(Arc<Connections>);

/// Bytes of a body that are held; given back when dropped.
#[derive(Debug, Default)]
pub struct HeldBytes(Option<OwnedSemaphorePermit>);

impl ProcessLimits {
    /// Nothing taken on yet; one body has at most `max_body` bytes.
    pub(crate) fn new(max_body: usize) -> Self {
        let bodies = BODIES.max(max_body.saturating_mul(LARGEST_BODIES)) / PIECE;
        Self {
            connections: Arc::new(Connections { free: Semaphore::new(CONNECTIONS), ended: Notify::new() }),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            bodies: Arc::new(Semaphore::new(bodies.min(u32::MAX as usize))),
        }
    }

    /// Room for one more connection, once there is some.
    pub(crate) async fn connection(&self) -> Option<ConnectionPermit> {
        self.connections.free.acquire().await.ok()?.forget();
        Some(ConnectionPermit(self.connections.clone()))
    }

    /// A connection ends, or one has since this was last asked.
    pub(crate) async fn connection_ended(&self) {
        self.connections.ended.notified().await;
    }

    /// Makes `held` cover `bytes`; false if that is more than the process takes on.
    pub(crate) fn hold(&self, held: &mut HeldBytes, bytes: usize) -> bool {
        let covered = held.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(PIECE).saturating_sub(covered);
        if more == 0 {
            return true;
        }
        let Ok(more) = u32::try_from(more) else { return false };
        let Ok(permit) = self.bodies.clone().try_acquire_many_owned(more) else { return false };
        match &mut held.0 {
            Some(held) => held.merge(permit),
            None => held.0 = Some(permit),
        }
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.free.add_permits(1);
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn connections_have_room_up_to_the_bound_and_their_end_is_told() {
        let load = ProcessLimits::new(0);
        let next = || load.connection().now_or_never().flatten();
        let mut open: Vec<_> = (0..CONNECTIONS).map_while(|_| next()).collect();
        assert_eq!(open.len(), CONNECTIONS);
        assert!(next().is_none() && load.connection_ended().now_or_never().is_none());
        drop(open.pop());
        assert!(load.connection_ended().now_or_never().is_some());
        assert!(next().is_some());
    }

    #[test]
    fn bodies_are_held_up_to_the_bound_and_given_back() {
        let load = ProcessLimits::new(0);
        let mut held = HeldBytes::default();
        assert!(load.hold(&mut held, 1) && load.hold(&mut held, BODIES));
        let mut other = HeldBytes::default();
        assert!(!load.hold(&mut other, 1));
        assert!(load.hold(&mut held, 5), "what is covered costs nothing");
        drop(held);
        assert!(load.hold(&mut other, BODIES));
        assert!(!load.hold(&mut HeldBytes::default(), usize::MAX));
    }
}
