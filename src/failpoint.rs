//! Places where a test build panics on demand, to prove what a bug of ours would cost.
//!
//! Only the feature `failpoints` enables them; no release build has it, and without it this module does nothing.
//! A request triggers its panic by its id: `x-request-id: panic-in-handler-17`. A task of the process panics once, at
//! its start, if the environment variable `CONCIERGE_PANIC` names it.

/// Where a request can panic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failpoint {
    /// Before anything was done for the request.
    Handler,
    /// With its slot, before the first attempt.
    Slot,
    /// In the attempt loop.
    Search,
    /// In the middle of the answer.
    Stream,
}

#[cfg(not(feature = "failpoints"))]
mod act {
    use super::Failpoint;

    /// Does nothing without the feature.
    #[inline(always)]
    pub(crate) fn request(_: Failpoint, _: &str) {}

    /// Does nothing without the feature.
    #[inline(always)]
    pub(crate) fn task(_: &str) {}
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

    /// Panics if the id of the request names this place.
    pub(crate) fn request(place: Failpoint, id: &str) {
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
    pub(crate) fn task(name: &str) {
        if TASKS.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            panic!("a failpoint");
        }
    }
}

pub(crate) use act::{request, task};
