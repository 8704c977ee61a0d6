//! Candidates for a user who is too large for an index in memory: by words, by meaning, and the newest.
//!
//! Rows are found by their terms (hashes of user and stem, so that one inverted index serves all users without any
//! list being longer than its user's turns) and by their vectors, if pgvector is there. Around each candidate come
//! the turns before and after it, which the ranking reads, and which keep its statistics of words sane. The newest
//! rows are always among them: [`super::preselect_indexer`] may not have come to them yet.

use futures_util::future::try_join;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use super::{errors, pool::Session, rows, session::Params};
use crate::{
    memory::store::{Candidates, Description, StoreError},
    user::UserId,
};

/// Rows of one term that are looked at: a word that more turns have says nothing.
const PER_TERM: i64 = 20_000;
/// Candidates by words, and by meaning.
const BY_WORDS: i64 = 400;
const BY_MEANING: i64 = 200;
/// The newest rows.
pub(super) const NEWEST: i64 = 1000;

/// The rows with the rarest of the terms, as the user has them.
const WORDS: &str = "
    WITH me AS MATERIALIZED (SELECT id FROM concierge.users WHERE name = $1),
    hit AS MATERIALIZED (
        SELECT wanted.term, found.seq FROM unnest($2::bigint[]) AS wanted (term), LATERAL (
            SELECT p.seq FROM concierge.preselection p
            WHERE p.user_id = (SELECT id FROM me) AND p.terms @> ARRAY[wanted.term] LIMIT $3) AS found),
    rarity AS (SELECT term, ln(1 + $3::float8 / count(*)) AS weight FROM hit GROUP BY term)
    SELECT seq FROM hit JOIN rarity USING (term) GROUP BY seq ORDER BY sum(weight) DESC, seq DESC LIMIT $4";

const MEANING: &str = "
    SELECT seq FROM concierge.meanings
    WHERE user_id = (SELECT id FROM concierge.users WHERE name = $1)
    ORDER BY meaning <#> $2::text::halfvec(192) LIMIT $3";

/// Goes on until enough rows of this user are found, however many of others lie between.
const SEARCH_ON: &str = "SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = 200";

/// The candidates, two rows before and after each, and the newest `$3`.
const AROUND: &str = rows::select!(
    "m.seq IN (
        SELECT n.seq FROM unnest($2::bigint[]) AS c (seq), LATERAL (
            (SELECT b.seq FROM concierge.memories b WHERE b.user_id = (SELECT id FROM concierge.users WHERE name = $1)
             AND b.seq <= c.seq ORDER BY b.seq DESC LIMIT 3)
            UNION ALL
            (SELECT a.seq FROM concierge.memories a WHERE a.user_id = (SELECT id FROM concierge.users WHERE name = $1)
             AND a.seq > c.seq ORDER BY a.seq LIMIT 2)) AS n
        UNION
        (SELECT l.seq FROM concierge.memories l WHERE l.user_id = (SELECT id FROM concierge.users WHERE name = $1)
         ORDER BY l.seq DESC LIMIT $3)) ORDER BY m.seq"
);

pub(super) async fn candidates(
    mut session: Session<'_>,
    user: &UserId,
    query: &Description,
    has_vectors: bool,
) -> Result<Candidates, StoreError> {
    let name = user.as_str();
    let how = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let look = "SELECT epoch, id FROM concierge.users WHERE name = $1";
    let seen = session.begin(how, user, look, &[&name]).await?;
    let Some(seen) = seen.first() else {
        session.rollback().await;
        return Ok(Candidates::default());
    };
    let (epoch, row): (i64, i64) = (seen.get(0), seen.get(1));
    let terms = terms(row, &query.stems);
    let mut seqs = numbers(&session.query(WORDS, &[&name, &terms, &PER_TERM, &BY_WORDS]).await?);
    if has_vectors && !query.meaning.is_empty() {
        seqs.extend(by_meaning(&mut session, name, &query.meaning).await?);
    }
    let found = session.query(AROUND, &[&name, &seqs, &NEWEST]).await?;
    session.rollback().await;
    Ok(Candidates { epoch: epoch.unsigned_abs(), memories: rows::memories(&found)? })
}

async fn by_meaning(session: &mut Session<'_>, name: &str, meaning: &[f32]) -> Result<Vec<i64>, StoreError> {
    let (statement, meaning) = (session.statement(MEANING).await?, in_text(meaning));
    let params: Params<'_> = &[&name, &meaning, &BY_MEANING];
    let client = &session.client;
    let found = try_join(client.batch_execute(SEARCH_ON), client.query(&statement, params));
    let ((), found) = found.await.map_err(|error| errors::store_error(&error))?;
    Ok(numbers(&found))
}

/// As pgvector reads it.
pub(super) fn in_text(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(|x| format!("{x:.5}")).collect();
    format!("[{}]", numbers.join(","))
}

/// What a row holds of its stems: the same word of two users is two terms.
pub(super) fn terms(user: i64, stems: &[String]) -> Vec<i64> {
    let term = |stem: &String| {
        let digest = Sha256::new().chain_update(user.to_le_bytes()).chain_update(stem).finalize();
        digest[..8].iter().fold(0, |term, byte| (term << 8) | i64::from(*byte))
    };
    stems.iter().map(term).collect()
}

fn numbers(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.get(0)).collect()
}
