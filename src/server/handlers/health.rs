//! Is it alive, and is it ready? Answers reveal nothing else and ask no provider.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    admin::dependencies::Dependencies,
    cluster::RedisClient,
    config::OnError,
    memory::service::MemoryService,
    refusal::Refusal,
    server::{
        active_config::ActiveConfig,
        http::{error_response, response_body::ResponseBody},
        router::PublicRoute,
    },
    tasks::Tasks,
};

/// What can keep the gateway from being ready.
pub(crate) struct HealthContext {
    /// Tells whether it is draining.
    pub tasks: Tasks,
    /// Memory, if it is on.
    pub memory: Option<Arc<MemoryService>>,
    /// What gateways share, if they do.
    pub redis: Option<RedisClient>,
}

/// `/livez`, `/healthz` and `/readyz`.
pub(crate) async fn answer(
    context: &HealthContext,
    active: &ActiveConfig,
    route: PublicRoute,
) -> Result<Response<ResponseBody>, Refusal> {
    match route {
        PublicRoute::Live => {
            Ok(error_response::json(StatusCode::OK, json!({ "status": "alive" }).to_string()))
        }
        PublicRoute::Ready => Ok(readiness(context, active).await),
    }
}

async fn readiness(context: &HealthContext, active: &ActiveConfig) -> Response<ResponseBody> {
    let obstacle = obstacle(context, active).await;
    let mut said = json!({ "status": obstacle.unwrap_or("ready") });
    if let Some(memory) = &context.memory
        && obstacle.is_none()
        && let Some(by) = memory.preselection()
    {
        said["large_users_are_searched_by"] = by.into();
    }
    if let Some(redis) = &context.redis {
        said["redis"] = if redis.is_up() { "up" } else { "away" }.into();
    }
    let code = if obstacle.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    error_response::json(code, said.to_string())
}

/// What keeps the gateway from being ready.
async fn obstacle(context: &HealthContext, active: &ActiveConfig) -> Option<&'static str> {
    if context.tasks.draining().is_cancelled() {
        Some("draining")
    } else if !active.snapshot.can_serve(Instant::now()) {
        Some("no target can serve")
    } else if context.store_is_away().await {
        Some("memory store is away")
    } else if context.refuses_without_redis() {
        Some("redis is away")
    } else {
        None
    }
}

impl HealthContext {
    /// Without a Redis that all gateways count in, `local` goes on with a share of the limits, and `closed` does not.
    fn refuses_without_redis(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| !redis.is_up() && redis.on_error() == OnError::Closed)
    }

    /// Whether there should be a memory and it cannot be read and written.
    async fn store_is_away(&self) -> bool {
        match &self.memory {
            Some(memory) => !memory.is_healthy().await,
            None => false,
        }
    }

    /// What the gateway needs besides its targets, for operators.
    pub(crate) async fn dependencies(&self) -> Dependencies {
        let memory_store = match self.memory.as_ref().filter(|memory| memory.settings().enabled) {
            Some(memory) => Some(memory.is_healthy().await),
            None => None,
        };
        Dependencies { memory_store, redis: self.redis.as_ref().map(|redis| redis.is_up()) }
    }
}
