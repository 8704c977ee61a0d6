//! Users as rows, their epochs, and what happened to them.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    memory::store::{Activity, ActivityKind, StoreError, UnixMillis},
    user::UserId,
};

/// Events kept for one user.
const EVENTS: i64 = 50;

/// The row of `user`; `None` if nothing was ever written for him.
pub(super) fn find(connection: &Connection, user: &UserId) -> Result<Option<i64>, StoreError> {
    let mut query = connection.prepare_cached("SELECT user FROM users WHERE name = ?1")?;
    Ok(query.query_row([user.as_str()], |row| row.get(0)).optional()?)
}

/// The epoch of `user`.
pub(super) fn epoch(connection: &Connection, user: &UserId) -> Result<u64, StoreError> {
    let mut query = connection.prepare_cached("SELECT epoch FROM users WHERE name = ?1")?;
    let epoch: Option<i64> = query.query_row([user.as_str()], |row| row.get(0)).optional()?;
    Ok(epoch.map_or(0, i64::unsigned_abs))
}

/// Begins the next epoch of `user`, with a row if there was none; returns row and epoch.
pub(super) fn bump(connection: &Connection, user: &UserId) -> Result<(i64, u64), StoreError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO users (name, epoch) VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING user, epoch",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    Ok(write.query_row([user.as_str()], read)?)
}

/// Notes an event of the user with this row, and drops those that are too old.
pub(super) fn note(connection: &Connection, user: i64, event: Activity) -> Result<(), StoreError> {
    let items = i64::try_from(event.items).unwrap_or(i64::MAX);
    connection
        .prepare_cached("INSERT INTO activity (user, at, kind, items) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![user, event.at.0, event.kind.as_str(), items])?;
    let mut trim = connection.prepare_cached(
        "DELETE FROM activity WHERE user = ?1 AND n <=
         (SELECT n FROM activity WHERE user = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)",
    )?;
    trim.execute(params![user, EVENTS])?;
    Ok(())
}

/// The events of `user`, newest first.
pub(super) fn activity(connection: &Connection, user: &UserId) -> Result<Vec<Activity>, StoreError> {
    let Some(user) = find(connection, user)? else { return Ok(Vec::new()) };
    let mut query = connection
        .prepare_cached("SELECT at, kind, items FROM activity WHERE user = ?1 ORDER BY n DESC LIMIT ?2")?;
    let mut rows = query.query(params![user, EVENTS])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = ActivityKind::parse(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
        // A kind that a later version has added is no reason to show nothing.
        let Some(kind) = kind else { continue };
        events.push(Activity {
            at: UnixMillis(row.get(0)?),
            kind,
            items: row.get::<_, i64>(2)?.unsigned_abs(),
        });
    }
    Ok(events)
}

/// Up to `limit` users whose names come after `after`, by name.
pub(super) fn page(
    connection: &Connection,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let after = after.map_or("", UserId::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query =
        connection.prepare_cached("SELECT name FROM users WHERE name > ?1 ORDER BY name LIMIT ?2")?;
    let names = query.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<_>, _>>()?;
    // Each of them was authenticated when it was written.
    Ok(names.iter().filter_map(|name| UserId::authenticated(name)).collect())
}
