//! The sections of the file, each with the rules of its own keys. Sections that depend on another get what
//! they need from it as an argument, so the order here is the order of what depends on what.
//!
//! A reader answers with a default for what is absent or wrong and notes the problem; the result is used only
//! when nothing was noted as an error.

mod auth;
mod basic;
mod memory;
mod models;
mod providers;
mod server;

use super::{Config, reader::section::Section};

/// Reads the whole document.
pub fn read(root: &Section<'_>) -> Config {
    let access = root.section("auth", auth::read);
    let server = root.section("server", |section| server::read(section, access.open));
    let admin = root.section("admin", |section| server::admin(section, &server));
    let routing = root.section("routing", basic::routing);
    let providers = providers::read(root);
    let models = models::read(root, &providers, routing.strategy);
    access.check_allow_lists(&models);
    let memory = root.section("memory", |section| memory::read(section, &providers, &models));
    let config = Config {
        server,
        admin,
        auth: access.auth,
        models: models.offered,
        routing,
        resilience: root.section("resilience", basic::resilience),
        breaker: root.section("breaker", basic::breaker),
        health: root.section("health", basic::health),
        slots: root.section("slots", basic::slots),
        limits: root.section("limits", basic::limits),
        memory,
        redis: root.section("redis", memory::redis),
        telemetry: root.section("telemetry", basic::telemetry),
        providers: providers.into_live(),
    };
    root.refuse_unknown();
    config
}
