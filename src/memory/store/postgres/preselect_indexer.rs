//! What a large user's rows are found by is worked out beside the traffic, some hundred rows at a time.
//!
//! Only users who are searched and too large for memory are filled. One gateway fills one user at a time, and none
//! waits for another: a gateway that finds the work taken leaves it. It never changes a memory or an epoch, and what it did not
//! come to is searched as the newest rows are: see [`super::preselect`].

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;

use super::{
    pool::{PostgresPool, Session},
    preselect::{self, in_text},
    rows,
    session::Params,
};
use crate::{
    memory::store::{Description, MemoryRecord, StoreError},
    tasks::Tasks,
    user::UserId,
};

/// Rows of one transaction: a few seconds at the very most.
const STEP: i64 = 500;
/// Users who are filled at the same time by one gateway.
const AT_ONCE: usize = 2;

/// Makes what a memory is found by.
pub(crate) type Describe = fn(&MemoryRecord) -> Description;

/// Fills the columns by which rows of large users are preselected.
pub(super) struct PreselectIndexer {
    pool: Arc<PostgresPool>,
    tasks: Tasks,
    describe: Describe,
    busy: Arc<Mutex<HashSet<UserId>>>,
}

impl PreselectIndexer {
    pub(crate) fn new(pool: Arc<PostgresPool>, tasks: Tasks, describe: Describe) -> Self {
        Self { pool, tasks, describe, busy: Arc::default() }
    }

    /// Fills what is missing of `user`, later; not if it is being done, or much else is.
    pub(crate) fn fill(&self, user: &UserId) {
        {
            let mut busy = self.busy.lock();
            if busy.len() >= AT_ONCE || !busy.insert(user.clone()) {
                return;
            }
        }
        let (pool, busy, user, describe) =
            (self.pool.clone(), self.busy.clone(), user.clone(), self.describe);
        self.tasks.spawn_until_shutdown(async move {
            let _done = FinishGuard { busy, user: user.clone() };
            loop {
                match step(&pool, &user, describe).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        return tracing::warn!(%error, "a large user's memories are searched in part");
                    }
                }
            }
        });
    }
}

/// Takes the user from the list, also when the task is cut short.
struct FinishGuard {
    busy: Arc<Mutex<HashSet<UserId>>>,
    user: UserId,
}

impl Drop for FinishGuard {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.user);
    }
}

/// The next rows; whether there may be more.
async fn step(pool: &PostgresPool, user: &UserId, describe: Describe) -> Result<bool, StoreError> {
    let has_vectors = pool.server().is_some_and(|server| server.has_vectors);
    let (mut session, name) = (pool.session().await?, user.as_str());
    // One gateway at a time; the lock ends with the transaction.
    let take =
        "SELECT id, pg_try_advisory_xact_lock(1131376227, hashint8(id)) FROM concierge.users WHERE name = $1";
    let taken = session.begin("BEGIN", user, take, &[&name]).await?;
    let Some(row) = taken.first().filter(|row| row.get(1)).map(|row| row.get::<_, i64>(0)) else {
        session.rollback().await;
        return Ok(false);
    };
    let next = rows::select!(
        "m.seq > (SELECT coalesce(max(p.seq), -1) FROM concierge.preselection p
                  WHERE p.user_id = (SELECT id FROM concierge.users WHERE name = $1))
         ORDER BY m.seq LIMIT $2"
    );
    let memories = rows::memories(&session.query(next, &[&name, &STEP]).await?)?;
    let count = memories.len();
    let described = tokio::task::spawn_blocking(move || {
        memories.iter().map(|memory| (memory.seq, describe(memory))).collect::<Vec<_>>()
    });
    let described = described.await.map_err(|_| StoreError::Failed("it panicked, see the log".to_owned()))?;
    write(&mut session, row, &described, has_vectors).await?;
    session.commit().await?;
    Ok(count == usize::try_from(STEP).unwrap_or(0))
}

async fn write(
    session: &mut Session<'_>,
    user: i64,
    described: &[(i64, Description)],
    has_vectors: bool,
) -> Result<(), StoreError> {
    // An array of arrays must be a rectangle, so each row's terms travel as text.
    let seqs: Vec<i64> = described.iter().map(|(seq, _)| *seq).collect();
    let terms: Vec<String> =
        described.iter().map(|(_, d)| braced(&preselect::terms(user, &d.stems))).collect();
    let words = "INSERT INTO concierge.preselection (user_id, seq, terms)
                 SELECT $1, seq, terms::bigint[] FROM unnest($2::bigint[], $3::text[]) AS new (seq, terms)";
    session.query(words, &[&user, &seqs, &terms]).await?;
    let meant = described.iter().filter(|(_, d)| has_vectors && !d.meaning.is_empty());
    let (seqs, vectors): (Vec<i64>, Vec<String>) = meant.map(|(seq, d)| (*seq, in_text(&d.meaning))).unzip();
    if !seqs.is_empty() {
        let meaning = "INSERT INTO concierge.meanings (user_id, seq, meaning)
                       SELECT $1, seq, meaning::halfvec(192)
                       FROM unnest($2::bigint[], $3::text[]) AS new (seq, meaning)";
        let params: Params<'_> = &[&user, &seqs, &vectors];
        session.query(meaning, params).await?;
    }
    Ok(())
}

/// As PostgreSQL reads an array.
fn braced(terms: &[i64]) -> String {
    let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
    format!("{{{}}}", terms.join(","))
}
