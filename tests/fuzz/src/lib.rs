//! The HTTP/1.1 codec under input that nobody would write by hand.
//!
//! [`targets`] are properties that hold for any bytes; [`campaign`] runs one of them over mutations of a corpus. It is
//! ordinary Rust on the stable toolchain. With cargo-fuzz a target is one line:
//! `fuzz_target!(|input: &[u8]| { concierge_fuzz::targets::request_head(input); });`.
//!
//! [`ours`] and [`peer`] read the same bytes with our codec and with hyper. The differential test
//! (`tests/differential_hyper`) compares the two over [`corpus`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

pub mod campaign;
pub mod corpus;
mod mutate;
pub mod ours;
pub mod peer;
pub mod reading;
pub mod targets;
mod wire;
