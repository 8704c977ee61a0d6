//! What targets have to tell the peers, until the task that tells it comes by.
//!
//! A note is only the name of a target: what there is to tell is read when it is told. So notes need no order, many are as
//! good as one, and to leave one costs a request a short lock.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Notes beyond which no more are taken: what they were about is told with the next round of figures.
const MAX_TARGETS: usize = 10_000;

/// The notes. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<OutboxInner>);

#[derive(Debug, Default)]
struct OutboxInner {
    notes: Mutex<PendingUpdates>,
    left: Notify,
}

/// Names of targets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PendingUpdates {
    /// Something has happened to them.
    pub news: BTreeSet<Arc<str>>,
    /// A request would be their probe.
    pub wishes: BTreeSet<Arc<str>>,
}

impl Outbox {
    /// Something has happened to `target`.
    pub fn changed(&self, target: &Arc<str>) {
        self.note(|notes| &mut notes.news, target);
    }

    /// A request would be the probe of `target`, if the peers leave it to us.
    pub fn request_probe(&self, target: &Arc<str>) {
        self.note(|notes| &mut notes.wishes, target);
    }

    /// All notes, as soon as there are any; none is lost if the caller stops waiting.
    pub async fn notes(&self) -> PendingUpdates {
        loop {
            let left = self.0.left.notified();
            let notes = std::mem::take(&mut *self.0.notes.lock());
            if notes != PendingUpdates::default() {
                return notes;
            }
            left.await;
        }
    }

    fn note(&self, which: fn(&mut PendingUpdates) -> &mut BTreeSet<Arc<str>>, target: &Arc<str>) {
        let mut notes = self.0.notes.lock();
        let set = which(&mut notes);
        if set.len() < MAX_TARGETS && set.insert(target.clone()) {
            drop(notes);
            self.0.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn notes_wait_for_who_reads_them_and_wake_him() {
        let (outbox, target) = (Outbox::default(), Arc::<str>::from("a/m"));
        outbox.changed(&target);
        outbox.changed(&target);
        outbox.request_probe(&target);
        let notes = outbox.notes().await;
        assert_eq!((notes.news.len(), notes.wishes.len()), (1, 1));
        let later = outbox.clone();
        let (notes, ()) = tokio::join!(outbox.notes(), async move { later.request_probe(&target) });
        assert_eq!((notes.news.len(), notes.wishes.len()), (0, 1));
    }

    #[test]
    fn they_are_bounded() {
        let outbox = Outbox::default();
        (0..2 * MAX_TARGETS).for_each(|i| outbox.changed(&Arc::from(i.to_string())));
        assert_eq!(outbox.0.notes.lock().news.len(), MAX_TARGETS);
    }
}
