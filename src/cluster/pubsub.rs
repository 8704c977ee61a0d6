//! The subscriptions of this gateway to Redis channels, and its outgoing messages.
//!
//! Messages are hints: one may be lost when the connection breaks or a subscriber is too slow. Nothing may
//! depend on one.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc};

/// Messages by which a subscriber may be behind.
const SUBSCRIBER_QUEUE: usize = 1024;
/// Messages that wait to be sent.
const PUBLISH_QUEUE: usize = 1024;

/// All channels, and the queue of outgoing messages.
pub(crate) struct Channels {
    heard: Mutex<BTreeMap<String, broadcast::Sender<Bytes>>>,
    /// Notified when a channel gets its first subscriber.
    pub more: Notify,
    sender: mpsc::Sender<(String, Bytes)>,
    /// Messages to send; the only reader holds the lock.
    pub unsent: tokio::sync::Mutex<mpsc::Receiver<(String, Bytes)>>,
}

impl Default for Channels {
    fn default() -> Self {
        let (sender, unsent) = mpsc::channel(PUBLISH_QUEUE);
        Self { heard: Mutex::default(), more: Notify::new(), sender, unsent: unsent.into() }
    }
}

impl Channels {
    /// Subscribes to `channel` from now on.
    pub(crate) fn subscribe(&self, channel: &str) -> broadcast::Receiver<Bytes> {
        let mut heard = self.heard.lock();
        if let Some(known) = heard.get(channel) {
            return known.subscribe();
        }
        let (sender, receiver) = broadcast::channel(SUBSCRIBER_QUEUE);
        heard.insert(channel.to_owned(), sender);
        self.more.notify_one();
        receiver
    }

    /// The names of all subscribed channels.
    pub(crate) fn names(&self) -> Vec<String> {
        self.heard.lock().keys().cloned().collect()
    }

    /// Delivers a message to the channel's subscribers.
    pub(crate) fn deliver(&self, channel: &[u8], message: Bytes) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if let Some(sender) = self.heard.lock().get(channel) {
            // It is no error if there are none.
            drop(sender.send(message));
        }
    }

    /// Queues `message` for sending; false if the queue is full.
    pub(crate) fn publish(&self, channel: &str, message: Bytes) -> bool {
        self.sender.try_send((channel.to_owned(), message)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_those_who_listen_to_its_channel() {
        let channels = Channels::default();
        let (mut ann, mut bob) = (channels.subscribe("a"), channels.subscribe("b"));
        channels.deliver(b"a", Bytes::from_static(b"hello"));
        channels.deliver(b"nobody's", Bytes::new());
        channels.deliver(b"\xff", Bytes::new());
        assert_eq!(ann.try_recv().unwrap(), "hello");
        assert!(bob.try_recv().is_err());
        assert_eq!(channels.names(), ["a", "b"]);
    }

    #[test]
    fn what_waits_to_be_sent_is_bounded() {
        let channels = Channels::default();
        assert!((0..PUBLISH_QUEUE).all(|_| channels.publish("a", Bytes::new())));
        assert!(!channels.publish("a", Bytes::new()));
    }
}
