//! Rankings that were made already, each for one user, one epoch and one query.
//!
//! A write begins a new epoch, so what was cached before it is never found again: nothing has to be hunted down.
//! An entry holds numbers of memories and no word of them. Two callers with one question wait for one ranking.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};

use crate::{memory::ranking::Scored, user::UserId};

/// Memories, best first.
pub(crate) type Ranking = Arc<Vec<Scored>>;

/// What a ranking was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RankingKey {
    /// The user whose memories are ranked.
    pub user: UserId,
    /// As of when.
    pub epoch: u64,
    /// What was asked.
    pub query: Arc<str>,
    /// Its vector counts, too.
    pub embedded: bool,
}

/// How much is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RankingCacheLimits {
    /// Older rankings are made anew.
    pub ttl: Duration,
    /// Beyond it the one that was not asked for the longest time goes.
    pub entries: usize,
}

struct CachedRanking {
    made: Instant,
    ranking: Arc<OnceCell<Ranking>>,
}

/// Rankings of this process, by user, epoch and query.
pub(crate) struct RankingCache {
    /// Questions are long, and are looked for with every chat: so they are hashed by what is made for long keys. Its seed is
    /// drawn when the process starts.
    entries: Mutex<LruCache<RankingKey, CachedRanking, RandomState>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl RankingCache {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::new(LruCache::unbounded_with_hasher(RandomState::default())),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Where the answer to `question` is, or where the first who makes it puts it for all.
    pub(crate) fn cell(
        &self,
        question: RankingKey,
        bounds: RankingCacheLimits,
        now: Instant,
    ) -> Arc<OnceCell<Ranking>> {
        let mut entries = self.entries.lock();
        let fresh = |entry: &&CachedRanking| now.saturating_duration_since(entry.made) < bounds.ttl;
        let known = entries.get(&question).filter(fresh).map(|entry| entry.ranking.clone());
        let ranking = known.unwrap_or_else(|| {
            let ranking = Arc::default();
            entries.put(question, CachedRanking { made: now, ranking: Arc::clone(&ranking) });
            ranking
        });
        while entries.len() > bounds.entries {
            entries.pop_lru();
        }
        ranking
    }

    /// The answer to `question`, if it is here.
    pub(crate) fn find(
        &self,
        question: &RankingKey,
        bounds: RankingCacheLimits,
        now: Instant,
    ) -> Option<Ranking> {
        let mut entries = self.entries.lock();
        let entry = entries.get(question)?;
        let fresh = now.saturating_duration_since(entry.made) < bounds.ttl;
        entry.ranking.get().filter(|_| fresh).cloned()
    }

    /// Counts a question, once, however many rankings were tried for it.
    pub(crate) fn count(&self, hit: bool) {
        let count = if hit { &self.hits } else { &self.misses };
        count.fetch_add(1, Relaxed);
    }

    /// Whether the answer to `question` is here.
    pub(crate) fn holds(&self, question: &RankingKey, bounds: RankingCacheLimits, now: Instant) -> bool {
        self.entries.lock().peek(question).is_some_and(|entry| {
            entry.ranking.initialized() && now.saturating_duration_since(entry.made) < bounds.ttl
        })
    }

    /// Drops what is kept for one user, or for all; how many entries.
    pub(crate) fn clear(&self, user: Option<&UserId>) -> usize {
        self.clear_of(|of| user.is_none_or(|user| of == user))
    }

    /// Drops what is kept for these users; how many entries.
    pub(crate) fn clear_of(&self, which: impl Fn(&UserId) -> bool) -> usize {
        let mut entries = self.entries.lock();
        let gone: Vec<RankingKey> = entries
            .iter()
            .map(|(question, _)| question)
            .filter(|question| which(&question.user))
            .cloned()
            .collect();
        gone.iter().for_each(|question| drop(entries.pop(question)));
        gone.len()
    }

    /// How many rankings are kept for the user.
    pub(crate) fn count_of(&self, user: &UserId) -> usize {
        self.entries.lock().iter().filter(|(question, _)| question.user == *user).count()
    }

    /// Questions that were answered from here, and those that were not, since the start.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Relaxed), self.misses.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: RankingCacheLimits = RankingCacheLimits { ttl: Duration::from_secs(300), entries: 3 };

    fn question(user: &str, epoch: u64, query: &str) -> RankingKey {
        RankingKey { user: UserId::authenticated(user).unwrap(), epoch, query: query.into(), embedded: false }
    }

    fn fill(cache: &RankingCache, question: RankingKey, now: Instant) {
        cache.cell(question, BOUNDS, now).set(Arc::default()).unwrap();
    }

    fn is_kept(cache: &RankingCache, question: RankingKey, now: Instant) -> bool {
        cache.cell(question, BOUNDS, now).initialized()
    }

    #[test]
    fn only_the_same_question_of_the_same_user_and_epoch_is_a_hit() {
        let (cache, now) = (RankingCache::new(), Instant::now());
        fill(&cache, question("ann", 1, "q"), now);
        assert!(is_kept(&cache, question("ann", 1, "q"), now));
        let embedded = RankingKey { embedded: true, ..question("ann", 1, "q") };
        for other in [question("bob", 1, "q"), question("ann", 2, "q"), question("ann", 1, "Q"), embedded] {
            let cache = RankingCache::new();
            fill(&cache, question("ann", 1, "q"), now);
            assert!(!is_kept(&cache, other, now));
        }
    }

    #[test]
    fn time_and_number_bound_it() {
        let (cache, now) = (RankingCache::new(), Instant::now());
        fill(&cache, question("ann", 1, "q"), now);
        assert!(!is_kept(&cache, question("ann", 1, "q"), now + BOUNDS.ttl));
        for n in 0..10 {
            fill(&cache, question("bob", n, "q"), now);
        }
        assert_eq!(
            (cache.count_of(&question("bob", 0, "").user), cache.count_of(&question("ann", 0, "").user)),
            (3, 0)
        );
        let none = RankingCacheLimits { entries: 0, ..BOUNDS };
        cache.cell(question("ann", 1, "q"), none, now);
        assert_eq!(cache.clear(None), 0);
    }

    #[test]
    fn one_user_is_cleared_without_the_others() {
        let (cache, now) = (RankingCache::new(), Instant::now());
        fill(&cache, question("ann", 1, "a"), now);
        fill(&cache, question("bob", 1, "a"), now);
        assert_eq!(cache.clear(Some(&question("ann", 0, "").user)), 1);
        assert!(is_kept(&cache, question("bob", 1, "a"), now));
        assert_eq!(cache.clear(None), 1);
    }
}
