//! Concierge: an LLM gateway.

pub mod admin;
pub mod admission;
pub mod api;
pub mod config;
pub mod dispatch;
pub mod recall;
pub mod server;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
