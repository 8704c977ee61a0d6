//! Contexts as rows. Comparing and changing happen while the user's row is locked, so no update is lost.

use super::{pool::Session, session::Params, users};
use crate::{
    memory::store::{Activity, ActivityKind, Condition, ContextChange, StoreError, UnixMillis, UserContext},
    user::UserId,
};

const GET: &str = "SELECT json, updated_at FROM concierge.contexts
                   WHERE user_id = (SELECT id FROM concierge.users WHERE name = $1)";

pub(super) async fn get(session: Session<'_>, user: &UserId) -> Result<UserContext, StoreError> {
    Ok(context(&session.read(user, GET, &[&user.as_str()]).await?))
}

/// The context as it is now, and the epoch that the change has begun.
pub(super) async fn write(
    mut session: Session<'_>,
    user: &UserId,
    change: &ContextChange,
    condition: &Condition,
    now: UnixMillis,
) -> Result<(UserContext, u64), StoreError> {
    let name = user.as_str();
    let bumped = session.begin("BEGIN", user, users::BUMP, &[&name]).await?;
    let present = context(&session.query(GET, &[&name]).await?);
    let (json, row, epoch) = match (present.changed(change, condition), users::number_and_epoch(&bumped)) {
        (Ok(json), Some((row, epoch))) => (json, row, epoch),
        (refused, _) => {
            session.rollback().await;
            return Err(refused.err().unwrap_or(StoreError::Closed));
        }
    };
    let write = "INSERT INTO concierge.contexts (user_id, json, updated_at) VALUES ($1, $2, $3)
                 ON CONFLICT (user_id) DO UPDATE SET json = $2, updated_at = $3";
    let params: Params<'_> = &[&row, &json, &now.0];
    session.query(write, params).await?;
    users::note(&mut session, row, Activity { at: now, kind: ActivityKind::Context, items: 1 }).await?;
    session.commit().await?;
    Ok((UserContext::new(Some((json, now))), epoch))
}

fn context(rows: &[tokio_postgres::Row]) -> UserContext {
    UserContext::new(rows.first().map(|row| (row.get(0), UnixMillis(row.get(1)))))
}
