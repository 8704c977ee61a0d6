//! Who in this gateway listens to which channel of Redis, and what is to be said on them.
//!
//! Both are hints: a message may be lost, when the connection breaks or when somebody listens too slowly. Nothing may
//! depend on one.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc};

/// Messages that a listener may be behind.
const SUBSCRIBER_QUEUE: usize = 1024;
/// Messages that wait to be sent.
const PUBLISH_QUEUE: usize = 1024;

/// The subscribed channels and their receivers.
pub struct Channels {
    heard: Mutex<BTreeMap<String, broadcast::Sender<Bytes>>>,
    /// Somebody listens to a channel that nobody has listened to before.
    pub more: Notify,
    sender: mpsc::Sender<(String, Bytes)>,
    /// What is to be sent; its only reader holds the lock.
    pub unsent: tokio::sync::Mutex<mpsc::Receiver<(String, Bytes)>>,
}

impl Default for Channels {
    fn default() -> Self {
        let (sender, unsent) = mpsc::channel(PUBLISH_QUEUE);
        Self { heard: Mutex::default(), more: Notify::new(), sender, unsent: unsent.into() }
    }
}

impl Channels {
    /// Listens to `channel` from now on.
    pub fn subscribe(&self, channel: &str) -> broadcast::Receiver<Bytes> {
        let mut heard = self.heard.lock();
        if let Some(known) = heard.get(channel) {
            return known.subscribe();
        }
        let (sender, receiver) = broadcast::channel(SUBSCRIBER_QUEUE);
        heard.insert(channel.to_owned(), sender);
        self.more.notify_one();
        receiver
    }

    /// The names of all that is listened to.
    pub fn names(&self) -> Vec<String> {
        self.heard.lock().keys().cloned().collect()
    }

    /// A message came.
    pub fn deliver(&self, channel: &[u8], message: Bytes) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if let Some(sender) = self.heard.lock().get(channel) {
            // Nobody listening is no error.
            drop(sender.send(message));
        }
    }

    /// Sends `message` when it can; false if too many wait.
    pub fn publish(&self, channel: &str, message: Bytes) -> bool {
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
