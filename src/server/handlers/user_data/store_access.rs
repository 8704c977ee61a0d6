//! How handlers ask the memory store for one user: within a time limit, and with its trouble as a refusal.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    memory::{
        service::MemoryService,
        store::{Forgotten, StoreError},
    },
    refusal::{MemoryError, Refusal, RequestError},
    tasks::Tasks,
    user::UserId,
};

/// The store as one user's request sees it.
#[derive(Clone)]
pub(crate) struct StoreAccess {
    /// Memory.
    pub memory: Arc<MemoryService>,
    /// Whose.
    pub user: UserId,
    /// Longest wait for one answer of the store.
    pub limit: Duration,
    /// For answers that take long: they end with the process.
    pub tasks: Tasks,
}

impl StoreAccess {
    /// What the store says to `work`, within the time limit: see [`ask`].
    ///
    /// # Errors
    /// The refusal that the store's trouble means to the client; the log has the rest.
    pub(crate) async fn call_store<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        ask(self.limit, work).await
    }
}

/// What the store says to `work`, within `limit`.
///
/// # Errors
/// The refusal that the store's trouble means to the client; the log has the rest.
pub(crate) async fn ask<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Refusal> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| refusal(&error)),
        Err(_) => {
            tracing::warn!(?limit, "memory store timed out");
            let message =
                "The memory store did not answer in time; a write may or may not have been applied.";
            Err(MemoryError::StoreUnavailable(message).into())
        }
    }
}

/// How many memories are gone; a refusal if their text may still be in the files.
pub(crate) fn after_erasure(forgotten: &Forgotten) -> Result<usize, Refusal> {
    let message = "The memories were deleted, but their text could not be erased from the files yet: \
        please repeat the request.";
    if forgotten.erased {
        Ok(forgotten.seqs.len())
    } else {
        Err(MemoryError::StoreUnavailable(message).into())
    }
}

fn refusal(error: &StoreError) -> Refusal {
    let message = error.for_client();
    match error {
        StoreError::Duplicate => MemoryError::Duplicate(message).into(),
        StoreError::Stale { etag } => MemoryError::PreconditionFailed { etag: etag.clone() }.into(),
        StoreError::NotAnObject => Refusal::bad_request("invalid_type", None, message),
        StoreError::TooLarge { limit } => RequestError::TooLarge { limit: *limit }.into(),
        StoreError::Busy
        | StoreError::Closed
        | StoreError::Away(_)
        | StoreError::Unsure
        | StoreError::Denied(_)
        | StoreError::Locked
        | StoreError::Full
        | StoreError::ReadOnly
        | StoreError::Corrupt(_)
        | StoreError::Newer { .. }
        | StoreError::Foreign
        | StoreError::Failed(_)
        | StoreError::Open { .. } => {
            tracing::error!(%error, "memory store failed");
            MemoryError::StoreUnavailable(message).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_cannot_do_is_told_in_the_clients_terms() {
        assert!(matches!(refusal(&StoreError::Duplicate), Refusal::Memory(MemoryError::Duplicate(_))));
        let stale = StoreError::Stale { etag: "\"a\"".into() };
        assert_eq!(refusal(&stale), MemoryError::PreconditionFailed { etag: "\"a\"".into() }.into());
        assert!(matches!(refusal(&StoreError::NotAnObject), Refusal::Request(RequestError::Invalid(_))));
        for outage in [StoreError::Busy, StoreError::Full, StoreError::Corrupt("/secret/path".into())] {
            let Refusal::Memory(MemoryError::StoreUnavailable(message)) = refusal(&outage) else {
                panic!("{outage}")
            };
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn what_is_still_in_the_files_is_not_forgotten() {
        let forgotten = |erased| Forgotten { seqs: vec![1, 2], epoch: 3, erased };
        assert_eq!(after_erasure(&forgotten(true)), Ok(2));
        assert!(matches!(
            after_erasure(&forgotten(false)),
            Err(Refusal::Memory(MemoryError::StoreUnavailable(_)))
        ));
    }
}
