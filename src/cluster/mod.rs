//! The state that several gateways share in one Redis (or Valkey).
//!
//! [`RedisClient`] is the client: one connection, the circuit that opens when Redis does not answer, and the number of
//! gateways. What is kept in Redis is defined by the users of the client. Nothing here may block a request for longer than
//! [`connection::CALL_TIMEOUT`], fail a start because Redis is down, or write a user's name into a key: keys have a
//! [`UserKey`].
//!
//! It needs a single server, or a name that always leads to the primary (also after a failover). Redis Cluster is not
//! supported: scripts here touch keys in any hash slot.

mod client;
mod connection;
mod membership;
mod pubsub;
mod reconnect;
mod url;
mod user_key;

pub(crate) use client::RedisClient;
pub(crate) use connection::{ERRORS, RedisUnavailable};
pub(crate) use user_key::UserKey;
