//! Where memories and contexts are kept, durably and each for one user alone.
//!
//! [`Store`] is a trait because two databases implement it: SQLite for one gateway ([`sqlite::SqliteStore`]) and
//! PostgreSQL for several ([`postgres::PostgresStore`]). Three rules hold for every implementation:
//!
//! - What was acknowledged is on the disk. An error means that nothing of the call was written.
//! - Every method takes the [`UserId`] it acts for and never reads or changes a row of anybody else.
//! - A write and its epoch are one transaction: whoever caches under an epoch can never serve what was forgotten.
//!
//! A store must never rank, embed or decide what is worth keeping.

use futures_util::future::BoxFuture;

use crate::user::UserId;

mod changes;
#[cfg(test)]
mod conformance;
mod context;
mod error;
mod fingerprint;
mod id;
mod merge_patch;
pub(crate) mod open;
pub(crate) mod postgres;
mod records;
pub(crate) mod sqlite;

pub(crate) use changes::{Candidates, Changes, Description, IndexVersion};
pub(crate) use context::{Condition, ContextChange, MAX_CONTEXT, UserContext, Written};
pub(crate) use error::StoreError;
pub(crate) use fingerprint::KEPT;
pub(crate) use id::seq_of;
pub(crate) use records::{
    Activity, ActivityKind, Appended, Batch, Covered, Cursor, Embedded, Forget, Forgotten, MemoryRecord,
    NewMemory, PendingRecords, RecordPage, StoredEmbedding, Unembedded, UnixMillis, UserCounts,
};

/// Most memories that one [`Store::list`] returns.
pub(crate) const MAX_PAGE: usize = 200;

/// Characters of a text that an embedder is given; most take no more than some thousand tokens.
const MAX_EMBEDDED: i64 = 8_000;

/// Takes a user's rows chunk by chunk, on a thread that may block.
pub(crate) type Sink = Box<dyn FnMut(Vec<MemoryRecord>) + Send>;

/// What every method of a store returns: boxed, so that a configuration can choose the store at run time.
pub(crate) type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A durable home of memories and contexts.
///
/// Futures may be dropped at any time. A write that has not begun by then is not done; one that has, is done whole.
/// Besides the errors that a method names, each can fail with [`StoreError::Busy`], [`StoreError::Closed`] and the
/// troubles of the database itself ([`StoreError::is_outage`]).
pub(crate) trait Store: Send + Sync + 'static {
    /// Keeps all memories of `batch`, or none.
    ///
    /// With an idempotency key that this user has used within the last day for the same content, nothing is written
    /// and the stored items come back. Errors: [`StoreError::Duplicate`] if the key was used for other content, or
    /// for memories that have since been forgotten.
    fn append(&self, user: &UserId, batch: Batch, now: UnixMillis) -> StoreFuture<'_, Appended>;

    /// One memory; `None` also if it is somebody else's.
    fn get(&self, user: &UserId, id: &str) -> StoreFuture<'_, Option<MemoryRecord>>;

    /// A page of memories after `cursor`, oldest first; `limit` is held within 1..=[`MAX_PAGE`].
    fn list(&self, user: &UserId, cursor: Option<Cursor>, limit: usize) -> StoreFuture<'_, RecordPage>;

    /// Hands every memory of the user to `sink`, in the order of `seq`, as they were at one moment; returns the epoch
    /// of that moment. The sink runs off the async threads and is free to build an index on the spot; it must
    /// not wait for this store. Once begun it goes on to the end, also when the future is dropped.
    fn load(&self, user: &UserId, sink: Sink) -> StoreFuture<'_, u64>;

    /// Forgets what `which` says. Once this has returned with [`Forgotten::erased`], nothing of it can be read from
    /// the store's files either; without it, the rows are gone and whoever caches them must let go of them, but the
    /// caller should be told to repeat the request.
    fn forget(&self, user: &UserId, which: Forget, now: UnixMillis) -> StoreFuture<'_, Forgotten>;

    /// Whether other gateways write to it as well. Then [`Store::news`] is asked before an index is used.
    fn is_shared(&self) -> bool {
        false
    }

    /// By what users are searched who are too large for memory, in words; `None` if nobody is, or if the server was
    /// not there yet.
    fn preselection(&self) -> Option<&'static str> {
        None
    }

    /// What others have written since an index was built; `None` if there is none yet. A store that is not
    /// shared has no news.
    fn news(&self, _user: &UserId, _known: Option<IndexVersion>) -> StoreFuture<'_, Changes> {
        Box::pin(async { Ok(Changes::Same) })
    }

    /// The memories among which the best for a query are likely to be, with what was said around them, in the order
    /// of `seq`: for a user who is [`Changes::TooLarge`], and never more than some thousands.
    fn candidates(&self, _user: &UserId, _query: Description) -> StoreFuture<'_, Candidates> {
        Box::pin(async { Ok(Candidates::default()) })
    }

    /// Replaces embeddings by the `seq` of their memories, after the embedder was changed; returns the new epoch.
    /// Memories that are gone by now are passed over.
    fn set_embeddings(&self, user: &UserId, embeddings: Vec<(i64, StoredEmbedding)>) -> StoreFuture<'_, u64>;

    /// How many memories are kept for all users together: for operators.
    fn total(&self) -> StoreFuture<'_, u64>;

    /// From now on memories are embedded by `embedder`. Of a shared store the last word counts: gateways that have chosen
    /// another before find nothing to embed until they choose again, so that none undoes the work of another.
    fn embed_by(&self, _embedder: &str) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// The next memories, of whatever user, that have no vector of `embedder`: of about `limit` that are looked at.
    /// `after`: what the look before has covered, all of which has its vector by now or will never have one. For the
    /// gateway's own embedding in the background: what is found goes back to its user alone.
    ///
    /// Of a shared store several gateways may look at the same time: what one has found, the others do not find for
    /// some seconds.
    fn pending(
        &self,
        embedder: &str,
        after: Option<Covered>,
        limit: usize,
    ) -> StoreFuture<'_, PendingRecords>;

    /// How many memories of all users have a vector of `embedder`.
    fn embedded(&self, embedder: &str) -> StoreFuture<'_, Embedded>;

    /// How much is kept for the user.
    fn counts(&self, user: &UserId) -> StoreFuture<'_, UserCounts>;

    /// A number that grows with every write and every delete of the user; 0 before the first.
    #[cfg(test)]
    fn epoch(&self, user: &UserId) -> StoreFuture<'_, u64>;

    /// The user's own context; `{}` if none was ever written.
    fn context(&self, user: &UserId) -> StoreFuture<'_, UserContext>;

    /// Changes the context if `condition` is met; returns the new one. Comparing and changing are one step, so that no
    /// update is lost. With [`Written::erased`] nothing of the old one can be read from the store's files any more.
    ///
    /// Errors: [`StoreError::Stale`] if the condition is not met, [`StoreError::NotAnObject`] if the change is not a
    /// JSON object, [`StoreError::TooLarge`] if the result were larger than [`MAX_CONTEXT`].
    fn write_context(
        &self,
        user: &UserId,
        change: ContextChange,
        condition: Condition,
        now: UnixMillis,
    ) -> StoreFuture<'_, Written>;

    /// The newest events of the user, newest first, at most 50 of them. They hold no word of any memory.
    fn activity(&self, user: &UserId) -> StoreFuture<'_, Vec<Activity>>;

    /// Users with expired memories, that is with any created before `before`. For the retention sweep, which
    /// then lets each of them [`Store::forget`]; nobody else may act on users who are not there.
    fn users_with_older(&self, before: UnixMillis) -> StoreFuture<'_, Vec<UserId>>;

    /// Up to `limit` of all users, by name, after `after`: for the operator's export alone.
    fn users(&self, after: Option<UserId>, limit: usize) -> StoreFuture<'_, Vec<UserId>>;

    /// Puts exported memories back under the names that they had, and returns how many were not there. One whose
    /// place another memory has gets the next free one, and is found there when it is restored again.
    fn restore(&self, user: &UserId, memories: Vec<MemoryRecord>) -> StoreFuture<'_, usize>;

    /// Returns space to the file system if most of it is dead; whether it was. Can take long, and writes wait for it:
    /// for the retention sweep, once an hour at most.
    fn compact(&self) -> StoreFuture<'_, bool>;

    /// Whether the store can be read and written now, without changing anything.
    fn check(&self) -> StoreFuture<'_, ()>;

    /// Takes no more calls, and returns when everything accepted is done and the files are closed.
    fn close(&self) -> BoxFuture<'_, ()>;
}
