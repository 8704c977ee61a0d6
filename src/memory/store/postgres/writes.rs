//! What changes memories. Each write is one transaction that locks the user's row first: a user's writes take turns,
//! over all gateways, and nobody else's wait. Commits of many users at once share a sync of the log, for PostgreSQL
//! groups them by itself.

use std::collections::HashMap;

use super::{keys, pool::Session, rows, session::Params, users, vectors};
use crate::{
    memory::store::{
        Activity, ActivityKind, Appended, Batch, Forget, Forgotten, MemoryRecord, NewMemory, StoreError,
        StoredEmbedding, UnixMillis,
        fingerprint::{self, Fingerprint},
        id,
    },
    user::UserId,
};

/// Begins the user's next epoch with room for `$3` rows of `$4` bytes, the oldest of `$5`; `$2` is the first number
/// of this millisecond.
const RESERVE: &str = "INSERT INTO concierge.users AS u (name, epoch, last_seq, memories, bytes, oldest)
     VALUES ($1, 1, $2::bigint + $3::bigint - 1, $3, $4::bigint, $5::bigint)
     ON CONFLICT (name) DO UPDATE SET epoch = u.epoch + 1, memories = u.memories + $3, bytes = u.bytes + $4,
         last_seq = greatest($2, u.last_seq + 1) + $3 - 1, oldest = least(u.oldest, $5)
     RETURNING u.id, u.epoch, u.last_seq";

pub(super) async fn append(
    mut session: Session<'_>,
    user: &UserId,
    batch: &Batch,
    now: UnixMillis,
) -> Result<Appended, StoreError> {
    let count = i64::try_from(batch.memories.len()).unwrap_or(i64::MAX);
    let bytes: i64 = batch.memories.iter().map(|new| bytes_of(&new.text)).sum();
    let oldest = batch.memories.iter().map(|new| new.created_at.unwrap_or(now).0).min();
    let room: Params<'_> = &[&user.as_str(), &id::next_seq(0, now), &count, &bytes, &oldest];
    let reserved = session.begin("BEGIN", user, RESERVE, room).await?;
    let Some((row, epoch)) = users::number_and_epoch(&reserved) else { return Err(StoreError::Closed) };
    let key = Fingerprint::from_batch(batch);
    if let Some(key) = &key {
        match keys::stored(&mut session, (user, row), key, now).await.transpose() {
            None => {}
            // The epoch that was begun is taken back with everything else.
            Some(known) => {
                session.rollback().await;
                return Ok(Appended { memories: known?, epoch: epoch - 1, replayed: true });
            }
        }
    }
    let first = reserved[0].get::<_, i64>(2) - count + 1;
    let memories: Vec<MemoryRecord> =
        (first..).zip(&batch.memories).map(|(seq, new)| numbered(new.clone(), seq, now)).collect();
    rows::insert(&mut session, row, &memories).await?;
    if let Some(key) = &key {
        keys::keep(&mut session, row, key, &memories, now).await?;
    }
    let event = Activity { at: now, kind: ActivityKind::Remembered, items: memories.len() as u64 };
    users::note(&mut session, row, event).await?;
    session.commit().await?;
    Ok(Appended { memories, epoch, replayed: false })
}

fn numbered(new: NewMemory, seq: i64, now: UnixMillis) -> MemoryRecord {
    let NewMemory { session, role, speaker, text, created_at, metadata, tokens, embedding } = new;
    let created_at = created_at.unwrap_or(now);
    MemoryRecord {
        id: id::mint(seq),
        seq,
        session,
        role,
        speaker,
        text,
        created_at,
        metadata,
        tokens,
        embedding,
    }
}

fn bytes_of(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

macro_rules! delete {
    ($condition:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM concierge.memories WHERE user_id = $1 AND ",
            $condition,
            " RETURNING seq, octet_length(text)::bigint AS bytes), ",
            // Their vectors go with them, at the end of the statement.
            "lost AS (SELECT v.embedder, count(*) AS n FROM concierge.vectors v JOIN gone USING (seq) ",
            "         WHERE v.user_id = $1 GROUP BY v.embedder), ",
            "fewer AS (UPDATE concierge.embedders e SET vectors = e.vectors - lost.n FROM lost ",
            "          WHERE e.user_id = $1 AND e.embedder = lost.embedder) ",
            "SELECT seq, bytes FROM gone"
        )
    };
}

pub(super) async fn forget(
    mut session: Session<'_>,
    user: &UserId,
    which: &Forget,
    now: UnixMillis,
) -> Result<Forgotten, StoreError> {
    let locked = session.begin("BEGIN", user, users::LOCK, &[&user.as_str()]).await?;
    let Some((row, epoch)) = users::number_and_epoch(&locked) else {
        session.rollback().await;
        return Ok(Forgotten { seqs: Vec::new(), epoch: 0, erased: true });
    };
    let gone = delete(&mut session, row, which).await?;
    if gone.is_empty() {
        session.rollback().await;
        return Ok(Forgotten { seqs: Vec::new(), epoch, erased: true });
    }
    let (mut seqs, bytes): (Vec<i64>, Vec<i64>) = gone.into_iter().unzip();
    seqs.sort_unstable();
    let (count, bytes) = (i64::try_from(seqs.len()).unwrap_or(i64::MAX), bytes.iter().sum::<i64>());
    let write = "UPDATE concierge.users SET epoch = epoch + 1, rewritten = epoch + 1,
                        memories = greatest(memories - $2, 0), bytes = greatest(bytes - $3, 0),
                        oldest = (SELECT min(created_at) FROM concierge.memories WHERE user_id = $1)
                 WHERE id = $1";
    session.query(write, &[&row, &count, &bytes]).await?;
    keys::forget(&mut session, row).await?;
    let event = Activity { at: now, kind: ActivityKind::Forgotten, items: seqs.len() as u64 };
    users::note(&mut session, row, event).await?;
    session.commit().await?;
    Ok(Forgotten { seqs, epoch: epoch + 1, erased: true })
}

/// Numbers and bytes of what is gone.
async fn delete(session: &mut Session<'_>, user: i64, which: &Forget) -> Result<Vec<(i64, i64)>, StoreError> {
    let until = |before: &Option<UnixMillis>| before.map_or(i64::MAX, |before| before.0.saturating_sub(1));
    let gone = match which {
        Forget::Id(id) => {
            let seq = id::seq_of(id).unwrap_or(-1);
            session.query(delete!("seq = $2 AND id = $3"), &[&user, &seq, id]).await?
        }
        Forget::Matching { session: None, before } => {
            session.query(delete!("created_at <= $2"), &[&user, &until(before)]).await?
        }
        Forget::Matching { session: Some(name), before } => {
            let (key, name) = (fingerprint::session_key(name), super::nul_escape::escaped(name));
            let which: Params<'_> = &[&user, &key, &&*name, &until(before)];
            session.query(delete!("session_key = $2 AND session = $3 AND created_at <= $4"), which).await?
        }
    };
    Ok(gone.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(super) async fn set_embeddings(
    mut session: Session<'_>,
    user: &UserId,
    embeddings: &[(i64, StoredEmbedding)],
) -> Result<u64, StoreError> {
    let locked = session.begin("BEGIN", user, users::LOCK, &[&user.as_str()]).await?;
    let Some((row, epoch)) = users::number_and_epoch(&locked) else {
        session.rollback().await;
        return Ok(0);
    };
    let write = "UPDATE concierge.users SET epoch = epoch + 1, rewritten = epoch + 1 WHERE id = $1";
    session.query(write, &[&row]).await?;
    let embeddings: Vec<(i64, &StoredEmbedding)> = embeddings.iter().map(|(seq, e)| (*seq, e)).collect();
    vectors::set(&mut session, row, &embeddings).await?;
    session.commit().await?;
    Ok(epoch + 1)
}

/// Puts memories back under the names that they had; how many were not there.
pub(super) async fn restore(
    mut session: Session<'_>,
    user: &UserId,
    memories: &[MemoryRecord],
) -> Result<usize, StoreError> {
    let bumped = session.begin("BEGIN", user, users::BUMP, &[&user.as_str()]).await?;
    let Some((row, _)) = users::number_and_epoch(&bumped) else { return Err(StoreError::Closed) };
    let missing = missing(&mut session, row, memories).await?;
    if missing.is_empty() {
        session.rollback().await;
        return Ok(0);
    }
    rows::insert(&mut session, row, &missing).await?;
    let (count, bytes) = (missing.len(), missing.iter().map(|memory| bytes_of(&memory.text)).sum::<i64>());
    let (last, oldest) = (missing.iter().map(|m| m.seq).max(), missing.iter().map(|m| m.created_at.0).min());
    let write = "UPDATE concierge.users SET rewritten = epoch, memories = memories + $2, bytes = bytes + $3,
                        last_seq = greatest(last_seq, $4), oldest = least(oldest, $5),
                        embedded_to = least(embedded_to, $6), embedded_by = NULL WHERE id = $1";
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let params: Params<'_> = &[&row, &count, &bytes, &last, &oldest, &(missing[0].seq - 1)];
    session.query(write, params).await?;
    // Filled in the order of numbers, so what comes after the first of these is filled again.
    let refill = "DELETE FROM concierge.preselection WHERE user_id = $1 AND seq > $2";
    session.query(refill, &[&row, &missing[0].seq]).await?;
    session.commit().await?;
    Ok(missing.len())
}

/// Those that are not there, each with a number that is free.
async fn missing(
    session: &mut Session<'_>,
    user: i64,
    memories: &[MemoryRecord],
) -> Result<Vec<MemoryRecord>, StoreError> {
    let mut open = memories.to_vec();
    let mut missing: Vec<MemoryRecord> = Vec::new();
    while !open.is_empty() {
        let seqs: Vec<i64> = open.iter().map(|memory| memory.seq).collect();
        let look = "SELECT seq, id FROM concierge.memories WHERE user_id = $1 AND seq = ANY($2)";
        let found = session.query(look, &[&user, &seqs]).await?;
        let mut taken: HashMap<i64, String> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        taken.extend(missing.iter().map(|memory| (memory.seq, memory.id.clone())));
        let mut next = Vec::new();
        for mut memory in open {
            match taken.get(&memory.seq) {
                Some(id) if *id == memory.id => {}
                Some(_) => {
                    (memory.seq, memory.id) = id::sibling(memory.seq, &memory.id);
                    next.push(memory);
                }
                None => {
                    taken.insert(memory.seq, memory.id.clone());
                    missing.push(memory);
                }
            }
        }
        open = next;
    }
    missing.sort_by_key(|memory| memory.seq);
    Ok(missing)
}
