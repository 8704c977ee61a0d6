//! The gateway's dependencies besides its targets: the memory store and Redis. Operators get an event when one of them
//! goes down or comes back.
//!
//! It only observes, and never delays anything.

use std::{future::Future, time::Duration};

use tokio::time::sleep;

use crate::events::{Event, Events};

/// Interval between checks.
const LOOK: Duration = Duration::from_secs(3);

/// Whether each dependency is up; `None` where none is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dependencies {
    /// The store can be read and written.
    pub memory_store: Option<bool>,
    /// Redis answers within its timeout.
    pub redis: Option<bool>,
}

impl Dependencies {
    /// Each with its name, and whether it is down.
    fn missed(self) -> [(&'static str, bool); 2] {
        [("memory_store", self.memory_store == Some(false)), ("redis", self.redis == Some(false))]
    }
}

/// Checks the dependencies for ever. They are given a moment to come up first.
pub(crate) async fn run<F: Future<Output = Dependencies>>(events: Events, look: impl Fn() -> F) {
    let mut known = Dependencies::default();
    loop {
        sleep(LOOK).await;
        let parts = look().await;
        for ((part, missed), (_, before)) in parts.missed().into_iter().zip(known.missed()) {
            if missed != before {
                events.record(Event::Part { part, up: !missed });
            }
        }
        known = parts;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_away_and_comes_back_is_told_once_each() {
        let events = Events::new();
        let parts = Arc::new(Mutex::new(Dependencies { memory_store: Some(true), redis: None }));
        let current = parts.clone();
        let task = run(events.clone(), move || {
            let parts = *current.lock();
            async move { parts }
        });
        let look = async {
            let told = async |memory_store, redis| {
                *parts.lock() = Dependencies { memory_store, redis };
                sleep(3 * LOOK).await;
                let past = events.past().into_iter().map(|stamped| match stamped.event {
                    Event::Part { part, up } => (part, up),
                    other => panic!("{other:?}"),
                });
                past.collect::<Vec<_>>()
            };
            assert_eq!(told(Some(true), None).await, []);
            assert_eq!(told(Some(false), None).await, [("memory_store", false)]);
            assert_eq!(told(Some(false), Some(false)).await.len(), 2);
            assert_eq!(told(None, Some(true)).await.len(), 4, "what is not wanted any more is not missed");
        };
        tokio::select! {
            () = task => unreachable!("it looks for ever"),
            () = look => {}
        }
    }
}
