//! Idempotency keys: a write that is repeated is answered with what it stored the first time.
//!
//! Neither a key nor the content is kept, only their hashes, and these for a day.

use rusqlite::{Connection, OptionalExtension, params};

use super::rows;
use crate::memory::store::{
    Batch, MemoryRecord, StoreError, UnixMillis,
    fingerprint::{Fingerprint, KEPT},
};

/// A key with what is to be written under it.
pub(super) struct IdempotencyRow(Fingerprint);

impl IdempotencyRow {
    /// The key of `batch`, if it has one.
    pub(super) fn from_batch(batch: &Batch) -> Option<Self> {
        Fingerprint::from_batch(batch).map(Self)
    }

    /// What was stored under this key; `None` if it is new.
    pub(super) fn stored(
        &self,
        connection: &Connection,
        user: i64,
        now: UnixMillis,
    ) -> Result<Option<Vec<MemoryRecord>>, StoreError> {
        let expired = now.0.saturating_sub(KEPT);
        connection.prepare_cached("DELETE FROM keys WHERE at < ?1")?.execute([expired])?;
        let mut query = connection
            .prepare_cached("SELECT content, first, last FROM keys WHERE user = ?1 AND key = ?2")?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let known: Option<(Option<[u8; 32]>, i64, i64)> =
            query.query_row(params![user, self.0.key], read).optional()?;
        match known {
            None => Ok(None),
            Some((Some(content), first, last)) if content == self.0.content => {
                let mut query =
                    rows::select(connection, "m.user = ?1 AND m.n BETWEEN ?2 AND ?3 ORDER BY m.n")?;
                rows::collect(&mut query, params![user, first, last]).map(Some)
            }
            Some(_) => Err(StoreError::Duplicate),
        }
    }

    /// Remembers that `memories` were stored under this key.
    pub(super) fn keep(
        &self,
        connection: &Connection,
        user: i64,
        memories: &[MemoryRecord],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (memories.first(), memories.last()) else { return Ok(()) };
        let mut write = connection.prepare_cached(
            "INSERT INTO keys (user, key, content, first, last, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        write.execute(params![user, self.0.key, self.0.content, first.seq, last.seq, now.0])?;
        Ok(())
    }
}

/// Keys whose memories are no longer whole stay known, so that a late repetition does not bring back what was
/// forgotten, but no longer say what they stood for.
pub(super) fn forget(connection: &Connection, user: i64) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "UPDATE keys SET content = NULL WHERE user = ?1 AND content IS NOT NULL AND EXISTS
         (SELECT 1 FROM memories m WHERE m.n BETWEEN keys.first AND keys.last AND m.user IS NULL)",
    )?;
    write.execute([user])?;
    Ok(())
}
