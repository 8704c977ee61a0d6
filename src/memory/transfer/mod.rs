//! Memories and contexts from one store to another: `concierge memory export` and `import`.
//!
//! An export is lines of JSON, see [`line`], and ends in a line with counts and a checksum. An import reads all of it
//! before it writes anything, so a damaged file changes nothing; what is there already is passed over, so that to
//! resume is to repeat. Neither holds more than a few hundred memories at a time.

use std::{path::Path, sync::Arc};

use super::store::{Store, open};
use crate::{config, tasks::Tasks};

mod export;
mod import;
mod line;
mod source;
#[cfg(test)]
mod tests;

/// Standard output or input.
const STANDARD: &str = "-";

/// Writes what the store of this configuration holds to `file`; what was written, in one sentence.
///
/// # Errors
/// One sentence: the configuration, the store or the file cannot be used.
pub fn export(config: &Path, file: &Path) -> Result<String, String> {
    with_store(config, async |store| export::to(store, file).await)
}

/// Writes what `file` holds to the store of this configuration; what was written, in one sentence.
///
/// # Errors
/// One sentence: as [`export()`], or the line of the file that is damaged.
pub fn import(config: &Path, file: &Path) -> Result<String, String> {
    with_store(config, async |store| import::from(store, file).await)
}

fn with_store(
    config: &Path,
    work: impl AsyncFnOnce(Arc<dyn Store>) -> Result<String, String>,
) -> Result<String, String> {
    let loaded = config::load(config).map_err(|problems| problems.to_string())?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("the runtime does not start: {error}"))?;
    runtime.block_on(async {
        let store = open::store(&loaded.config.memory, &Tasks::new()).await.map_err(in_words)?;
        store.check().await.map_err(in_words)?;
        let done = work(store.clone()).await;
        store.close().await;
        done
    })
}

fn in_words(error: super::store::StoreError) -> String {
    format!("memory: {error}")
}
