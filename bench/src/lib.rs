//! Benchmarks that a sceptic can run: `bench/run failover`, `bench/run storm`, `bench/run slots`.
//!
//! All start the real gateway as a process, in front of fake providers on raw sockets, and look at it from outside
//! only: what callers got, and what the providers saw. In reading order:
//!
//! - [`setup`]: the binary under test, and where results go.
//! - [`caller`]: one call, read as a careful client reads it.
//! - [`failover`]: the sixteen scenarios of the public Failover Bench.
//! - [`storm`]: the same faults under load.
//! - [`slots`]: what one user can do to the others.
//! - [`recall`]: what memory finds, and how fast.
//! - [`telemetry`]: what counting costs.
//!
//! Nothing here may use the gateway's code: a benchmark that shares code with what it measures shares its mistakes.
//! [`recall`] and the program `slot-cost` alone link it, because what they measure is a function; only public ones are
//! called.

pub mod caller;
pub mod failover;
pub mod recall;
pub mod setup;
pub mod slots;
pub mod storm;
pub mod telemetry;
