//! Idempotency keys: a write that is repeated is answered with what it stored the first time.
//!
//! Neither a key nor the content is kept, only their hashes, and these for a day of the user's.

use super::{pool::Session, rows, session::Params};
use crate::{
    memory::store::{
        MemoryRecord, StoreError, UnixMillis,
        fingerprint::{Fingerprint, KEPT},
    },
    user::UserId,
};

/// What was stored under this key; `None` if it is new.
///
/// Errors: [`StoreError::Duplicate`] if it stands for other content, or for memories that are forgotten.
pub(super) async fn stored(
    session: &mut Session<'_>,
    user: (&UserId, i64),
    key: &Fingerprint,
    now: UnixMillis,
) -> Result<Option<Vec<MemoryRecord>>, StoreError> {
    let (name, row) = (user.0.as_str(), user.1);
    let expired = now.0.saturating_sub(KEPT);
    session.query("DELETE FROM concierge.keys WHERE user_id = $1 AND at < $2", &[&row, &expired]).await?;
    let look = "SELECT content, first, last FROM concierge.keys WHERE user_id = $1 AND key = $2";
    let known = session.query(look, &[&row, &&key.key[..]]).await?;
    let Some(known) = known.first() else { return Ok(None) };
    if known.get::<_, Option<&[u8]>>(0) != Some(&key.content[..]) {
        return Err(StoreError::Duplicate);
    }
    let (first, last): (i64, i64) = (known.get(1), known.get(2));
    let written: Params<'_> = &[&name, &first, &last];
    let found = session.query(rows::select!("m.seq BETWEEN $2 AND $3 ORDER BY m.seq"), written).await?;
    rows::memories(&found).map(Some)
}

/// Remembers that `memories` were stored under this key.
pub(super) async fn keep(
    session: &mut Session<'_>,
    user: i64,
    key: &Fingerprint,
    memories: &[MemoryRecord],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (memories.first(), memories.last()) else { return Ok(()) };
    let items = i64::try_from(memories.len()).unwrap_or(i64::MAX);
    let write = "INSERT INTO concierge.keys (user_id, key, content, first, last, items, at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let params: Params<'_> =
        &[&user, &&key.key[..], &&key.content[..], &first.seq, &last.seq, &items, &now.0];
    session.query(write, params).await.map(drop)
}

/// Keys whose memories are no longer whole stay known, so that a late repetition does not bring back what was
/// forgotten, but no longer say what they stood for.
pub(super) async fn forget(session: &mut Session<'_>, user: i64) -> Result<(), StoreError> {
    let write =
        "UPDATE concierge.keys k SET content = NULL WHERE user_id = $1 AND content IS NOT NULL AND items >
                     (SELECT count(*) FROM concierge.memories m
                      WHERE m.user_id = $1 AND m.seq BETWEEN k.first AND k.last)";
    session.query(write, &[&user]).await.map(drop)
}
