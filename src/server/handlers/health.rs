//! Is it alive, and is it ready? Answers reveal nothing else and ask no provider.

use http::{Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    admin::dependencies::Dependencies,
    config::OnError,
    refusal::Refusal,
    server::{
        ActiveConfig, Gateway,
        http::{error_response, response_body::ResponseBody},
        router::PublicRoute,
    },
};

/// `/livez`, `/healthz` and `/readyz`.
pub async fn answer(
    gateway: &Gateway,
    active: &ActiveConfig,
    route: PublicRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    match route {
        PublicRoute::Live => {
            Ok(error_response::json(StatusCode::OK, json!({ "status": "alive" }).to_string()))
        }
        PublicRoute::Ready => Ok(readiness(gateway, active).await),
    }
}

async fn readiness(gateway: &Gateway, active: &ActiveConfig) -> Response<ResponseBody> {
    let obstacle = obstacle(gateway, active).await;
    let mut said = json!({ "status": obstacle.unwrap_or("ready") });
    if let Some(memory) = &gateway.memory
        && obstacle.is_none()
        && let Some(by) = memory.preselection()
    {
        said["large_users_are_searched_by"] = by.into();
    }
    if let Some(redis) = &gateway.redis {
        said["redis"] = if redis.is_up() { "up" } else { "away" }.into();
    }
    let code = if obstacle.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    error_response::json(code, said.to_string())
}

/// What keeps the gateway from being ready.
async fn obstacle(gateway: &Gateway, active: &ActiveConfig) -> Option<&'static str> {
    if gateway.tasks.draining().is_cancelled() {
        Some("draining")
    } else if !active.snapshot.can_serve(Instant::now()) {
        Some("no target can serve")
    } else if store_is_away(gateway).await {
        Some("memory store is away")
    } else if refuses_without_redis(gateway) {
        Some("redis is away")
    } else {
        None
    }
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
