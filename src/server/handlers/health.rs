//! Is it alive, and is it ready? Answers reveal nothing else and ask no provider.

use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::{
    admin::dependencies::Dependencies,
    config::OnError,
    refusal::Refusal,
    server::{
        ActiveConfig, Gateway,
        http::{error_response, response_body::ResponseBody},
        router::Route,
    },
};

/// `/livez`, `/healthz` and `/readyz`.
pub async fn answer(
    gateway: &Gateway,
    active: &ActiveConfig,
    route: &Route,
) -> Result<Response<ResponseBody>, Refusal> {
    let (ready, status) = match route {
        Route::Ready if gateway.tasks.draining().is_cancelled() => (false, "draining"),
        Route::Ready if !active.snapshot.can_serve(Instant::now()) => (false, "no target can serve"),
        Route::Ready if store_is_away(gateway).await => (false, "memory store is away"),
        Route::Ready if refuses_without_redis(gateway) => (false, "redis is away"),
        Route::Ready => (true, "ready"),
        _ => (true, "alive"),
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut said = serde_json::json!({ "status": status });
    let preselection = gateway.memory.as_ref().filter(|_| ready).and_then(|memory| memory.preselection());
    if let (Route::Ready, Some(by)) = (route, preselection) {
        said["large_users_are_searched_by"] = by.into();
    }
    if let (Route::Ready, Some(redis)) = (route, &gateway.redis) {
        said["redis"] = if redis.is_up() { "up" } else { "away" }.into();
    }
    Ok(error_response::json(code, said.to_string()))
}

/// Without a Redis that all gateways count in, `local` goes on with a share of the limits, and `closed` does not.
fn refuses_without_redis(gateway: &Gateway) -> bool {
    gateway.redis.as_ref().is_some_and(|redis| !redis.is_up() && redis.on_error() == OnError::Closed)
}

/// What the gateway leans on, for operators.
pub async fn parts(gateway: &Gateway) -> Dependencies {
    let memory_store = match gateway.memory.as_ref().filter(|memory| memory.settings().enabled) {
        Some(memory) => Some(memory.is_healthy().await),
        None => None,
    };
    Dependencies { memory_store, redis: gateway.redis.as_ref().map(|redis| redis.is_up()) }
}

/// Whether there should be a memory and it cannot be read and written.
async fn store_is_away(gateway: &Gateway) -> bool {
    match &gateway.memory {
        Some(memory) => !memory.is_healthy().await,
        None => false,
    }
}
