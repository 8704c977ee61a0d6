//! Contexts as rows. Comparing and changing happen in the writer's transaction, so no update is lost; what is replaced is
//! emptied and not overwritten, see `schema/2.sql`.

use rusqlite::{Connection, OptionalExtension, params};

use super::users;
use crate::{
    memory::store::{Activity, ActivityKind, Condition, ContextChange, StoreError, UnixMillis, UserContext},
    user::UserId,
};

pub(super) fn get(connection: &Connection, user: &UserId) -> Result<UserContext, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT json, updated_at FROM contexts JOIN users USING (user) WHERE name = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, UnixMillis(row.get(1)?)));
    Ok(UserContext::new(query.query_row([user.as_str()], read).optional()?))
}

/// The context as it is now, and the epoch that the change has begun.
pub(super) fn write(
    connection: &Connection,
    user: &UserId,
    change: &ContextChange,
    condition: &Condition,
    now: UnixMillis,
) -> Result<(UserContext, u64), StoreError> {
    let json = get(connection, user)?.changed(change, condition)?;
    let (row, epoch) = users::bump(connection, user)?;
    connection
        .prepare_cached("UPDATE contexts SET user = NULL, json = '', updated_at = 0 WHERE user = ?1")?
        .execute([row])?;
    let mut write =
        connection.prepare_cached("INSERT INTO contexts (user, json, updated_at) VALUES (?1, ?2, ?3)")?;
    write.execute(params![row, json, now.0])?;
    users::note(connection, row, Activity { at: now, kind: ActivityKind::Context, items: 1 })?;
    Ok((UserContext::new(Some((json, now))), epoch))
}
