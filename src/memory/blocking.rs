//! Work that takes long, off the async threads.

use super::store::StoreError;

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let failed = |_| StoreError::Failed("a task of the memory ended before its time".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}
