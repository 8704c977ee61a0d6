//! Memories as rows: how they are written and read. The only SQL that touches a word of a memory.

use tokio_postgres::Row;

use super::{nul_escape, pool::Session, vectors};
use crate::memory::store::{MemoryRecord, StoreError, StoredEmbedding, UnixMillis, fingerprint};

/// `SELECT` of whole memories with a condition and an order, from a table named `m`; `$1` is the user's name.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT m.seq, m.id, m.session, m.role, m.speaker, m.text, m.created_at, m.metadata, m.tokens, ",
            "v.embedder, v.scale, v.vector ",
            "FROM concierge.memories m LEFT JOIN concierge.vectors v USING (user_id, seq) ",
            "WHERE m.user_id = (SELECT id FROM concierge.users WHERE name = $1) AND ",
            $condition
        )
    };
}
pub(super) use select;

/// A row of a [`select`].
pub(super) fn memory(row: &Row) -> Result<MemoryRecord, StoreError> {
    let text = |at| row.try_get::<_, Option<String>>(at).map(|text| text.map(nul_escape::unescaped));
    let read = || -> Result<MemoryRecord, tokio_postgres::Error> {
        Ok(MemoryRecord {
            seq: row.try_get(0)?,
            id: row.try_get(1)?,
            session: text(2)?,
            role: row.try_get(3)?,
            speaker: text(4)?,
            text: text(5)?.unwrap_or_default(),
            created_at: UnixMillis(row.try_get(6)?),
            metadata: text(7)?,
            tokens: u32::try_from(row.try_get::<_, i64>(8)?).unwrap_or(u32::MAX),
            embedding: embedding(row)?,
        })
    };
    read().map_err(|_| StoreError::Corrupt("a row is not of the kind that it should be".to_owned()))
}

/// All rows of a [`select`].
pub(super) fn memories(rows: &[Row]) -> Result<Vec<MemoryRecord>, StoreError> {
    rows.iter().map(memory).collect()
}

fn embedding(row: &Row) -> Result<Option<StoredEmbedding>, tokio_postgres::Error> {
    let Some(embedder) = row.try_get(9)? else { return Ok(None) };
    let bytes: &[u8] = row.try_get(11)?;
    let vector = bytes.iter().map(|byte| i8::from_ne_bytes([*byte])).collect();
    Ok(Some(StoredEmbedding { embedder, scale: row.try_get(10)?, vector }))
}

/// Writes memories of the user with this row, in one statement.
pub(super) async fn insert(
    session: &mut Session<'_>,
    user: i64,
    memories: &[MemoryRecord],
) -> Result<(), StoreError> {
    fn column<'m, T>(memories: &'m [MemoryRecord], of: impl Fn(&'m MemoryRecord) -> T) -> Vec<T> {
        memories.iter().map(of).collect()
    }
    let text = |text: &Option<String>| text.as_deref().map(|text| nul_escape::escaped(text).into_owned());
    let seqs = column(memories, |m| m.seq);
    let ids = column(memories, |m| m.id.as_str());
    let sessions = column(memories, |m| text(&m.session));
    let session_keys = column(memories, |m| m.session.as_deref().map(fingerprint::session_key));
    let roles = column(memories, |m| m.role.as_str());
    let speakers = column(memories, |m| text(&m.speaker));
    let texts = column(memories, |m| nul_escape::escaped(&m.text).into_owned());
    let times = column(memories, |m| m.created_at.0);
    let metadata = column(memories, |m| text(&m.metadata));
    let tokens = column(memories, |m| i64::from(m.tokens));
    let insert =
        "INSERT INTO concierge.memories (user_id, seq, id, session, session_key, role, speaker, text,
                         created_at, metadata, tokens)
                  SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                         $7::text[], $8::text[], $9::bigint[], $10::text[], $11::bigint[])";
    session
        .query(
            insert,
            &[
                &user,
                &seqs,
                &ids,
                &sessions,
                &session_keys,
                &roles,
                &speakers,
                &texts,
                &times,
                &metadata,
                &tokens,
            ],
        )
        .await?;
    let embeddings: Vec<(i64, &StoredEmbedding)> =
        memories.iter().filter_map(|m| Some((m.seq, m.embedding.as_ref()?))).collect();
    vectors::set(session, user, &embeddings).await
}
