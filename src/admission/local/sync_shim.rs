//! The lock and the clock of the slots: the real ones, or those of a model checker.
//!
//! Unit tests that are built with the feature `model` run the very code of [`super::slots`] on shuttle, which decides at
//! every lock and every wake-up who goes on, and tries each order. No other build may know of it.

#[cfg(not(all(test, feature = "model")))]
pub(crate) use {parking_lot::Mutex, tokio::time::timeout};

#[cfg(all(test, feature = "model"))]
pub(crate) use model::{Mutex, PATIENT, timeout};

#[cfg(all(test, feature = "model"))]
mod model {
    use std::{pin::pin, sync::PoisonError, time::Duration};

    use futures_util::future::{Either, select};
    use shuttle::sync::MutexGuard;

    /// A patience that never ends. Any other may end at any moment.
    pub(crate) const PATIENT: Duration = Duration::MAX;

    /// Shuttle's lock, used as parking_lot's.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Time passes when the scheduler says so: it is a task like any other.
    pub(crate) async fn timeout<F: Future>(patience: Duration, future: F) -> Result<F::Output, ()> {
        if patience == PATIENT {
            return Ok(future.await);
        }
        let time = shuttle::future::spawn(async {});
        match select(pin!(future), time).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(_) => Err(()),
        }
    }
}
