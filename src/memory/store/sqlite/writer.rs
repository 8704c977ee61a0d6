//! The one writer: every change goes through its thread, many of them in one transaction.
//!
//! Group commit: while one transaction reaches the disk, the next changes queue up; then all of them share the next.
//! A change is answered only after the commit that carries it has returned, and one that fails takes no other with
//! it: each has a savepoint of its own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::Receiver,
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::threads::{ThreadQueue, guarded};
use crate::memory::store::StoreError;

/// Changes that may wait.
const QUEUE: usize = 1024;

/// Changes that share a transaction.
const MAX_BATCH: usize = 256;

/// What the waiting changes may weigh, in KiB: 64 MiB of texts.
const MAX_KIB: u32 = 64 * 1024;

/// What follows the commit of a change, before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum After {
    Nothing,
    /// The log is emptied into the database, so that no file holds what was removed.
    Erase,
    /// The database is rewritten without its dead space, and the log emptied.
    Compact,
}

/// The way to the writer's thread.
pub(super) struct Writer {
    lane: ThreadQueue<Box<dyn Write>>,
    room: Arc<Semaphore>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread, which owns `connection` from now on.
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (lane, queue) = ThreadQueue::new(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        lane.start("memory-writer", move || run(connection, &queue, &counter))?;
        Ok(Self { lane, room: Arc::new(Semaphore::new(MAX_KIB as usize)), commits })
    }

    /// Does `work` in a transaction and returns what it came to, once that is durable, and how `after` went.
    /// `weight`: bytes that it holds.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        weight: usize,
        after: After,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Committed<T>, StoreError> {
        let kib = u32::try_from(weight / 1024).unwrap_or(MAX_KIB).clamp(1, MAX_KIB);
        let room = self.room.clone().try_acquire_many_owned(kib).map_err(|_| StoreError::Busy)?;
        let (reply, answer) = oneshot::channel();
        self.lane.send(Box::new(QueuedChange {
            work: Some(work),
            after,
            result: None,
            reply,
            _room: room,
        }))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Transactions committed so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) async fn close(&self) {
        self.lane.close();
        self.lane.ended().await;
    }
}

/// A change that is durable.
pub(super) struct Committed<T> {
    /// What it came to.
    pub value: T,
    /// How its [`After`] went.
    pub followed: Result<(), StoreError>,
}

/// One change on its way.
trait Write: Send {
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// Does it; an error is kept for the answer, and its changes are undone.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    /// What must follow.
    fn after(&self) -> After;
    /// Answers, now that the transaction is durable or has failed, and what followed it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>, followed: Result<(), StoreError>);
}

struct QueuedChange<T, F> {
    work: Option<F>,
    after: After,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<Committed<T>, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Write for QueuedChange<T, F> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = guarded(|| work(connection));
        let outcome = result.as_ref().map(drop).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn after(&self) -> After {
        self.after
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>, followed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            // Its own trouble says more than that of the transaction.
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(Committed { value, followed }),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever has left does not need the answer.
        drop(self.reply.send(result));
    }
}

fn run(mut connection: Connection, queue: &Receiver<Box<dyn Write>>, commits: &AtomicU64) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(MAX_BATCH - 1));
        batch.retain(|change| !change.is_abandoned());
        if batch.is_empty() {
            continue;
        }
        let committed = commit(&mut connection, &mut batch);
        if committed.is_ok() {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        let after = batch.iter().map(|change| change.after()).max().unwrap_or(After::Nothing);
        let followed = committed.clone().and_then(|()| follow(&connection, after));
        for change in batch {
            change.answer(committed.clone(), followed.clone());
        }
    }
}

/// All changes in one transaction.
fn commit(connection: &mut Connection, batch: &mut [Box<dyn Write>]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in batch {
        transaction.execute_batch("SAVEPOINT change")?;
        let done = change.run(&transaction);
        match done {
            Ok(()) => transaction.execute_batch("RELEASE change")?,
            // A full disk or a failed read can end the whole transaction; then nobody's change is in it.
            Err(error) if transaction.is_autocommit() => return Err(error),
            Err(_) => transaction.execute_batch("ROLLBACK TO change; RELEASE change")?,
        }
    }
    Ok(transaction.commit()?)
}

/// What a commit is followed by.
fn follow(connection: &Connection, after: After) -> Result<(), StoreError> {
    match after {
        After::Nothing => Ok(()),
        After::Erase => empty_log(connection),
        After::Compact => {
            connection.execute_batch("VACUUM")?;
            empty_log(connection)
        }
    }
}

/// Everything in the log is written to the database, and the log cut to nothing.
fn empty_log(connection: &Connection) -> Result<(), StoreError> {
    // Waits for readers as long as the busy timeout says.
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(StoreError::Locked) } else { Ok(()) }
}
