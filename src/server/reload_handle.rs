//! How a handler has the configuration read anew, without knowing who does it.

use parking_lot::Mutex;

use crate::admin::Reloaded;

/// Reloads the configuration, one reload at a time.
pub(crate) struct ReloadHandle {
    reload: Box<dyn Fn() -> Reloaded + Send + Sync>,
    /// Held while a reload runs.
    last: Mutex<Option<Reloaded>>,
}

impl ReloadHandle {
    /// A handle on `reload`.
    pub(crate) fn new(reload: impl Fn() -> Reloaded + Send + Sync + 'static) -> Self {
        Self { reload: Box::new(reload), last: Mutex::default() }
    }

    /// Reads the file again, and puts it in force if it is good.
    pub(crate) fn reload(&self) -> Reloaded {
        let mut last = self.last.lock();
        last.insert((self.reload)()).clone()
    }

    /// How the last reload went.
    pub(crate) fn last(&self) -> Option<Reloaded> {
        self.last.lock().clone()
    }
}
