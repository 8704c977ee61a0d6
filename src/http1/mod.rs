//! HTTP/1.1 on the wire, as both ends of this gateway speak it: to clients (`server/http1`) and to providers
//! (`upstream/client/h1`).
//!
//! What two parsers could read in two ways is an error here, never a guess: a proxy that guesses lets one caller speak in
//! the name of another. No buffer lives longer than what is in it.

pub mod body_framing;
pub(crate) mod client;
pub mod headers;
pub mod io;
pub(crate) mod server;
