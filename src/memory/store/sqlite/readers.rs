//! Readers: a few threads, each with a connection of its own, that never wait for the writer.
//!
//! Every job is one read transaction and so sees the database as it was at one moment.

use std::sync::{Arc, mpsc::Receiver};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::threads::{ThreadQueue, guarded};
use crate::memory::store::StoreError;

/// Reads that may wait.
const QUEUE: usize = 4096;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the readers' threads.
pub(super) struct Readers {
    lane: ThreadQueue<Job>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(super) fn start(connections: Vec<Connection>) -> Result<Self, StoreError> {
        let (lane, queue) = ThreadQueue::new(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for connection in connections {
            let queue = queue.clone();
            lane.start("memory-reader", move || run(connection, &queue))?;
        }
        Ok(Self { lane })
    }

    /// Does `work` in a read transaction. It is left out if nobody waits for it any more when its turn comes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = move |connection: &mut Connection| {
            if !reply.is_closed() {
                // Whoever has left does not need the answer.
                drop(reply.send(within(connection, work)));
            }
        };
        self.lane.send(Box::new(job))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(super) async fn close(&self) {
        self.lane.close();
        self.lane.ended().await;
    }
}

fn run(mut connection: Connection, queue: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits in the queue, the others for the lock: either way for the next job.
        let job = queue.lock().recv();
        let Ok(job) = job else { return };
        job(&mut connection);
    }
}

/// `work` in one read transaction; a panic in it (an index is built in there) is an error of this read alone.
fn within<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection.transaction()?;
    let result = guarded(|| work(&transaction));
    transaction.finish()?;
    result
}
