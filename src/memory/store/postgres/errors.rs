//! What PostgreSQL's errors mean.
//!
//! Of a server's message only the sentence is taken, never its detail: that may quote a row.

use tokio_postgres::{Error, error::SqlState};

use crate::memory::store::StoreError;

/// The meaning of an error.
pub(super) fn store_error(error: &Error) -> StoreError {
    let Some(said) = error.as_db_error() else { return StoreError::Away(in_words(error)) };
    let sentence = || format!("{} ({})", said.message(), said.code().code());
    match said.code().code() {
        // No room on the disk; a standby or a read-only database.
        "53100" => StoreError::Full,
        "25006" => StoreError::ReadOnly,
        // Starting, stopping, crashed, out of connections or memory; a lock or a statement that took too long.
        code if ["57", "08", "53", "55"].contains(&&code[..2]) => StoreError::Away(sentence()),
        // Wrong password, no such role, no such database, no permission.
        code if code.starts_with("28") => StoreError::Denied(sentence()),
        _ if denies(said.code()) => StoreError::Denied(sentence()),
        _ => StoreError::Failed(sentence()),
    }
}

fn denies(code: &SqlState) -> bool {
    [SqlState::INVALID_CATALOG_NAME, SqlState::INSUFFICIENT_PRIVILEGE].contains(code)
}

/// The driver's sentence and its cause: "error connecting to server: Connection refused".
fn in_words(error: &Error) -> String {
    let mut words = error.to_string();
    if let Some(cause) = std::error::Error::source(error)
        && !words.contains(&cause.to_string())
    {
        words = format!("{words}: {cause}");
    }
    words
}
