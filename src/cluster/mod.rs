//! What several gateways know together, by way of one Redis (or Valkey).
//!
//! [`RedisClient`] is the line to it: one connection, the circuit that opens when it does not answer, and who else is there. What
//! is kept in Redis is the business of whoever uses the link. Nothing in here may block a request for longer than
//! [`client::PATIENCE`], fail a start because Redis is away, or write the name of a user into a key: keys have a
//! [`UserKey`].
//!
//! One server is meant, or a name that always leads to the one that takes writes (as after a failover); a cluster is not,
//! for a script here touches keys that lie anywhere.

pub mod client;
mod membership;
mod pubsub;
mod reconnect;
mod url;
mod user_key;

pub use client::{ConnectionState, GatewayId, RedisClient, RedisUnavailable};
pub use user_key::UserKey;
