//! What is read of memories.

use std::pin::pin;

use futures_util::TryStreamExt;

use super::{errors, pool::Session, rows, session::Params};
use crate::{
    memory::store::{
        Cursor, MAX_PAGE, MemoryRecord, RecordPage, Sink, StoreError, UnixMillis, UserCounts, id,
    },
    user::UserId,
};

/// Rows and bytes of text after which a chunk is handed over.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;

pub(super) async fn get(
    session: Session<'_>,
    user: &UserId,
    id: &str,
) -> Result<Option<MemoryRecord>, StoreError> {
    let Some(seq) = id::seq_of(id) else {
        session.release();
        return Ok(None);
    };
    let params: Params<'_> = &[&user.as_str(), &seq, &id];
    let found = session.read(user, rows::select!("m.seq = $2 AND m.id = $3"), params).await?;
    Ok(rows::memories(&found)?.pop())
}

pub(super) async fn list(
    session: Session<'_>,
    user: &UserId,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<RecordPage, StoreError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let after = cursor.unwrap_or(Cursor { created_at: i64::MIN, seq: i64::MIN });
    // One more than asked for tells whether there is a next page.
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let params: Params<'_> = &[&user.as_str(), &after.created_at, &after.seq, &most];
    let look = rows::select!("(m.created_at, m.seq) > ($2, $3) ORDER BY m.created_at, m.seq LIMIT $4");
    let mut memories = rows::memories(&session.read(user, look, params).await?)?;
    let more = memories.len() > limit;
    memories.truncate(limit);
    let last = memories.last().filter(|_| more);
    let next = last.map(|memory| Cursor { created_at: memory.created_at.0, seq: memory.seq });
    Ok(RecordPage { memories, next })
}

/// Begins to read all of a user's rows as they are now; returns the epoch of this moment.
pub(super) async fn begin_load<'p>(
    mut session: Session<'p>,
    user: &UserId,
) -> Result<(Session<'p>, u64), StoreError> {
    let look = "SELECT epoch FROM concierge.users WHERE name = $1";
    let how = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let seen = session.begin(how, user, look, &[&user.as_str()]).await?;
    let epoch = seen.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
    Ok((session, epoch))
}

/// Hands the rows over as they come, in the order of their numbers.
pub(super) async fn load(mut session: Session<'_>, user: &UserId, mut sink: Sink) -> Result<(), StoreError> {
    let query = session.statement(rows::select!("true ORDER BY m.seq")).await?;
    {
        let found = session.client.query_raw(&query, [user.as_str()]).await;
        let mut found = pin!(found.map_err(|error| errors::store_error(&error))?);
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.try_next().await.map_err(|error| errors::store_error(&error))? {
            let memory = rows::memory(&row)?;
            bytes += memory.text.len();
            chunk.push(memory);
            if chunk.len() >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
                sink = hand_over(sink, std::mem::take(&mut chunk)).await?;
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            drop(hand_over(sink, chunk).await?);
        }
    }
    session.rollback().await;
    Ok(())
}

/// Off the async threads: the sink may build an index.
async fn hand_over(mut sink: Sink, chunk: Vec<MemoryRecord>) -> Result<Sink, StoreError> {
    let work = move || {
        sink(chunk);
        sink
    };
    let failed = |_| StoreError::Failed("it panicked, see the log".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

pub(super) async fn counts(session: Session<'_>, user: &UserId) -> Result<UserCounts, StoreError> {
    let look = "SELECT count(*), count(DISTINCT session_key), min(created_at), max(created_at)
                FROM concierge.memories
                WHERE user_id = (SELECT id FROM concierge.users WHERE name = $1)";
    let found = session.read(user, look, &[&user.as_str()]).await?;
    let Some(row) = found.first() else { return Ok(UserCounts::default()) };
    Ok(UserCounts {
        memories: row.get::<_, i64>(0).unsigned_abs(),
        sessions: row.get::<_, i64>(1).unsigned_abs(),
        oldest: row.get::<_, Option<i64>>(2).map(UnixMillis),
        newest: row.get::<_, Option<i64>>(3).map(UnixMillis),
    })
}
