//! Concierge: an LLM gateway.

pub mod admin;
pub mod admission;
pub mod api;
pub mod app;
pub mod call;
pub mod config;
pub mod demo;
pub mod dispatch;
pub mod events;
pub mod recall;
pub mod refusal;
pub mod reload;
pub mod report;
pub mod server;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
pub mod user;

#[cfg(test)]
mod architecture_tests;
