//! Benchmarks that a sceptic can run: `bench/run` and a name.
//!
//! All start the real gateway as a process, in front of fake providers on raw sockets, and look at it from outside
//! only: what callers got, and what the providers saw. In reading order:
//!
//! - [`setup`]: the binary under test, and where results go.
//! - [`traffic`]: a fake provider and a load generator that cost little.
//! - [`overhead`]: what the gateway costs, beside others.
//! - [`instructions`]: the same, as counts that a busy machine does not move.
//! - [`scale`]: many streams, targets, users, cores.
//! - [`caller`]: one call, read as a careful client reads it.
//! - [`failover`]: the sixteen scenarios of the public Failover Bench.
//! - [`storm`]: the same faults under load.
//! - [`slots`]: what one user can do to the others.
//! - [`shared`]: several gateways that count together.
//! - [`routing`]: policies on simulated bad days; starts nothing.
//! - [`recall`]: what memory finds, and how fast.
//! - [`durability`]: what memory still knows after `kill -9`.
//! - [`isolation`]: what memory tells to whom, and what it has forgotten.
//! - [`grown`]: memory in PostgreSQL, with several gateways: what it finds, loses, and whether it is ever stale.
//! - [`wire`]: requests on raw keep-alive connections.
//! - [`telemetry`]: what counting costs.
//! - [`peers`]: what a second gateway learns of a provider that dies.
//!
//! Nothing here may use the gateway's code: a benchmark that shares code with what it measures shares its mistakes.
//! [`routing`] and the program `slot-cost` alone link it, because what they measure is a function; only public ones are
//! called.

pub mod caller;
pub mod durability;
pub mod failover;
pub mod grown;
pub mod instructions;
pub mod isolation;
pub mod overhead;
pub mod peers;
pub mod recall;
pub mod routing;
pub mod scale;
pub mod setup;
pub mod shared;
pub mod slots;
pub mod storm;
pub mod telemetry;
pub mod traffic;
pub mod wire;
