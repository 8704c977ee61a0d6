//! Which store a configuration means, opened.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    config,
    memory::{
        store::{Store, StoreError, postgres::PostgresStore, sqlite::SqliteStore},
        text::preselect,
    },
    tasks::Tasks,
};

/// How long a start waits to learn whether a server takes us.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Opens the store.
///
/// Errors: what no waiting cures, such as a damaged file, a wrong password or a newer schema. A server that is away
/// is none: the gateway starts without it and finds it when it comes.
pub(crate) async fn store(
    config: &config::MemoryConfig,
    tasks: &Tasks,
) -> Result<Arc<dyn Store>, StoreError> {
    if config.store == config::StoreKind::Sqlite {
        return Ok(Arc::new(SqliteStore::open(&config.path)?));
    }
    let url = config.url.as_ref().map_or("", |url| url.expose());
    let store = PostgresStore::new(url, tasks, preselect::memory)?;
    match timeout(FIRST_LOOK, store.check()).await {
        Ok(Err(error @ (StoreError::Denied(_) | StoreError::Newer { .. }))) => return Err(error),
        Ok(Err(error)) => tracing::error!(%error, "memory store unavailable at startup"),
        Err(_) => tracing::error!("memory store unavailable at startup: no answer in time"),
        Ok(Ok(())) => {}
    }
    Ok(Arc::new(store))
}
