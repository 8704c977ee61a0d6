//! Places where a build for tests panics when it is told to, to prove what a bug of ours would cost.
//!
//! Only the feature `failpoints` makes them do anything; no build for users has it, and without it this is nothing at all.
//! A request asks for its panic by its id: `x-request-id: panic-in-handler-17`. The tasks of the process panic once, at
//! their start, if the environment variable `CONCIERGE_PANIC` names them.

/// Where a request can panic.
#[derive(Debug, Clone, Copy)]
pub enum Failpoint {
    /// Before anything was done for it.
    Handler,
    /// With its slot, before anybody was asked.
    Slot,
    /// While a target is looked for.
    Search,
    /// In the middle of its answer.
    Stream,
}

#[cfg(not(feature = "failpoints"))]
mod act {
    use super::Failpoint;

    /// Does nothing without the feature `failpoints`.
    #[inline(always)]
    pub fn request(_: Failpoint, _: &str) {}

    /// Does nothing without the feature `failpoints`.
    #[inline(always)]
    pub fn task(_: &str) {}
}

#[cfg(feature = "failpoints")]
#[allow(clippy::panic, reason = "it is what they are for")]
mod act {
    use std::{
        collections::HashSet,
        env,
        sync::{LazyLock, Mutex, PoisonError},
    };

    use super::Failpoint;

    /// Tasks that have not panicked yet.
    static TASKS: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(|| {
        let names = env::var("CONCIERGE_PANIC").unwrap_or_default();
        Mutex::new(names.split(',').map(str::to_owned).collect())
    });

    /// Panics if the request with this id asks for it here.
    pub fn request(place: Failpoint, id: &str) {
        let here = match place {
            Failpoint::Handler => "handler",
            Failpoint::Slot => "slot",
            Failpoint::Search => "search",
            Failpoint::Stream => "stream",
        };
        if id.strip_prefix("panic-in-").is_some_and(|wanted| wanted.starts_with(here)) {
            panic!("a failpoint");
        }
    }

    /// Panics if this is the first start of a task that is to panic.
    pub fn task(name: &str) {
        if TASKS.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            panic!("a failpoint");
        }
    }
}

pub use act::{request, task};
