//! `[memory]` and `[redis]`: what is kept, and where.

use url::Url;

use super::{
    models::Models,
    providers::{ProviderStatus, Providers},
};
use crate::config::{
    Embedder, Memory, Redis, Secret, Store, TargetName, keyword::EmbedderKind, reader::section::Section,
    reader::value::Value,
};

/// Reads `[memory]`.
pub fn read(section: &Section<'_>, providers: &Providers, models: &Models) -> Memory {
    let default = Memory::default();
    let enabled = section.or("enabled", default.enabled, Value::boolean);
    let store = section.or("store", default.store, Value::keyword);
    let retention = section.opt("retention", Value::duration);
    let memory = Memory {
        enabled,
        store,
        path: section.opt("path", Value::name).map_or(default.path, Into::into),
        url: store_url(section, enabled && store == Store::Postgres),
        embedder: embedder(section, providers, models),
        max_tokens: section.or("max_tokens", default.max_tokens, Value::count),
        max_items: section.or("max_items", default.max_items, Value::count),
        min_score: section.or("min_score", default.min_score, |value| value.number(0.0..=f64::MAX)),
        recall_timeout: section.or("recall_timeout", default.recall_timeout, Value::positive),
        recall_budget: section.or("recall_budget", default.recall_budget, Value::positive),
        cache_ttl: section.or("cache_ttl", default.cache_ttl, Value::duration),
        cache_entries: section.or("cache_entries", default.cache_entries, |value| value.whole(0)),
        capture: section.or("capture", default.capture, Value::keyword),
        anonymous: section.or("anonymous", default.anonymous, Value::boolean),
        include_context: section.or("include_context", default.include_context, Value::boolean),
        retention: retention.filter(|kept| !kept.is_zero()),
        get_context_timeout: section.or("get_context_timeout", default.get_context_timeout, Value::positive),
        update_context_timeout: section.or(
            "update_context_timeout",
            default.update_context_timeout,
            Value::positive,
        ),
    };
    if memory.recall_budget > memory.recall_timeout {
        section.error_at("recall_budget", "must not be longer than `recall_timeout`, which ends the recall");
    }
    memory
}

/// Reads `[redis]`.
pub fn redis(section: &Section<'_>) -> Redis {
    Redis {
        url: section.opt("url", |value| database_url(value, &["redis", "rediss"])),
        on_error: section.or("on_error", Redis::default().on_error, Value::keyword),
    }
}

/// Without `needed` an unset variable is no fault, and neither is a URL of something else.
fn store_url(section: &Section<'_>, needed: bool) -> Option<Secret> {
    if !needed {
        section.value("url")?;
        return None;
    }
    let Some(value) = section.value("url") else {
        section.error_at("store", "\"postgres\" needs a `url` such as \"postgres://user:password@host/db\"");
        return None;
    };
    let text = value.text()?;
    if text.is_empty() {
        return value.fail("is empty, but store = \"postgres\" needs it; set it, or use store = \"sqlite\"");
    }
    database_url(&value, &["postgres", "postgresql"])
}

/// Empty means none. Never quotes the URL: it holds a password.
fn database_url(value: &Value<'_>, schemes: &[&str]) -> Option<Secret> {
    let secret = value.secret()?;
    match Url::parse(secret.expose()) {
        Ok(url) if schemes.contains(&url.scheme()) => Some(secret),
        _ => value.fail(format!("expected a URL that begins with {}://", schemes.join(":// or "))),
    }
}

fn embedder(section: &Section<'_>, providers: &Providers, models: &Models) -> Embedder {
    let kind = section.or("embedder", EmbedderKind::Builtin, Value::keyword);
    let model = section.opt("embedding_model", |value| embedding_model(value, providers, models));
    let dimensions = section.opt("dimensions", Value::count);
    if kind == EmbedderKind::Builtin {
        return Embedder::Builtin;
    }
    for key in ["embedding_model", "dimensions"] {
        if section.value(key).is_none() {
            section.error_at("embedder", format!("\"openai\" needs `{key}`"));
        }
    }
    match (model, dimensions) {
        (Some(model), Some(dimensions)) => Embedder::OpenAi { model, dimensions },
        _ => Embedder::Builtin,
    }
}

/// A model by its name, else a target by its own.
fn embedding_model(value: &Value<'_>, providers: &Providers, models: &Models) -> Option<String> {
    let text = value.name()?;
    if models.offered.iter().any(|model| model.name == text || model.alias.contains(&text)) {
        return Some(text);
    }
    if models.names.contains(&text) {
        return value.fail("needs a model that is not offered: none of its providers can be used");
    }
    let Some(target) = TargetName::parse(&text) else {
        return value.expected(r#"the name of a model, or a target "provider/model""#, "");
    };
    let provider = &target.provider;
    match providers.status(provider) {
        Some(ProviderStatus::Live(_) | ProviderStatus::Faulty) => Some(text),
        Some(ProviderStatus::Unset(names)) => value
            .fail(format!("needs the provider {provider}, which is skipped: {} not set", names.join(", "))),
        Some(ProviderStatus::Disabled) => {
            value.fail(format!("needs the provider {provider}, which is disabled"))
        }
        None => value.fail(providers.unknown(provider)),
    }
}
