//! Users as rows: their epochs, how much they have, and what happened to them.

use tokio_postgres::Row;

use super::{pool::Session, rows, session::Params};
use crate::{
    memory::store::{Activity, ActivityKind, Changes, IndexVersion, StoreError, UnixMillis},
    user::UserId,
};

/// Events kept for one user.
const EVENTS: i64 = 50;

/// More than so much text, or so many rows at [`ROW`] bytes each, is too much for an index in memory.
const LARGE: i64 = 32 << 20;
/// What a row weighs in an index besides its text.
const ROW: i64 = 200;

/// New rows beyond which building the index anew is as cheap.
const MANY: i64 = 4096;

/// Begins the next epoch of a user, with a row if there was none; locks the row until the end of the transaction.
pub(super) const BUMP: &str = "INSERT INTO concierge.users AS u (name, epoch) VALUES ($1, 1)
     ON CONFLICT (name) DO UPDATE SET epoch = u.epoch + 1 RETURNING u.id, u.epoch";

/// The row of a user, locked; none if nothing was ever written for him.
pub(super) const LOCK: &str = "SELECT id, epoch FROM concierge.users WHERE name = $1 FOR UPDATE";

/// Number and epoch, as [`BUMP`] and [`LOCK`] return them.
pub(super) fn number_and_epoch(rows: &[Row]) -> Option<(i64, u64)> {
    rows.first().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
}

/// The epoch; 0 before the first.
#[cfg(test)]
pub(super) async fn epoch(mut session: Session<'_>, user: &UserId) -> Result<u64, StoreError> {
    let rows = session.query("SELECT epoch FROM concierge.users WHERE name = $1", &[&user.as_str()]).await?;
    session.release();
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// What others have written since `known`: one look at the user's row, and the new rows if there are any.
pub(super) async fn news(
    mut session: Session<'_>,
    user: &UserId,
    known: Option<IndexVersion>,
) -> Result<Changes, StoreError> {
    let look = "SELECT epoch, rewritten, memories, bytes, last_seq FROM concierge.users WHERE name = $1";
    let seen = session.query(look, &[&user.as_str()]).await?;
    let number = |at: usize| seen.first().map_or(0, |row| row.get::<_, i64>(at));
    let (epoch, rewritten, weight) = (number(0), number(1), number(3) + ROW * number(2));
    let rewritten_now = Changes::Rewritten { epoch: epoch.unsigned_abs() };
    let known_epoch = known.map_or(-1, |known| i64::try_from(known.epoch).unwrap_or(i64::MAX));
    let news = match known {
        _ if weight > LARGE => Some(Changes::TooLarge { epoch: epoch.unsigned_abs() }),
        _ if epoch == known_epoch => Some(Changes::Same),
        Some(_) if rewritten <= known_epoch && epoch > known_epoch => None,
        _ => Some(rewritten_now.clone()),
    };
    match (news, known) {
        (None, Some(known)) => added(session, user, known).await,
        (news, _) => {
            session.release();
            Ok(news.unwrap_or(rewritten_now))
        }
    }
}

/// The rows after those that are known, with the epoch of the same moment.
async fn added(mut session: Session<'_>, user: &UserId, known: IndexVersion) -> Result<Changes, StoreError> {
    let name = user.as_str();
    let look = "SELECT epoch, rewritten FROM concierge.users WHERE name = $1";
    let how = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let seen = session.begin(how, user, look, &[&name]).await?;
    let after: Params<'_> = &[&name, &known.seq, &(MANY + 1)];
    let rows = session.query(rows::select!("m.seq > $2 ORDER BY m.seq LIMIT $3"), after).await?;
    session.rollback().await;
    let number = |at: usize| seen.first().map_or(0, |row| row.get::<_, i64>(at).unsigned_abs());
    let (epoch, rewritten) = (number(0), number(1));
    if rewritten > known.epoch || rows.len() > usize::try_from(MANY).unwrap_or(0) {
        return Ok(Changes::Rewritten { epoch });
    }
    Ok(Changes::Added { epoch, memories: rows::memories(&rows)? })
}

/// Memories of all users together.
pub(super) async fn total(mut session: Session<'_>) -> Result<u64, StoreError> {
    let count = "SELECT coalesce(sum(memories), 0)::bigint FROM concierge.users";
    let found = session.query(count, &[]).await?;
    session.release();
    Ok(found.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// Whether the server reads and writes: a standby only reads.
pub(super) async fn check(mut session: Session<'_>) -> Result<(), StoreError> {
    let look = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'
                       OR NOT EXISTS (SELECT FROM concierge.version)";
    let found = session.query(look, &[]).await?;
    session.release();
    match found.first().is_some_and(|row| row.get(0)) {
        true => Err(StoreError::ReadOnly),
        false => Ok(()),
    }
}

/// Notes an event of the user with this row, and drops those that are too old.
pub(super) async fn note(session: &mut Session<'_>, user: i64, event: Activity) -> Result<(), StoreError> {
    let items = i64::try_from(event.items).unwrap_or(i64::MAX);
    let note = "WITH old AS (DELETE FROM concierge.activity WHERE user_id = $1 AND n <=
                    (SELECT n FROM concierge.activity WHERE user_id = $1 ORDER BY n DESC OFFSET $5::bigint - 1 LIMIT 1))
                INSERT INTO concierge.activity (user_id, at, kind, items) VALUES ($1, $2, $3, $4)";
    let params: Params<'_> = &[&user, &event.at.0, &event.kind.as_str(), &items, &EVENTS];
    session.query(note, params).await.map(drop)
}

/// The events of `user`, newest first.
pub(super) async fn activity(session: Session<'_>, user: &UserId) -> Result<Vec<Activity>, StoreError> {
    let look = "SELECT at, kind, items FROM concierge.activity
                WHERE user_id = (SELECT id FROM concierge.users WHERE name = $1) ORDER BY n DESC LIMIT $2";
    let found = session.read(user, look, &[&user.as_str(), &EVENTS]).await?;
    // A kind that a later version has added is no reason to show nothing.
    let event = |row: &Row| {
        let kind = ActivityKind::parse(row.get(1))?;
        Some(Activity { at: UnixMillis(row.get(0)), kind, items: row.get::<_, i64>(2).unsigned_abs() })
    };
    Ok(found.iter().filter_map(event).collect())
}

/// Users with memories created before `before`. What is kept of the oldest may be too old, never too young.
pub(super) async fn with_older(
    mut session: Session<'_>,
    before: UnixMillis,
) -> Result<Vec<UserId>, StoreError> {
    let look = "SELECT name FROM concierge.users WHERE oldest < $1";
    let found = session.query(look, &[&before.0]).await?;
    session.release();
    Ok(names(&found))
}

/// Up to `limit` users whose names come after `after`, by name.
pub(super) async fn page(
    mut session: Session<'_>,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let after = after.map_or("", UserId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let look = "SELECT name FROM concierge.users WHERE name > $1 ORDER BY name LIMIT $2";
    let found = session.query(look, &[&after, &limit]).await?;
    session.release();
    Ok(names(&found))
}

/// Each of them was authenticated when it was written.
fn names(rows: &[Row]) -> Vec<UserId> {
    rows.iter().filter_map(|row| UserId::authenticated(row.get(0))).collect()
}
