//! Memories as rows: how one is written, read and emptied. The only SQL that writes a word of a memory.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::vectors;
use crate::memory::store::{
    MemoryRecord, NewMemory, StoreError, StoredEmbedding, UnixMillis, fingerprint::session_key, id,
};

/// `SELECT` of whole memories with `condition` and order, from a table named `m`.
pub(super) fn select<'c>(
    connection: &'c Connection,
    condition: &str,
) -> Result<CachedStatement<'c>, StoreError> {
    Ok(connection.prepare_cached(&format!(
        "SELECT m.n, m.id, m.session, m.role, m.speaker, m.text, m.created_at, m.metadata, m.tokens,
                v.embedder, v.scale, v.vector
         FROM memories m LEFT JOIN vectors v ON v.n = m.n WHERE {condition}"
    ))?)
}

/// All rows that a [`select`] finds.
pub(super) fn collect(
    query: &mut CachedStatement<'_>,
    params: impl Params,
) -> Result<Vec<MemoryRecord>, StoreError> {
    Ok(query.query_map(params, memory)?.collect::<Result<_, _>>()?)
}

/// A row of a [`select`].
pub(super) fn memory(row: &Row<'_>) -> rusqlite::Result<MemoryRecord> {
    Ok(MemoryRecord {
        seq: row.get(0)?,
        id: row.get(1)?,
        session: row.get(2)?,
        role: row.get(3)?,
        speaker: row.get(4)?,
        text: row.get(5)?,
        created_at: UnixMillis(row.get(6)?),
        metadata: row.get(7)?,
        tokens: row.get(8)?,
        embedding: embedding(row)?,
    })
}

fn embedding(row: &Row<'_>) -> rusqlite::Result<Option<StoredEmbedding>> {
    let Some(embedder) = row.get(9)? else { return Ok(None) };
    let bytes = row.get_ref(11)?.as_blob()?;
    let vector = bytes.iter().map(|byte| i8::from_ne_bytes([*byte])).collect();
    #[allow(clippy::cast_possible_truncation)] // It was an f32 when it was written.
    let scale = row.get::<_, f64>(10)? as f32;
    Ok(Some(StoredEmbedding { embedder, scale, vector }))
}

/// The highest number that a row has.
pub(super) fn last_seq(connection: &Connection) -> Result<i64, StoreError> {
    let mut query = connection.prepare_cached("SELECT coalesce(max(n), 0) FROM memories")?;
    Ok(query.query_row([], |row| row.get(0))?)
}

/// Writes a memory of the user with this row, as the last one; `now` is its time if it has none.
pub(super) fn insert(
    connection: &Connection,
    user: i64,
    new: NewMemory,
    now: UnixMillis,
) -> Result<MemoryRecord, StoreError> {
    let seq = id::next_seq(last_seq(connection)?, now);
    let memory = MemoryRecord {
        id: id::mint(seq),
        seq,
        session: new.session,
        role: new.role,
        speaker: new.speaker,
        text: new.text,
        created_at: new.created_at.unwrap_or(now),
        metadata: new.metadata,
        tokens: new.tokens,
        embedding: new.embedding,
    };
    write(connection, user, &memory)?;
    Ok(memory)
}

/// `memory` with a number that is free: its own, or the next one that is; `None` if it is there.
pub(super) fn unless_there(
    connection: &Connection,
    mut memory: MemoryRecord,
) -> Result<Option<MemoryRecord>, StoreError> {
    let mut query = connection.prepare_cached("SELECT id FROM memories WHERE n = ?1")?;
    loop {
        let there: Option<String> = query.query_row([memory.seq], |row| row.get(0)).optional()?;
        match there {
            None => return Ok(Some(memory)),
            Some(id) if id == memory.id => return Ok(None),
            Some(_) => (memory.seq, memory.id) = id::sibling(memory.seq, &memory.id),
        }
    }
}

/// Writes a memory of the user with this row, under its own number.
pub(super) fn write(connection: &Connection, user: i64, memory: &MemoryRecord) -> Result<(), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO memories (n, user, id, session, session_key, role, speaker, text, created_at, metadata, tokens)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    write.execute(params![
        memory.seq,
        user,
        memory.id,
        memory.session,
        memory.session.as_deref().map(session_key),
        memory.role,
        memory.speaker,
        memory.text,
        memory.created_at.0,
        memory.metadata,
        memory.tokens,
    ])?;
    if let Some(embedding) = &memory.embedding {
        vectors::set(connection, user, memory.seq, embedding)?;
    }
    Ok(())
}

/// Empties the rows of the user that meet `condition`, in which he is `?1`; returns their numbers.
///
/// They are not deleted, see `schema/1.sql`.
pub(super) fn empty(
    connection: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<i64>, StoreError> {
    let mut write = connection.prepare_cached(&format!(
        "UPDATE memories SET user = NULL, id = '', session = NULL, session_key = NULL, role = '',
                speaker = NULL, text = '', created_at = 0, metadata = NULL, tokens = 0
         WHERE user = ?1 AND {condition} RETURNING n"
    ))?;
    let mut seqs = write.query_map(params, |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    seqs.sort_unstable();
    for seq in &seqs {
        vectors::empty(connection, *seq)?;
    }
    Ok(seqs)
}
