//! The sections of the file, each with the rules of its own keys. Sections that depend on another get what
//! they need from it as an argument, so the order here is the order of what depends on what.
//!
//! A reader answers with a default for what is absent or wrong and notes the problem; the result is used only
//! when nothing was noted as an error.

mod auth;
mod memory;
mod models;
mod providers;
mod routing;
mod server;
mod slots;
mod telemetry;

pub use auth::{Auth, ClientKey};
pub use memory::{Capture, Embedder, MemoryConfig, OnError, Redis, StoreKind};
pub use models::{ModelConfig, TargetName};
pub use providers::{Prefill, ProviderConfig};
pub use routing::{BreakerConfig, Health, Hedge, Rescue, Resilience, Routing, Strategy, Timeout};
pub use server::{Admin, Server, Tls};
#[cfg(test)]
pub(super) use slots::AT_MOST;
pub use slots::{LimitsConfig, Operation, SlotsConfig};
pub use telemetry::{LogFormat, Telemetry};

use super::{reader::section::Section, section_table::document};

document! {
    /// The whole checked configuration. Only `reader` makes one from a file.
    pub struct Config {
        /// Where the gateway listens and how it stops.
        server: Server,
        /// Operators' access.
        admin: Admin,
        /// Clients' access.
        auth: Auth,
        /// Where answers come from. Providers without a key are not in here.
        providers: Vec<ProviderConfig>,
        /// What clients may ask for. Every model has at least one target.
        models: Vec<ModelConfig>,
        /// In which order targets are asked.
        routing: Routing,
        /// How long we wait and how often we try.
        resilience: Resilience,
        /// When a circuit breaker opens, and for how long.
        breaker: BreakerConfig,
        /// How idle or failed targets are checked.
        health: Health,
        /// How many requests a user may have in flight.
        slots: SlotsConfig,
        /// How much a user may ask per minute.
        limits: LimitsConfig,
        /// What is remembered and recalled.
        memory: MemoryConfig,
        /// Shared state for several gateways.
        redis: Redis,
        /// What the gateway tells about itself.
        telemetry: Telemetry,
    }
}

/// Reads the whole document.
pub(super) fn read(root: &Section<'_>) -> Config {
    let mut keys = Vec::new();
    let auth = root.section("auth", |section| Auth::read(section, &mut keys));
    let server = root.section("server", |section| Server::read(section, keys.is_empty()));
    let admin = root.section("admin", |section| Admin::read(section, server.listen));
    let routing = root.section("routing", Routing::read);
    let providers = providers::read(root);
    let models = models::read(root, &providers, routing.strategy);
    auth::check_allow_lists(&keys, &models);
    let memory = root.section("memory", |section| MemoryConfig::read(section, &providers, &models));
    let config = Config {
        server,
        admin,
        auth,
        models: models.offered,
        routing,
        resilience: root.section("resilience", Resilience::read),
        breaker: root.section("breaker", BreakerConfig::read),
        health: root.section("health", Health::read),
        slots: root.section("slots", SlotsConfig::read),
        limits: root.section("limits", LimitsConfig::read),
        memory,
        redis: root.section("redis", Redis::read),
        telemetry: root.section("telemetry", Telemetry::read),
        providers: providers.into_live(),
    };
    root.refuse_unknown();
    config
}
