//! The HTTP/1.1 codec: [`server`] reads requests and writes responses, [`client`] writes requests and reads responses.
//!
//! It knows nothing of the gateway: bodies, the gateway's own headers, the clock and the connection pool are handed in.
//! It spawns no task. A request that two parsers could read in two ways is refused, never guessed at, because a proxy that
//! guesses lets one caller speak in the name of another. No buffer lives longer than what is in it.

pub mod body_framing;
pub mod client;
pub mod headers;
pub mod io;
pub mod server;
