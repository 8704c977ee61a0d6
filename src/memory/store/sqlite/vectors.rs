//! Vectors as rows: appended, emptied, and never changed in place, see `schema/2.sql`.

use rusqlite::{Connection, params};

use crate::{
    memory::store::{
        Covered, Embedded, MAX_EMBEDDED, PendingRecords, StoreError, StoredEmbedding, Unembedded,
        records::NumberRange,
    },
    user::UserId,
};

/// Sets the vector of a memory, if this user has it; whether he has.
pub(super) fn set(
    connection: &Connection,
    user: i64,
    seq: i64,
    embedding: &StoredEmbedding,
) -> Result<bool, StoreError> {
    empty(connection, seq)?;
    let vector: Vec<u8> = embedding.vector.iter().map(|component| component.to_ne_bytes()[0]).collect();
    let mut write = connection.prepare_cached(
        "INSERT INTO vectors (n, embedder, scale, vector)
         SELECT n, ?3, ?4, ?5 FROM memories WHERE n = ?1 AND user = ?2",
    )?;
    let scale = f64::from(embedding.scale);
    Ok(write.execute(params![seq, user, embedding.embedder, scale, vector])? > 0)
}

/// Empties the vector of a memory, if it has one.
pub(super) fn empty(connection: &Connection, seq: i64) -> Result<(), StoreError> {
    let mut write = connection
        .prepare_cached("UPDATE vectors SET n = NULL, embedder = '', scale = 0, vector = x'' WHERE n = ?1")?;
    write.execute([seq])?;
    Ok(())
}

/// Of the `limit` memories after those of `after`, those without a vector of `embedder`.
pub(super) fn pending(
    connection: &Connection,
    embedder: &str,
    after: Option<&Covered>,
    limit: usize,
) -> Result<PendingRecords, StoreError> {
    // Looked at in the order of their numbers: no index has to know who waits.
    let mut query = connection.prepare_cached(
        "SELECT m.n, u.name, CASE WHEN v.embedder = ?1 THEN NULL ELSE substr(m.text, 1, ?4) END
         FROM (SELECT n, user, text FROM memories WHERE n > ?2 ORDER BY n LIMIT ?3) m
         LEFT JOIN users u ON u.user = m.user LEFT JOIN vectors v ON v.n = m.n
         ORDER BY m.n",
    )?;
    let from = after.and_then(|covered| covered.0.first()).map_or(i64::MIN, |span| span.to);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = query.query(params![embedder, from, most, MAX_EMBEDDED])?;
    let mut pending = PendingRecords::default();
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        pending.covered = Some(Covered(vec![NumberRange { user: None, from, to: seq }]));
        // Forgotten ones have no user.
        let (Some(name), Some(text)) = (row.get::<_, Option<String>>(1)?, row.get(2)?) else { continue };
        let Some(user) = UserId::authenticated(&name) else { continue };
        pending.items.push(Unembedded { user, seq, text });
    }
    Ok(pending)
}

/// How many memories have a vector of `embedder`, and how many there are.
pub(super) fn embedded(connection: &Connection, embedder: &str) -> Result<Embedded, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM vectors WHERE embedder = ?1 AND n IS NOT NULL),
                (SELECT count(*) FROM memories WHERE user IS NOT NULL)",
    )?;
    let count = |row: &rusqlite::Row<'_>, at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.unsigned_abs());
    Ok(query.query_row([embedder], |row| Ok(Embedded { done: count(row, 0)?, all: count(row, 1)? }))?)
}
