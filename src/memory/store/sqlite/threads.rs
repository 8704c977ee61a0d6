//! A bounded queue and the threads that work it off.
//!
//! SQLite blocks, so it gets threads of its own: they are owned here and joined when the store is closed or dropped.
//! A sender never waits: a queue that is full refuses.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::memory::store::StoreError;

/// The sending end of a queue, and its threads.
pub(super) struct ThreadQueue<J> {
    /// `None` once closed.
    queue: Mutex<Option<SyncSender<J>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One token for each thread that still runs.
    running: TaskTracker,
}

impl<J: Send + 'static> ThreadQueue<J> {
    /// A lane without threads, for at most `room` waiting jobs, and the end that a thread takes them from.
    pub(super) fn new(room: usize) -> (Self, Receiver<J>) {
        let (sender, receiver) = mpsc::sync_channel(room);
        let lane =
            Self { queue: Mutex::new(Some(sender)), threads: Mutex::default(), running: TaskTracker::new() };
        lane.running.close();
        (lane, receiver)
    }

    /// Starts one of its threads, which must end when the queue does.
    ///
    /// Errors: [`StoreError::Failed`] if the system gives no thread.
    pub(super) fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let token: TaskTrackerToken = self.running.token();
        let run = move || {
            work();
            drop(token);
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| StoreError::Failed(format!("no thread for it: {error}")))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Puts a job at the end of the queue.
    ///
    /// Errors: [`StoreError::Busy`] if it is full, [`StoreError::Closed`] after [`ThreadQueue::close`].
    pub(super) fn send(&self, job: J) -> Result<(), StoreError> {
        let queue = self.queue.lock();
        match queue.as_ref().ok_or(StoreError::Closed)?.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    /// Takes no more jobs; what was accepted is still done.
    pub(super) fn close(&self) {
        drop(self.queue.lock().take());
    }

    /// Returns when every thread has ended; call after [`ThreadQueue::close`].
    pub(super) async fn ended(&self) {
        self.running.wait().await;
    }
}

impl<J> Drop for ThreadQueue<J> {
    fn drop(&mut self) {
        drop(self.queue.get_mut().take());
        for thread in self.threads.get_mut().drain(..) {
            // The last owner of a store can be one of its own jobs; a thread cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                // A thread that has panicked has said so on its way.
                drop(thread.join());
            }
        }
    }
}

/// `work`, whose panic is an error of this call alone and not the end of the thread.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let panicked = |_| Err(StoreError::Failed("it panicked, see the log".to_owned()));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn what_was_accepted_is_done_before_the_lane_is_gone() {
        let done = Arc::new(AtomicU32::new(0));
        let (lane, queue) = ThreadQueue::<u32>::new(100);
        for n in 0..100 {
            lane.send(n).unwrap();
        }
        assert_eq!(lane.send(100), Err(StoreError::Busy));
        let counter = done.clone();
        let work = move || {
            for _ in queue {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        };
        lane.start("test", work).unwrap();
        drop(lane);
        assert_eq!(done.load(Ordering::SeqCst), 100);
    }

    #[tokio::test]
    async fn a_closed_lane_refuses_and_ends() {
        let (lane, queue) = ThreadQueue::<u32>::new(1);
        lane.start("test", move || queue.iter().for_each(drop)).unwrap();
        lane.close();
        assert_eq!(lane.send(1), Err(StoreError::Closed));
        lane.ended().await;
    }
}
