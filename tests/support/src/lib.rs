//! The code shared by the tests and the benchmarks. In reading order:
//!
//! - [`script`]: a fake provider's answer to one request, down to the byte and the RST.
//! - [`openai`]: the payloads of the OpenAI API, and the default behaviour of a healthy provider.
//! - [`fake`]: the fake provider: raw sockets, one port, a log of calls.
//! - [`fake_h2`]: a provider that speaks HTTP/2 over TLS.
//! - [`config`]: a `config.toml` for a test, with short timeouts.
//! - [`gateway`]: the gateway as a real process.
//! - [`client`]: a client that can disconnect at any moment; [`answer`]: its answer, byte for byte, and how that ended;
//!   [`sse`] reads its events.
//! - [`link`]: a private network, and a link in it that can be pulled.
//! - [`raw_h2`]: HTTP/2 frames by hand, for what no client library would send.
//! - [`redis`]: a real Redis that can be killed, stopped and emptied.
//! - [`store`]: the store that the gateways of this run use, and a relay in front of it that can be cut.
//! - [`tls`], [`wait`]: a private certificate authority; waiting for a condition instead of sleeping.
//!
//! It depends on the gateway's contract, not on its code. It must never repair what it sees: a broken
//! answer reaches the test as it was. Everything here may panic with a readable message; it runs in tests only.

pub mod answer;
pub mod client;
pub mod config;
pub mod fake;
pub mod fake_h2;
pub mod gateway;
pub mod link;
pub mod openai;
pub mod preload;
pub mod raw_h2;
pub mod redis;
pub mod script;
pub mod smuggling;
pub mod sse;
pub mod store;
pub mod tls;
pub mod wait;

pub use answer::{Ended, Heard, Open, Reply};
pub use client::Client;
pub use config::ConfigFile;
pub use fake::{Call, FakeProvider, Request};
pub use gateway::Gateway;
pub use redis::RedisServer;
pub use script::{End, Script};
pub use wait::{eventually, within};

/// Short for `Duration::from_millis`, which the tests use a hundred times.
pub const fn ms(n: u64) -> std::time::Duration {
    std::time::Duration::from_millis(n)
}
