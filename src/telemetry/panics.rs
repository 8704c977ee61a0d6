//! Panics in the log: their number and location.
//!
//! The standard hook prints the message of a panic, and a message like "byte 5 is not a char boundary of …" quotes user
//! input. No such text may be in a log, so a message is only logged if it is a constant of the code.

use std::{
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Panics of this process, caught or not.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Logs panics from now on, instead of printing them.
pub(crate) fn log_them() {
    panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let panics = COUNT.fetch_add(1, Relaxed) + 1;
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let what = info.payload().downcast_ref::<&'static str>().copied();
    let what = what.unwrap_or("message omitted: it may quote a user");
    tracing::error!(panics, at, what, "panic: a bug in the gateway");
}
