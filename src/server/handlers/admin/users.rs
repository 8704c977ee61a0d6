//! An operator's view of one user's memories and context, and what an operator may delete of them.
//!
//! The caller is known to be an operator. A route names one user and shows that user alone; without memory there is
//! nothing to show.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::{Value, json, value::RawValue};

use crate::{
    memory::{
        service::MemoryService,
        store::{Activity, Forget, UnixMillis},
        types::UserMemoryState,
    },
    refusal::{GatewayError, MemoryError, Refusal},
    server::{
        active_config::ActiveConfig,
        handlers::admin::AdminContext,
        handlers::user_data::{
            memories::{json, page_of, query},
            store_access::{StoreAccess, after_erasure, ask},
        },
        http::response_body::ResponseBody,
        router::AdminUserRoute,
    },
    user::UserId,
};

/// Answers an operator; `query` is the request's.
///
/// # Errors
/// Memory is off, the id cannot be one, a parameter is wrong, or the store is away.
pub(crate) async fn answer(
    context: &AdminContext,
    active: &ActiveConfig,
    route: &AdminUserRoute,
    query: Option<&str>,
) -> Result<Response<ResponseBody>, Refusal> {
    let memory = context.memory.clone().ok_or(MemoryError::Disabled)?;
    let config = &active.snapshot.config.memory;
    let access = |name: &str, limit| {
        let (memory, tasks) = (memory.clone(), context.tasks.clone());
        Ok::<_, Refusal>(StoreAccess { memory, user: known(name)?, limit, tasks })
    };
    match route {
        AdminUserRoute::Overview => overview(&memory, config.get_context_timeout).await,
        AdminUserRoute::ClearCache(user) => clear_cache(&memory, user.as_deref()).await,
        AdminUserRoute::Memories(name) => list(&access(name, config.get_context_timeout)?, query).await,
        AdminUserRoute::Forget(name) => forget(&access(name, config.update_context_timeout)?, query).await,
        AdminUserRoute::Context(name) => {
            user_report(context, &access(name, config.get_context_timeout)?).await
        }
    }
}

async fn list(access: &StoreAccess, query: Option<&str>) -> Result<Response<ResponseBody>, Refusal> {
    let listing = query::listing(query)?;
    page_of(&access.call_store(access.memory.list(&access.user, listing.cursor, listing.limit)).await?)
}

async fn forget(access: &StoreAccess, query: Option<&str>) -> Result<Response<ResponseBody>, Refusal> {
    let which = query::forget(query)?;
    tracing::info!(user = %access.user.pseudonym(), everything = which == Forget::ALL, "operator deletes memories");
    let forgotten = access.call_store(access.memory.forget(&access.user, which)).await?;
    json::answer(StatusCode::OK, &json!({ "object": "list", "deleted": after_erasure(&forgotten)? }))
}

fn known(name: &str) -> Result<UserId, Refusal> {
    let message = "A user id must be 1 to 256 bytes without control characters.";
    UserId::authenticated(name).ok_or_else(|| Refusal::bad_request("invalid_type", Some("user"), message))
}

async fn clear_cache(memory: &MemoryService, user: Option<&str>) -> Result<Response<ResponseBody>, Refusal> {
    let user = user.map(known).transpose()?;
    let cleared = memory.clear_cache(user.as_ref()).await;
    tracing::info!(
        user = user.as_ref().map(|user| tracing::field::display(user.pseudonym())),
        cleared,
        "operator cleared recalled context"
    );
    json::answer(StatusCode::OK, &json!({ "cleared": cleared }))
}

/// The memory as a whole: nothing of any user.
async fn overview(memory: &MemoryService, limit: Duration) -> Result<Response<ResponseBody>, Refusal> {
    let overview = ask(limit, memory.overview()).await?;
    let embedding = overview.embedding.map(|embedding| {
        json!({
            "embedder": embedding.embedder,
            "embedded": embedding.progress.done,
            "memories": embedding.progress.all,
            "trouble": embedding.trouble,
        })
    });
    let (hits, misses) = overview.cache;
    let whole = json!({
        "cache": { "hits": hits, "misses": misses },
        "dropped": overview.dropped,
        "embedding": embedding,
    });
    json::answer(StatusCode::OK, &whole)
}

/// What is stored for the user, how it is doing, and what happened last.
#[derive(serde::Serialize)]
struct UserReport {
    context: Box<RawValue>,
    state: Value,
    activity: Vec<Value>,
}

async fn user_report(
    context: &AdminContext,
    access: &StoreAccess,
) -> Result<Response<ResponseBody>, Refusal> {
    let (memory, user) = (&access.memory, &access.user);
    let stored = access.call_store(memory.context(user)).await?;
    let state = access.call_store(memory.state(user)).await?;
    let activity = access.call_store(memory.activity(user)).await?;
    let written = stored.updated_at.and_then(json::date);
    let state = live(&state, slots(context, user), written);
    json::answer(
        StatusCode::OK,
        &UserReport {
            context: RawValue::from_string(stored.json).map_err(|_| GatewayError::Internal)?,
            state,
            activity: activity.iter().map(event).collect(),
        },
    )
}

fn live(state: &UserMemoryState, slots: Value, context_updated_at: Option<String>) -> Value {
    let date = |at: Option<UnixMillis>| at.and_then(json::date);
    json!({
        "slots": slots,
        "cache": { "entries": state.cached },
        "index_bytes": state.index_bytes,
        "recalls": { "count": state.recalls, "store_reads": state.store_reads },
        "memories": {
            "count": state.counts.memories,
            "sessions": state.counts.sessions,
            "oldest": date(state.counts.oldest),
            "newest": date(state.counts.newest),
        },
        "context_updated_at": context_updated_at,
        "last_seen": date(state.last_seen),
    })
}

/// The user's row of `/admin/slots`; a user that neither runs nor waits has none there.
fn slots(context: &AdminContext, user: &UserId) -> Value {
    let line = context.admission.slots_view().users.into_iter().find(|line| line.user == user.as_str());
    line.map_or_else(|| json!({ "in_use": 0, "waiting": 0, "operations": {} }), |line| json!(line))
}

fn event(activity: &Activity) -> Value {
    json!({ "at": json::date(activity.at), "kind": activity.kind.as_str(), "items": activity.items })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::UserCounts;

    #[test]
    fn ids_that_cannot_be_are_refused() {
        assert!(known("Zoë 🦀").is_ok());
        for bad in ["", " ", "a\nb", &"x".repeat(257)] {
            assert!(known(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_live_state_has_its_times_in_words() {
        let counts = UserCounts { memories: 2, sessions: 1, oldest: Some(UnixMillis(0)), newest: None };
        let state = UserMemoryState {
            counts,
            cached: 3,
            index_bytes: None,
            recalls: 5,
            store_reads: 1,
            last_seen: Some(UnixMillis(1500)),
        };
        let shown = live(&state, json!({}), None);
        assert_eq!(shown["memories"]["oldest"], "1970-01-01T00:00:00Z");
        assert_eq!(shown["memories"]["newest"], Value::Null);
        assert_eq!(shown["last_seen"], "1970-01-01T00:00:01.5Z");
        assert_eq!(shown["cache"]["entries"], 3);
        assert_eq!(shown["recalls"], json!({ "count": 5, "store_reads": 1 }));
    }
}
