//! The gateway from outside: every test starts the real binary and speaks to its port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
