//! Concierge: an LLM gateway. This page is the map; it holds no code.
//!
//! # The life of a request
//!
//! Read downwards, this is what happens to `POST /v1/chat/completions`:
//!
//! | step | where | what |
//! | --- | --- | --- |
//! | socket | [`server::listener`] | TCP, TLS and HTTP/2, with a bound on everything |
//! | head | [`http1`] | HTTP/1.1: one request after the other, and their answers |
//! | route | `server::router` | what the request is for, and who may make it; deny by default |
//! | caller | `server::authn` | the one place that reads credentials and makes a [`user::UserId`] |
//! | body | `server::handlers::proxy::read_request`, [`openai::request_body`] | read within bounds; of it only what we act on |
//! | slot | [`admission`] | the user's right to run; held to the last byte |
//! | call | [`call`] | one admitted request; pins the [`upstream::Snapshot`] it was admitted under |
//! | recall | [`recall`], [`memory`] | what the user said before, put into the prompt within a hard time budget |
//! | plan | [`dispatch::plan`] | who is asked next: every decision of failover, without I/O or clock |
//! | attempt | [`upstream::exchange`], [`upstream::exchange::attempt`] | one question to one target, up to its first content |
//! | outcome | [`upstream::exchange::outcome`] | how it ended: the root of scoring, breaking and failover |
//! | relay | [`dispatch::relay`] | the response body itself, polled by the client's connection |
//! | rescue | `dispatch::rescue` | a stream that broke goes on from another target, or ends honestly |
//! | record | [`call::record`] | one log line, however it ended |
//!
//! # The modules, in reading order
//!
//! 1. [`upstream::exchange::outcome`], [`upstream::health`]: pure; the ideas of the product.
//! 2. [`upstream::target`] and [`upstream::exchange::attempt`]: what is known of a target, and the guard that tells it.
//! 3. [`dispatch`]: [`dispatch::run`] is the whole story; [`dispatch::plan`] decides, [`dispatch::relay`] carries.
//! 4. [`server`]: from the socket to a handler and back; `server::http::error_response` alone knows status codes.
//! 5. [`openai`]: what is said. Bodies stay bytes; what is not changed reaches the other side as it came.
//! 6. [`config`]: from the file, with every mistake named, to one immutable value.
//! 7. [`admin`], [`events`]: what operators see. [`app`], [`tasks`]: start, change, end.
//! 8. [`demo`]: simulated providers, which only [`app`] starts.
//!
//! Modules form layers, and nobody imports upwards: `architecture_tests` holds the table.
//!
//! # The seven invariants
//!
//! 1. No [`call::Call`] without a [`admission::slot::Slot`]; a slot lives until the last byte. The gateway's own calls
//!    (for vectors of memories) have slots of their own.
//! 2. Every [`upstream::Attempt`] ends in one [`upstream::exchange::outcome::Outcome`], also when dropped.
//! 3. Nothing is repeated after commit (the first content byte sent down).
//! 4. A client that leaves is never the target's fault.
//! 5. Recall can slow a call by at most its budget and can never fail it.
//! 6. A reload that fails changes nothing.
//! 7. Nothing waits without also waiting for shutdown.
//!
//! `ARCHITECTURE.md` has the reasons.

#![warn(unreachable_pub)]
// A new variant of an enum must not disappear in a `_`. Tests may match what they are about.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants))]

pub(crate) mod admin;
pub mod admission;
pub mod app;
pub(crate) mod call;
pub(crate) mod clock;
pub(crate) mod cluster;
pub mod config;
pub mod demo;
pub mod dispatch;
pub mod events;
pub(crate) mod failpoint;
pub(crate) mod gossip;
pub mod http1;
pub mod memory;
pub(crate) mod openai;
pub(crate) mod recall;
pub(crate) mod refusal;
pub(crate) mod server;
pub mod tasks;
pub(crate) mod telemetry;
pub(crate) mod tls;
pub mod upstream;
pub mod user;

#[cfg(test)]
mod architecture_tests;
