//! Panics in the log: how many there were, and where.
//!
//! The standard hook prints the message of a panic, and a message like "byte 5 is not a char boundary of …" quotes what a user
//! wrote. No such text may be in a log, so only a message that is a constant of the code is told.

use std::{
    panic::{self, PanicHookInfo},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Of this process, caught or not.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// From now on a panic is a line of the log.
pub fn log_them() {
    panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let panics = COUNT.fetch_add(1, Relaxed) + 1;
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let what = info.payload().downcast_ref::<&'static str>().copied();
    let what = what.unwrap_or("message omitted: it may quote a user");
    tracing::error!(panics, at, what, "panic: a bug in the gateway");
}
