//! The running configuration as JSON, in the file's own names and notation, without its secrets.
//!
//! Nothing of a secret is shown, not even its length. Written out key by key: a new key that nobody thought
//! about stays hidden, where a derived serialiser would show it.

use serde_json::{Map, Value, json};

use super::{
    Auth, Config, Embedder, Health, Hedge, Memory, Model, Provider, Resilience, Secret, Server, Timeout,
    keyword::Keyword,
    reader::units::{duration_text, size_text},
};

/// Stands for every secret.
pub(super) const MASK: &str = "***";

impl Config {
    /// Everything that runs, defaults included; absent optional keys are left out. For `GET /admin/config`.
    pub fn masked(&self) -> Value {
        json!({
            "server": server(&self.server),
            "admin": { "token": mask(self.admin.token.as_ref()) },
            "auth": auth(&self.auth),
            "providers": self.providers.iter().map(provider).collect::<Vec<_>>(),
            "models": self.models.iter().map(model).collect::<Vec<_>>(),
            "routing": {
                "strategy": self.routing.strategy.as_str(),
                "temperature": self.routing.temperature,
                "half_life": duration_text(self.routing.half_life),
            },
            "resilience": resilience(&self.resilience),
            "breaker": {
                "consecutive_failures": self.breaker.consecutive_failures,
                "success_rate": self.breaker.success_rate,
                "window": duration_text(self.breaker.window),
                "min_requests": self.breaker.min_requests,
                "open_min": duration_text(self.breaker.open_min),
                "open_max": duration_text(self.breaker.open_max),
            },
            "health": health(&self.health),
            "slots": {
                "per_user": self.slots.per_user,
                "queue": self.slots.queue,
                "queue_timeout": duration_text(self.slots.queue_timeout),
                "total": self.slots.total,
                "operations": self.slots.operations,
            },
            "limits": without_nulls(json!({
                "requests_per_minute": self.limits.requests_per_minute,
                "tokens_per_minute": self.limits.tokens_per_minute,
            })),
            "memory": memory(&self.memory),
            "redis": { "url": mask(self.redis.url.as_ref()), "on_error": self.redis.on_error.as_str() },
            "telemetry": {
                "log": self.telemetry.log,
                "log_format": self.telemetry.log_format.as_str(),
                "metrics": self.telemetry.metrics,
                "otlp_endpoint": self.telemetry.otlp_endpoint.as_ref().map_or("", |url| url.as_str()),
            },
        })
    }
}

fn server(server: &Server) -> Value {
    without_nulls(json!({
        "listen": server.listen.to_string(),
        "tls_cert": server.tls.as_ref().map(|tls| &tls.cert),
        "tls_key": server.tls.as_ref().map(|tls| &tls.key),
        "max_body": size_text(server.max_body),
        "drain_timeout": duration_text(server.drain_timeout),
    }))
}

fn auth(auth: &Auth) -> Value {
    let keys = auth.keys.iter().map(|key| {
        json!({
            "user": key.user,
            "key": MASK,
            "act_for_users": key.act_for_users,
            "models": key.models,
            "priority": key.priority,
        })
    });
    json!({
        "jwt_secret": mask(auth.jwt_secret.as_ref()),
        "user_headers": auth.user_headers,
        "keys": keys.collect::<Vec<_>>(),
    })
}

fn provider(provider: &Provider) -> Value {
    let headers: Map<String, Value> =
        provider.headers.keys().map(|name| (name.clone(), json!(MASK))).collect();
    without_nulls(json!({
        "name": provider.name,
        "base_url": provider.base_url.as_str(),
        "api_key": mask(provider.api_key.as_ref()),
        "headers": headers,
        "connect_timeout": provider.connect_timeout.map(duration_text),
        "api_key_header": provider.api_key_header,
        "max_concurrency": provider.max_concurrency,
        "prefill": provider.prefill.as_str(),
    }))
}

fn model(model: &Model) -> Value {
    without_nulls(json!({
        "name": model.name,
        "alias": model.alias,
        "targets": model.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "fallbacks": model.fallbacks,
        "context_window": model.context_window,
        "first_token_timeout": model.first_token_timeout.map(timeout),
        "weights": Some(&model.weights).filter(|weights| !weights.is_empty()),
        "strategy": model.strategy.map(Keyword::as_str),
    }))
}

fn resilience(resilience: &Resilience) -> Value {
    json!({
        "max_attempts": resilience.max_attempts,
        "connect_timeout": duration_text(resilience.connect_timeout),
        "first_token_timeout": timeout(resilience.first_token_timeout),
        "answer_timeout": timeout(resilience.answer_timeout),
        "stall_timeout": timeout(resilience.stall_timeout),
        "total_timeout": duration_text(resilience.total_timeout),
        "retry_budget": resilience.retry_budget,
        "patience": duration_text(resilience.patience),
        "rescue": resilience.rescue.as_str(),
        "hedge": hedge(resilience.hedge),
        "hedge_budget": resilience.hedge_budget,
    })
}

fn health(health: &Health) -> Value {
    json!({ "interval": duration_text(health.interval.unwrap_or_default()), "path": health.path })
}

fn memory(memory: &Memory) -> Value {
    let (embedder, embedding_model, dimensions) = match &memory.embedder {
        Embedder::Builtin => ("builtin", None, None),
        Embedder::OpenAi { model, dimensions } => ("openai", Some(model.as_str()), Some(dimensions)),
    };
    without_nulls(json!({
        "enabled": memory.enabled,
        "store": memory.store.as_str(),
        "path": memory.path,
        "url": mask(memory.url.as_ref()),
        "embedder": embedder,
        "embedding_model": embedding_model,
        "dimensions": dimensions,
        "max_tokens": memory.max_tokens,
        "max_items": memory.max_items,
        "min_score": memory.min_score,
        "recall_timeout": duration_text(memory.recall_timeout),
        "recall_budget": duration_text(memory.recall_budget),
        "cache_ttl": duration_text(memory.cache_ttl),
        "cache_entries": memory.cache_entries,
        "capture": memory.capture.as_str(),
        "anonymous": memory.anonymous,
        "include_context": memory.include_context,
        "retention": duration_text(memory.retention.unwrap_or_default()),
        "get_context_timeout": duration_text(memory.get_context_timeout),
        "update_context_timeout": duration_text(memory.update_context_timeout),
    }))
}

fn timeout(timeout: Timeout) -> String {
    match timeout {
        Timeout::Auto => "auto".to_owned(),
        Timeout::After(after) => duration_text(after),
    }
}

fn hedge(hedge: Hedge) -> String {
    match hedge {
        Hedge::Off => "off".to_owned(),
        Hedge::Auto => "auto".to_owned(),
        Hedge::After(after) => duration_text(after),
    }
}

/// `""` says that there is none, as in the file.
fn mask(secret: Option<&Secret>) -> &'static str {
    if secret.is_some() { MASK } else { "" }
}

/// An optional key that is not set is not written in the file either.
fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(object) = &mut value {
        object.retain(|_, value| !value.is_null());
    }
    value
}
