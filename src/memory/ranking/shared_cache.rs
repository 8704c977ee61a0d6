//! Rankings that gateways share with each other, in Redis.
//!
//! Redis is never asked what is true. An [`SharedEntry`] names the epoch that it was made in, and whoever finds it asks the
//! store for the user's epoch at the same time and takes it only if they are the same. A write raises the epoch in its
//! own transaction, so before it is acknowledged; nothing has to happen in Redis for that, and it does not matter in which
//! order or by whom an entry was written, or whether Redis was away, flushed, set back or two in the meantime.
//!
//! One hash per user, with an entry per question and the epoch that they are of. What is older than that epoch is not
//! taken in any more, so a forget also takes the words out of Redis' memory. It lives for `cache_ttl` from its first entry
//! on. Keys are hashes: no id of a user and no word of a question is in them. Entries are words of memories; they must
//! never be logged.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use redis::Script;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, broadcast},
    time::timeout,
};

use super::shared_entry::SharedEntry;
use crate::{
    cluster::{RedisClient, RedisUnavailable, UserKey},
    config,
    tasks::Tasks,
    user::UserId,
};

/// The form of keys and entries: gateways of different versions share what both can read.
const FORM: &str = "1";
/// A cache that takes longer is none: the ranking itself is made in less.
const CALL_TIMEOUT: Duration = Duration::from_millis(25);
/// Entries on their way; further ones are not shared.
const PUBLISHING: usize = 64;
/// Questions of one user and epoch: beyond it the user's hash is begun anew.
const QUESTIONS: usize = 32;
/// Steps of a walk over all keys, of a thousand keys each.
const STEPS: usize = 100_000;

static RAISE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("shared_cache/raise.lua")));
static CLEAR: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("shared_cache/clear.lua")));

/// Rankings in Redis, shared by all gateways.
pub(crate) struct SharedCache {
    redis: RedisClient,
    tasks: Tasks,
    /// What all keys of one store begin with: epochs of different stores have nothing to do with each other.
    prefix: String,
    room: Arc<Semaphore>,
}

impl SharedCache {
    /// Of all gateways that have the store of `config` and the Redis of `link`. None for one that keeps its memories in a
    /// file: nobody else has them.
    pub(crate) fn open(
        config: &config::MemoryConfig,
        redis: Option<&RedisClient>,
        tasks: &Tasks,
    ) -> Option<Self> {
        let redis = redis?;
        if config.store == config::StoreKind::Sqlite {
            tracing::warn!(
                "memory.store: with \"sqlite\" each gateway has memories of its own, although they share a Redis; \
                 use \"postgres\" for several gateways"
            );
            return None;
        }
        let url = config.url.as_ref().map_or("", |url| url.expose());
        let prefix = format!("concierge:recall:{FORM}:{}:", hash(&[url]));
        let room = Arc::new(Semaphore::new(PUBLISHING));
        Some(Self { redis: redis.clone(), tasks: tasks.clone(), prefix, room })
    }

    /// What was shared for the question, of whatever epoch; `None` also while Redis is away.
    pub(crate) async fn find(&self, user: &UserId, query: &str, embedder: &str) -> Option<SharedEntry> {
        let (key, question) = (self.key(user), hash(&[query, embedder]));
        let mut asking = redis::pipe();
        asking.hget(key, question);
        let (found,): (Option<Vec<u8>>,) =
            timeout(CALL_TIMEOUT, self.redis.pipe(&asking)).await.ok()?.ok()?;
        SharedEntry::decode(&found?)
    }

    /// Shares an entry, later: the caller does not wait, and one that does not arrive is made once more.
    pub(crate) fn publish(
        &self,
        user: &UserId,
        query: &str,
        embedder: &str,
        entry: &SharedEntry,
        ttl: Duration,
    ) {
        let (Ok(room), Some(encoded)) = (self.room.clone().try_acquire_owned(), entry.encode()) else {
            return;
        };
        let (redis, key, question) = (self.redis.clone(), self.key(user), hash(&[query, embedder]));
        let epoch = entry.epoch;
        self.tasks.spawn(async move {
            raise(&redis, &key, epoch, ttl, Some((&question, &encoded))).await;
            drop(room);
        });
    }

    /// Takes out what is older than `epoch`, in which the user had something forgotten, and takes nothing of it in any
    /// more; without an epoch, for the write may have failed, all there is. While Redis is away the words stay where they
    /// are for the rest of their time, and nobody can recall them.
    pub(crate) async fn forget(&self, user: &UserId, epoch: Option<u64>, ttl: Duration) {
        match epoch {
            Some(epoch) => raise(&self.redis, &self.key(user), epoch, ttl, None).await,
            None => drop(self.clear(Some(user)).await),
        }
    }

    /// Takes out what there is of one user, or of all, and lets the other gateways know; how many entries.
    pub(crate) async fn clear(&self, user: Option<&UserId>) -> usize {
        let whose = user.map_or_else(Bytes::new, |user| UserKey::new(user).to_string().into());
        self.redis.publish(&self.channel(), whose);
        if let Some(user) = user {
            return self.step(&self.key(user), "", "").await.map_or(0, |(_, entries)| entries);
        }
        let (mut cursor, mut cleared) = ("0".to_owned(), 0);
        for _ in 0..STEPS {
            let Ok((next, entries)) = self.step("", &cursor, &format!("{}*", self.prefix)).await else {
                break;
            };
            cleared += entries;
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        cleared
    }

    /// One step of a walk over all keys, or the one `key`: where to go on, and how many entries are gone.
    async fn step(
        &self,
        key: &str,
        cursor: &str,
        pattern: &str,
    ) -> Result<(String, usize), RedisUnavailable> {
        self.redis.run(CLEAR.key(key).arg(cursor).arg(pattern)).await
    }

    /// The user whose entries are cleared, by any gateway: the text of a [`UserKey`], or nothing for all.
    pub(crate) fn clears(&self) -> broadcast::Receiver<Bytes> {
        self.redis.subscribe(&self.channel())
    }

    fn channel(&self) -> String {
        format!("{}cleared", self.prefix)
    }

    fn key(&self, user: &UserId) -> String {
        format!("{}{}", self.prefix, UserKey::new(user))
    }
}

/// Moves the hash at `key` to `epoch` unless it is beyond it, and puts an entry with its question in.
async fn raise(redis: &RedisClient, key: &str, epoch: u64, ttl: Duration, entry: Option<(&str, &[u8])>) {
    let mut script = RAISE.prepare_invoke();
    // More milliseconds than Redis counts are for ever.
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(i64::MAX as u64);
    script.key(key).arg(epoch).arg(ttl).arg(QUESTIONS);
    if let Some((question, encoded)) = entry {
        script.arg(question).arg(encoded);
    }
    // Nothing depends on it: see the module.
    let _: Result<(), RedisUnavailable> = redis.run(&script).await;
}

/// Half a SHA-256 of these texts, in base64. With its length before it no text can pass for the end of another.
fn hash(texts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..16])
}
