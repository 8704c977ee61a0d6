//! How long one recall takes that nothing has cached, for a user with ten thousand memories, on one core; and what the
//! index weighs.

use std::time::Duration;

use concierge::recall::{
    index::{self, UserIndex},
    pack::{Limits, pack},
    rank::{Query, rank},
};
use tokio::time::Instant;

use super::data::Conversation;

/// Memories of the user.
pub const MEMORIES: usize = 10_000;

/// What was measured.
pub struct Speed {
    /// Bytes of the index per memory.
    pub bytes: usize,
    /// p50, p95, p99 and the worst.
    pub latency: [Duration; 4],
    /// One memory added.
    pub add: Duration,
}

/// Ranks and packs every question three times; its fastest counts, for other programs share the machine.
pub fn measure(conversations: &[Conversation]) -> Speed {
    let started = Instant::now();
    let index = large(conversations);
    let add = started.elapsed() / MEMORIES as u32;
    let limits = Limits { max_tokens: 1024, max_items: 20, min_score: 0.25 };
    let questions = || conversations.iter().flat_map(|conversation| &conversation.questions);
    let mut took: Vec<Duration> = Vec::new();
    for question in questions() {
        let ask = || {
            let asked = Instant::now();
            let ranked = rank(&index, &Query { text: &question.text, vector: None }, 200);
            std::hint::black_box(pack(&index, &ranked, &limits, &[]));
            asked.elapsed()
        };
        took.extend([ask(), ask(), ask()].into_iter().min());
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    Speed { bytes: index.bytes() / MEMORIES, latency: [at(0.5), at(0.95), at(0.99), at(1.0)], add }
}

/// All conversations as one user's, over again under other sessions until there are enough.
fn large(conversations: &[Conversation]) -> UserIndex {
    let turns = conversations
        .iter()
        .enumerate()
        .flat_map(|(at, conversation)| conversation.turns.iter().map(move |turn| (at, turn)));
    let rounds = (0..).flat_map(|round| turns.clone().map(move |(at, turn)| (round, at, turn)));
    let mut index = UserIndex::new();
    for (key, (round, at, turn)) in (0..MEMORIES as u64).zip(rounds) {
        let session = format!("{round}-{at}-{}", turn.session);
        let (at, speaker, text) = (turn.at, turn.speaker.as_str(), turn.text.as_str());
        index.add(&index::Turn { key, session: &session, at, speaker, text, vector: None });
    }
    index
}
