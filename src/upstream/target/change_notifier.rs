//! Which targets have changed, for a listener that tells other gateways.
//!
//! A note is only the name of a target: the listener reads what there is to know. So notes need no order, many are as good
//! as one, and to leave one costs a request a short lock.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Notes beyond which no more are taken: the listener looks at every target from time to time anyway.
const MAX_TARGETS: usize = 10_000;

/// Where targets leave notes and a listener collects them. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ChangeNotifier(Arc<NotifierInner>);

#[derive(Debug, Default)]
struct NotifierInner {
    pending: Mutex<PendingUpdates>,
    added: Notify,
}

/// Names of targets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PendingUpdates {
    /// Something has happened to them.
    pub changed: BTreeSet<Arc<str>>,
    /// A request would be their probe.
    pub probe_requests: BTreeSet<Arc<str>>,
}

impl ChangeNotifier {
    /// Something has happened to `target`.
    pub fn changed(&self, target: &Arc<str>) {
        self.add(|pending| &mut pending.changed, target);
    }

    /// A request would be the probe of `target`, if this gateway had the lease.
    pub fn request_probe(&self, target: &Arc<str>) {
        self.add(|pending| &mut pending.probe_requests, target);
    }

    /// All notes, as soon as there are any; none is lost if the caller stops waiting.
    pub async fn pending(&self) -> PendingUpdates {
        loop {
            let added = self.0.added.notified();
            let pending = std::mem::take(&mut *self.0.pending.lock());
            if pending != PendingUpdates::default() {
                return pending;
            }
            added.await;
        }
    }

    fn add(&self, which: fn(&mut PendingUpdates) -> &mut BTreeSet<Arc<str>>, target: &Arc<str>) {
        let mut pending = self.0.pending.lock();
        let set = which(&mut pending);
        if set.len() < MAX_TARGETS && set.insert(target.clone()) {
            drop(pending);
            self.0.added.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn notes_wait_for_the_listener_and_wake_it() {
        let (notifier, target) = (ChangeNotifier::default(), Arc::<str>::from("a/m"));
        notifier.changed(&target);
        notifier.changed(&target);
        notifier.request_probe(&target);
        let pending = notifier.pending().await;
        assert_eq!((pending.changed.len(), pending.probe_requests.len()), (1, 1));
        let later = notifier.clone();
        let (pending, ()) = tokio::join!(notifier.pending(), async move { later.request_probe(&target) });
        assert_eq!((pending.changed.len(), pending.probe_requests.len()), (0, 1));
    }

    #[test]
    fn they_are_bounded() {
        let notifier = ChangeNotifier::default();
        (0..2 * MAX_TARGETS).for_each(|i| notifier.changed(&Arc::from(i.to_string())));
        assert_eq!(notifier.0.pending.lock().changed.len(), MAX_TARGETS);
    }
}
