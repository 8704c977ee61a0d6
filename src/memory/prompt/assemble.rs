//! From a ranking to what was asked for: hits for a search, a block for a chat. Pure.
//!
//! A part of a ranking must never pass for the whole: each answer says whether more could have changed it.

use std::sync::Arc;

use crate::{
    config,
    memory::{
        errors::EmbedError,
        index::cache::IndexGuard,
        prompt::{
            block::{self, BlockLine},
            selection::{self, BlockLimits},
        },
        ranking::cache::Ranking,
        types::{RecallOutcome, SearchHit, SearchQuery},
    },
};

/// Turns that a block is made of at most, those that the conversation shows not counted: as deep as the
/// rankings that gateways share, so that a chat gets the same from each.
pub(crate) const DEPTH: usize = 64;

/// Bytes of text that are looked through at once for a block, within a tenth of a millisecond.
const AT_ONCE: usize = 32 << 10;

/// The ranking of one question over the index that it was made from.
pub(crate) struct RankedItems {
    /// The index.
    pub reading: Arc<IndexGuard>,
    /// Best first.
    pub ranking: Ranking,
    /// There is more of it than this.
    pub is_part: bool,
    /// It was there already.
    pub cached: bool,
    /// Why the query has no vector, if it should have one.
    pub unembedded: Option<EmbedError>,
}

/// The best `limit` memories, with `max_tokens` only those that fit in; and whether they are sure to be.
pub(crate) fn hits(ranked: &RankedItems, limit: usize, max_tokens: Option<u32>) -> (Vec<SearchHit>, bool) {
    let RankedItems { reading, ranking, is_part, .. } = ranked;
    let (mut chosen, enough): (Vec<_>, bool) = match max_tokens {
        None => {
            let best = ranking.iter().take(limit).map(|scored| (scored.key, scored.score));
            (best.collect(), limit <= ranking.len())
        }
        Some(max_tokens) => {
            let limits = BlockLimits { max_tokens, max_items: limit, min_score: 0.0, depth: usize::MAX };
            let block = selection::pack(&reading.index, ranking, &limits, &[]);
            (block.items.iter().map(|item| (item.key, item.score)).collect(), !block.room_left)
        }
    };
    chosen.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let hit = |(key, score)| Some(SearchHit { memory: reading.row(key)?, score });
    (chosen.into_iter().filter_map(hit).collect(), enough || !is_part)
}

/// Whether a block is made so soon that to wake another thread would take longer.
pub(crate) fn is_quick(
    ranked: &RankedItems,
    wanted: &SearchQuery<'_>,
    settings: &config::MemoryConfig,
) -> bool {
    let min_score = settings.min_score as f32;
    let good = ranked.ranking.iter().take_while(|scored| scored.score >= min_score);
    let turns = good.filter_map(|scored| ranked.reading.index.entry(scored.key));
    let seen: usize = wanted.conversation.iter().map(|said| said.len()).sum();
    seen + turns.map(|turn| turn.text.len()).sum::<usize>() <= AT_ONCE
}

/// The block for a chat, and whether it is sure to be the best that there is.
pub(crate) fn block(
    ranked: &RankedItems,
    wanted: &SearchQuery<'_>,
    settings: &config::MemoryConfig,
    context: Option<&str>,
) -> (RecallOutcome, bool) {
    let max_items = settings.max_items as usize;
    let limits = BlockLimits {
        max_tokens: wanted.max_tokens.min(settings.max_tokens),
        max_items,
        min_score: settings.min_score as f32,
        depth: DEPTH.max(2 * max_items),
    };
    let packed = selection::pack(&ranked.reading.index, &ranked.ranking, &limits, &wanted.conversation);
    let enough = !ranked.is_part || !packed.room_left;
    let (block, items, tokens) = printed(packed, context, limits.max_tokens);
    let unembedded = ranked.unembedded.clone();
    (RecallOutcome { block, items, tokens, cached: ranked.cached, unembedded }, enough)
}

/// The block with as many of the best items as `max_tokens` has room for, frame and context included; how many items it
/// has, and how many tokens.
fn printed(packed: selection::Block, context: Option<&str>, max_tokens: u32) -> (Option<String>, usize, u32) {
    let mut context = context.map(BlockLine::context);
    let (mut scores, mut lines): (Vec<f32>, Vec<BlockLine>) =
        packed.items.into_iter().map(|item| (item.score, BlockLine::item(item.line, item.tokens))).unzip();
    while !lines.is_empty() || context.is_some() {
        let tokens = block::tokens(&lines, context.as_ref());
        if tokens <= max_tokens {
            let fence = block::fence(&mut fastrand::Rng::new());
            return (Some(block::block(&lines, context.as_ref(), &fence)), lines.len(), tokens);
        }
        let worst = (0..lines.len()).min_by(|one, other| scores[*one].total_cmp(&scores[*other]));
        match worst {
            Some(worst) => drop((lines.remove(worst), scores.remove(worst))),
            None => context = None,
        }
    }
    (None, 0, 0)
}
