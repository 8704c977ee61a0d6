//! `[memory]` and `[redis]`: what is kept, and where.

use std::{path::PathBuf, time::Duration};

use serde_json::json;
use url::Url;

use super::{
    models::ModelSections,
    providers::{ProviderStatus, Providers},
    routing::{off_or, or_off},
};
use crate::config::{
    Secret, TargetName,
    keyword::{Keyword, keywords},
    reader::{section::Section, value::Value},
    section_table::section,
};

keywords! {
    /// Where memories are kept.
    pub enum StoreKind {
        /// One file beside the gateway.
        Sqlite = "sqlite",
        /// Shared by many gateways.
        Postgres = "postgres",
    }
}

keywords! {
    /// The roles whose words are remembered from chats.
    pub enum Capture {
        /// Nobody's.
        Off = "off",
        /// The user's.
        User = "user",
        /// The user's and the model's.
        Both = "both",
    }
}

section! {
    /// `[memory]`
    [memory] pub struct MemoryConfig(section, providers: &Providers, models: &ModelSections) {
        /// Whether anything is remembered or recalled.
        enabled: bool = true;
        /// Where memories are kept.
        store: StoreKind = "sqlite";
        /// SQLite file.
        path: PathBuf = "concierge.db";
        /// PostgreSQL URL.
        url: Option<Secret> = "", read |value| store_url(value, enabled && store == StoreKind::Postgres);
        /// Tokens of one injected block.
        max_tokens: u32 = 1024;
        /// Items of one injected block.
        max_items: u32 = 20;
        /// Fused score below which nothing is injected.
        min_score: f64 = 0.25;
        /// Hard stop of one recall.
        recall_timeout: Duration = "5s", read Value::positive;
        /// Past it the request goes on without memory.
        recall_budget: Duration = "150ms", read Value::positive;
        /// How long a recall is cached.
        cache_ttl: Duration = "5m";
        /// How many recalls are cached.
        cache_entries: u32 = 10000, read |value| value.whole(0);
        /// The roles whose words are remembered from chats.
        capture: Capture = "user";
        /// Memory for callers without an id.
        anonymous: bool = false;
        /// The stored context at the head of the block.
        include_context: bool = false;
        /// How long memories are kept; `None`: for ever.
        retention: Option<Duration> = "0d", read or_off, show |memory, _| json!(off_or(memory.retention));
        /// Limit of `GET /v1/context`.
        get_context_timeout: Duration = "10s", read Value::positive;
        /// Limit of `PUT` and `PATCH /v1/context`.
        update_context_timeout: Duration = "15s", read Value::positive;
    }
    joint {
        /// What turns text into vectors; the other two keys are for `"openai"`.
        embedder: EmbedderKind = "builtin", show |memory, _| json!(memory.embedder.keys().0.as_str());
        /// The name of a model, or `provider/model`.
        embedding_model: Option<String> = None,
            read |value| embedding_model(value, providers, models).map(Some),
            show |memory, _| json!(memory.embedder.keys().1);
        /// Length of its vectors.
        dimensions: Option<u32> = None, show |memory, _| json!(memory.embedder.keys().2);
    }
    made {
        /// What turns text into vectors.
        embedder: Embedder = (Embedder::Builtin), by chosen(section, embedder, embedding_model, dimensions);
    }
    rules {
        if enabled && store == StoreKind::Postgres && section.value("url").is_none() {
            section.error_at("store", "\"postgres\" needs a `url` such as \"postgres://user:password@host/db\"");
        }
        if recall_budget > recall_timeout {
            section.error_at("recall_budget", "must not be longer than `recall_timeout`, which ends the recall");
        }
    }
}

/// What turns text into vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Embedder {
    /// The table inside the binary.
    #[default]
    Builtin,
    /// A target with an OpenAI-compatible `/embeddings` route.
    OpenAi {
        /// The name of a model, or `provider/model`.
        model: String,
        /// Length of its vectors.
        dimensions: u32,
    },
}

keywords! {
    /// The word of `embedder`; its other keys make it an [`Embedder`].
    pub enum EmbedderKind {
        /// The table inside the binary.
        Builtin = "builtin",
        /// A target with an OpenAI-compatible `/embeddings` route.
        OpenAi = "openai",
    }
}

impl Embedder {
    /// What the keys would be.
    fn keys(&self) -> (EmbedderKind, Option<&str>, Option<u32>) {
        match self {
            Self::Builtin => (EmbedderKind::Builtin, None, None),
            Self::OpenAi { model, dimensions } => (EmbedderKind::OpenAi, Some(model), Some(*dimensions)),
        }
    }
}

keywords! {
    /// What limits and slots do while Redis is away.
    pub enum OnError {
        /// Count in this process.
        Local = "local",
        /// Refuse.
        Closed = "closed",
    }
}

section! {
    /// `[redis]`
    [redis] pub struct Redis {
        /// `None`: everything is kept in this process.
        url: Option<Secret> = "", read |value| database_url(value, &["redis", "rediss"]).map(Some);
        /// What limits and slots do while it is away.
        on_error: OnError = "local";
    }
}

/// Without `needed` an unset variable is no fault, and neither is a URL of something else.
fn store_url(value: &Value<'_>, needed: bool) -> Option<Option<Secret>> {
    if !needed {
        return Some(None);
    }
    if value.text()?.is_empty() {
        return value.fail("is empty, but store = \"postgres\" needs it; set it, or use store = \"sqlite\"");
    }
    database_url(value, &["postgres", "postgresql"]).map(Some)
}

/// Empty means none. Never quotes the URL: it holds a password.
fn database_url(value: &Value<'_>, schemes: &[&str]) -> Option<Secret> {
    let secret = value.secret()?;
    match Url::parse(secret.expose()) {
        Ok(url) if schemes.contains(&url.scheme()) => Some(secret),
        _ => value.fail(format!("expected a URL that begins with {}://", schemes.join(":// or "))),
    }
}

fn chosen(
    section: &Section<'_>,
    kind: EmbedderKind,
    model: Option<String>,
    dimensions: Option<u32>,
) -> Embedder {
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
fn embedding_model(value: &Value<'_>, providers: &Providers, models: &ModelSections) -> Option<String> {
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
