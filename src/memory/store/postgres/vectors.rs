//! Vectors as rows, and who still waits for one.
//!
//! The wall between users lets nobody look for rows of all of them, so each user's row says up to which number his
//! memories were dealt with, and for which embedder. A gateway leases some users, reads what is new of each in a
//! transaction of that user, and moves the mark when it is told that all of it is done. A lease ends by itself: two
//! gateways may then embed the same memory, and the second vector replaces the first.
//!
//! Gateways with different embedders would replace each other's vectors for ever, each at the price of a request. So one
//! is in force, that of the gateway that started last: a change of the configuration goes through the gateways one
//! by one, and those that come later have the newer one.

use super::{
    nul_escape,
    pool::{PostgresPool, Session},
    session::Params,
};
use crate::{
    memory::store::{
        Covered, Embedded, MAX_EMBEDDED, PendingRecords, StoreError, StoredEmbedding, Unembedded,
        records::NumberRange,
    },
    user::UserId,
};

/// Users of one look.
const USERS: i64 = 32;

/// Sets the vectors of memories of the user with this row, by their numbers, and counts them; those of memories that
/// are gone are passed over.
pub(super) async fn set(
    session: &mut Session<'_>,
    user: i64,
    embeddings: &[(i64, &StoredEmbedding)],
) -> Result<(), StoreError> {
    if embeddings.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = embeddings.iter().map(|(seq, _)| *seq).collect();
    let embedders: Vec<&str> = embeddings.iter().map(|(_, e)| e.embedder.as_str()).collect();
    let scales: Vec<f32> = embeddings.iter().map(|(_, e)| e.scale).collect();
    let bytes = |e: &StoredEmbedding| e.vector.iter().map(|component| component.to_ne_bytes()[0]).collect();
    let vectors: Vec<Vec<u8>> = embeddings.iter().map(|(_, e)| bytes(e)).collect();
    // Every part sees the rows as they were before the statement.
    let write = "
        WITH new AS (SELECT n.* FROM unnest($2::bigint[], $3::text[], $4::real[], $5::bytea[])
                         AS n (seq, embedder, scale, vector)
                     JOIN concierge.memories m ON m.user_id = $1 AND m.seq = n.seq),
        replaced AS (SELECT v.embedder FROM concierge.vectors v JOIN new USING (seq) WHERE v.user_id = $1),
        written AS (INSERT INTO concierge.vectors (user_id, seq, embedder, scale, vector)
                    SELECT $1, new.* FROM new ON CONFLICT (user_id, seq) DO UPDATE
                    SET embedder = excluded.embedder, scale = excluded.scale, vector = excluded.vector
                    RETURNING embedder),
        changed AS (SELECT embedder, 1 AS n FROM written UNION ALL SELECT embedder, -1 FROM replaced)
        INSERT INTO concierge.embedders AS e (user_id, embedder, vectors)
        SELECT $1, embedder, sum(n) FROM changed GROUP BY embedder
        ON CONFLICT (embedder, user_id) DO UPDATE SET vectors = e.vectors + excluded.vectors";
    session.query(write, &[&user, &seqs, &embedders, &scales, &vectors]).await.map(drop)
}

/// Moves the mark of each user over what is `covered`, unless something was put back before it in the meantime.
const DONE: &str = "
    UPDATE concierge.users u SET embedded_to = done.upto, embedded_by = NULL
    FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS done (name, since, upto)
    WHERE u.name = done.name AND u.embedder = $5 AND u.embedded_by = $1 AND u.embedded_to = done.since";

/// Users with a condition whom no other gateway has leased; a user that is being written to is left for the next look.
macro_rules! free {
    ($condition:literal) => {
        concat!(
            "AS (SELECT id FROM concierge.users WHERE ",
            $condition,
            " AND (embedded_by IS NULL OR embedded_by = $1 OR leased_to < now()) LIMIT $3 FOR UPDATE SKIP LOCKED)"
        )
    };
}

/// Leases users to gateway `$1` who have memories beyond the mark, or a mark of another embedder than `$2`: each of
/// the three looks is one at an index.
const LEASE: &str = concat!(
    "WITH behind ",
    free!("embedded_to < last_seq"),
    ", before ",
    free!("embedder < $2"),
    ", after ",
    free!("embedder > $2"),
    ", free AS (SELECT id FROM behind UNION SELECT id FROM before UNION SELECT id FROM after LIMIT $3) ",
    "UPDATE concierge.users u
     SET embedder = $2, embedded_to = CASE WHEN u.embedder = $2 THEN u.embedded_to ELSE 0 END,
         embedded_by = $1, leased_to = now() + interval '15 seconds'
     FROM free WHERE u.id = free.id RETURNING u.name, u.embedded_to, u.last_seq"
);

/// What is new of one user; without a text if it has its vector.
const NEW: &str = "
    SELECT m.seq, CASE WHEN v.embedder = $2 THEN NULL ELSE substr(m.text, 1, $5) END
    FROM concierge.memories m LEFT JOIN concierge.vectors v USING (user_id, seq)
    WHERE m.user_id = (SELECT id FROM concierge.users WHERE name = $1) AND m.seq > $3 ORDER BY m.seq LIMIT $4";

/// What is in force, if anything is.
const CHOSEN: &str = "SELECT embedder FROM concierge.embedding";

/// See [`crate::memory::store::Store::embed_by`].
pub(super) async fn choose(mut session: Session<'_>, embedder: &str) -> Result<(), StoreError> {
    let choose = "INSERT INTO concierge.embedding (embedder) VALUES ($1)
                  ON CONFLICT (one) DO UPDATE SET embedder = excluded.embedder";
    session.query(choose, &[&embedder]).await?;
    session.release();
    Ok(())
}

/// See [`crate::memory::store::Store::pending`]; `gateway` is the one that asks.
pub(super) async fn pending(
    pool: &PostgresPool,
    (gateway, embedder): (i64, &str),
    after: Option<&Covered>,
    limit: usize,
) -> Result<PendingRecords, StoreError> {
    let mut session = pool.session().await?;
    if let Some(Covered(spans)) = after {
        let names: Vec<&str> = spans.iter().filter_map(|s| s.user.as_ref().map(UserId::as_str)).collect();
        let since: Vec<i64> = spans.iter().map(|span| span.from).collect();
        let upto: Vec<i64> = spans.iter().map(|span| span.to).collect();
        session.query(DONE, &[&gateway, &names, &since, &upto, &embedder]).await?;
    }
    let chosen = session.query(CHOSEN, &[]).await?;
    let chosen: Option<String> = chosen.first().map(|row| row.get(0));
    if let Some(instead) = chosen.filter(|chosen| chosen != embedder) {
        session.release();
        return Ok(PendingRecords { instead: Some(instead), ..PendingRecords::default() });
    }
    let leased = session.query(LEASE, &[&gateway, &embedder, &USERS]).await?;
    session.release();
    let (mut items, mut spans) = (Vec::new(), Vec::new());
    for row in leased {
        // The others wait for the next look.
        if items.len() >= limit {
            break;
        }
        let Some(user) = UserId::authenticated(row.get(0)) else { continue };
        let (from, last) = (row.get(1), row.get(2));
        let (found, to) = new(pool.session().await?, &user, embedder, (from, last), limit).await?;
        items.extend(found);
        spans.push(NumberRange { user: Some(user), from, to });
    }
    let covered = (!spans.is_empty()).then_some(Covered(spans));
    Ok(PendingRecords { items, covered, instead: None })
}

/// What is new of the user after the first of `numbers`, and up to which number; the second is the last that he has.
async fn new(
    session: Session<'_>,
    user: &UserId,
    embedder: &str,
    (from, last): (i64, i64),
    limit: usize,
) -> Result<(Vec<Unembedded>, i64), StoreError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let characters = i32::try_from(MAX_EMBEDDED).unwrap_or(i32::MAX);
    let params: Params<'_> = &[&user.as_str(), &embedder, &from, &most, &characters];
    let found = session.read(user, NEW, params).await?;
    let furthest = found.last().map_or(from, |row| row.get(0));
    let to = if found.len() < limit { furthest.max(last) } else { furthest };
    let waiting = found.iter().filter_map(|row| {
        let text = nul_escape::unescaped(row.get::<_, Option<String>>(1)?);
        Some(Unembedded { user: user.clone(), seq: row.get(0), text })
    });
    Ok((waiting.collect(), to))
}

/// How many memories have a vector of `embedder`, and how many there are.
pub(super) async fn embedded(mut session: Session<'_>, embedder: &str) -> Result<Embedded, StoreError> {
    let count =
        "SELECT (SELECT coalesce(sum(vectors), 0)::bigint FROM concierge.embedders WHERE embedder = $1),
                        (SELECT coalesce(sum(memories), 0)::bigint FROM concierge.users)";
    let found = session.query(count, &[&embedder]).await?;
    session.release();
    let number = |at: usize| found.first().map_or(0, |row| row.get::<_, i64>(at).unsigned_abs());
    Ok(Embedded { done: number(0), all: number(1) })
}
