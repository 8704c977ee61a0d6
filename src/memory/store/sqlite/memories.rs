//! What can be done with memories, each in the transaction that it is given.

use rusqlite::{Connection, params};

use super::{
    keys::{self, IdempotencyRow},
    rows, users, vectors,
};
use crate::{
    memory::store::{
        Activity, ActivityKind, Appended, Batch, Cursor, Forget, MAX_PAGE, MemoryRecord, RecordPage, Sink,
        StoreError, StoredEmbedding, UnixMillis, UserCounts, fingerprint::session_key, id,
    },
    user::UserId,
};

/// Rows and bytes of text after which a chunk is handed over.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;

pub(super) fn append(
    connection: &Connection,
    user: &UserId,
    batch: Batch,
    now: UnixMillis,
) -> Result<Appended, StoreError> {
    let key = IdempotencyRow::from_batch(&batch);
    if let (Some(key), Some(row)) = (&key, users::find(connection, user)?)
        && let Some(memories) = key.stored(connection, row, now)?
    {
        return Ok(Appended { memories, epoch: users::epoch(connection, user)?, replayed: true });
    }
    let (row, epoch) = users::bump(connection, user)?;
    let memories = batch.memories.into_iter().map(|new| rows::insert(connection, row, new, now));
    let memories = memories.collect::<Result<Vec<_>, _>>()?;
    if let Some(key) = key {
        key.keep(connection, row, &memories, now)?;
    }
    note(connection, row, ActivityKind::Remembered, memories.len(), now)?;
    Ok(Appended { memories, epoch, replayed: false })
}

pub(super) fn get(
    connection: &Connection,
    user: &UserId,
    id: &str,
) -> Result<Option<MemoryRecord>, StoreError> {
    let (Some(seq), Some(row)) = (id::seq_of(id), users::find(connection, user)?) else { return Ok(None) };
    let mut query = rows::select(connection, "m.n = ?1 AND m.user = ?2 AND m.id = ?3")?;
    Ok(rows::collect(&mut query, params![seq, row, id])?.pop())
}

pub(super) fn list(
    connection: &Connection,
    user: &UserId,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<RecordPage, StoreError> {
    let Some(row) = users::find(connection, user)? else { return Ok(RecordPage::default()) };
    let limit = limit.clamp(1, MAX_PAGE);
    let after = cursor.unwrap_or(Cursor { created_at: i64::MIN, seq: i64::MIN });
    let mut query = rows::select(
        connection,
        "m.user = ?1 AND (m.created_at, m.n) > (?2, ?3) ORDER BY m.created_at, m.n LIMIT ?4",
    )?;
    // One more than asked for tells whether there is a next page.
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut memories = rows::collect(&mut query, params![row, after.created_at, after.seq, most])?;
    let more = memories.len() > limit;
    memories.truncate(limit);
    let last = memories.last().filter(|_| more);
    let next = last.map(|memory| Cursor { created_at: memory.created_at.0, seq: memory.seq });
    Ok(RecordPage { memories, next })
}

pub(super) fn load(connection: &Connection, user: &UserId, mut sink: Sink) -> Result<u64, StoreError> {
    let Some(row) = users::find(connection, user)? else { return Ok(0) };
    let mut query = rows::select(connection, "m.user = ?1 ORDER BY m.n")?;
    let mut found = query.query([row])?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let memory = rows::memory(row)?;
        bytes += memory.text.len();
        chunk.push(memory);
        if chunk.len() >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
            sink(std::mem::take(&mut chunk));
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        sink(chunk);
    }
    users::epoch(connection, user)
}

/// Returns which rows are gone, and the epoch.
pub(super) fn forget(
    connection: &Connection,
    user: &UserId,
    which: &Forget,
    now: UnixMillis,
) -> Result<(Vec<i64>, u64), StoreError> {
    let Some(row) = users::find(connection, user)? else { return Ok((Vec::new(), 0)) };
    let seqs = match which {
        Forget::Id(id) => match id::seq_of(id) {
            Some(seq) => rows::empty(connection, "n = ?2 AND id = ?3", params![row, seq, id])?,
            None => Vec::new(),
        },
        Forget::Matching { session: None, before } => {
            rows::empty(connection, "created_at <= ?2", params![row, until(*before)])?
        }
        // The plus keeps SQLite from walking all times instead of one session.
        Forget::Matching { session: Some(session), before } => rows::empty(
            connection,
            "session_key = ?2 AND session = ?3 AND +created_at <= ?4",
            params![row, session_key(session), session, until(*before)],
        )?,
    };
    if seqs.is_empty() {
        return Ok((seqs, users::epoch(connection, user)?));
    }
    keys::forget(connection, row)?;
    let (_, epoch) = users::bump(connection, user)?;
    note(connection, row, ActivityKind::Forgotten, seqs.len(), now)?;
    Ok((seqs, epoch))
}

/// The last time that is before `before`.
fn until(before: Option<UnixMillis>) -> i64 {
    before.map_or(i64::MAX, |before| before.0.saturating_sub(1))
}

pub(super) fn set_embeddings(
    connection: &Connection,
    user: &UserId,
    embeddings: &[(i64, StoredEmbedding)],
) -> Result<u64, StoreError> {
    if users::find(connection, user)?.is_none() {
        return Ok(0);
    }
    let (row, epoch) = users::bump(connection, user)?;
    for (seq, embedding) in embeddings {
        vectors::set(connection, row, *seq, embedding)?;
    }
    Ok(epoch)
}

/// Puts memories back under the names that they had; how many were not there.
pub(super) fn restore(
    connection: &Connection,
    user: &UserId,
    memories: Vec<MemoryRecord>,
) -> Result<usize, StoreError> {
    let (row, _) = users::bump(connection, user)?;
    let mut restored = 0;
    for memory in memories {
        if let Some(memory) = rows::unless_there(connection, memory)? {
            rows::write(connection, row, &memory)?;
            restored += 1;
        }
    }
    Ok(restored)
}

pub(super) fn counts(connection: &Connection, user: &UserId) -> Result<UserCounts, StoreError> {
    let Some(row) = users::find(connection, user)? else { return Ok(UserCounts::default()) };
    // Apart, each of these is read from an index alone.
    let mut query = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM memories WHERE user = ?1),
                (SELECT count(DISTINCT session_key) FROM memories WHERE user = ?1),
                (SELECT min(created_at) FROM memories WHERE user = ?1),
                (SELECT max(created_at) FROM memories WHERE user = ?1)",
    )?;
    Ok(query.query_row([row], |row| {
        Ok(UserCounts {
            memories: row.get::<_, i64>(0)?.unsigned_abs(),
            sessions: row.get::<_, i64>(1)?.unsigned_abs(),
            oldest: row.get::<_, Option<i64>>(2)?.map(UnixMillis),
            newest: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        })
    })?)
}

/// Memories of all users: one index is read.
pub(super) fn total(connection: &Connection) -> Result<u64, StoreError> {
    let mut query = connection.prepare_cached("SELECT count(*) FROM memories WHERE user IS NOT NULL")?;
    Ok(query.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// Users with memories created before `before`.
pub(super) fn users_with_older(
    connection: &Connection,
    before: UnixMillis,
) -> Result<Vec<UserId>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT name FROM users WHERE EXISTS
         (SELECT 1 FROM memories m WHERE m.user = users.user AND m.created_at < ?1)",
    )?;
    let names = query.query_map([before.0], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    // Each of them was authenticated when it was written.
    Ok(names.iter().filter_map(|name| UserId::authenticated(name)).collect())
}

fn note(
    connection: &Connection,
    row: i64,
    kind: ActivityKind,
    items: usize,
    at: UnixMillis,
) -> Result<(), StoreError> {
    users::note(connection, row, Activity { at, kind, items: items as u64 })
}
