//! The oracle: knows what each target is like at this moment, and how busy it is; not the luck, and not the future.
//!
//! It is the measure of regret. It asks whom it expects to cost the least, its next attempts included, and gives up at
//! once if nobody can answer.

use super::{
    cost::{ERROR, WASTED},
    engine::{CALLER_WAITS, MAX_ATTEMPTS},
    policy::{Call, Choice},
    world::{Prospect, World},
};

/// The target that is expected to cost the least at `now`, seconds since the start.
pub fn choose(world: &World, call: &Call, now: f64) -> Choice {
    let prospects: Vec<Prospect> = (0..world.targets()).map(|target| world.prospect(target, now)).collect();
    // What an attempt costs if it fails: with each attempt that is left, less than an error.
    let left = MAX_ATTEMPTS - call.tried.len();
    let later = (1..left).fold(ERROR, |later, _| cheapest(&prospects, later).map_or(later, |(_, cost)| cost));
    match cheapest(&prospects, later) {
        Some((target, _)) if prospects[target].fails < 1.0 => Choice::Ask(target, CALLER_WAITS),
        _ => Choice::GiveUp,
    }
}

/// The target whose mean cost is the least, and that cost, if a failure costs `later`.
fn cheapest(prospects: &[Prospect], later: f64) -> Option<(usize, f64)> {
    let cost = |p: &Prospect| {
        (1.0 - p.fails) * (p.first_token + p.cut * ERROR) + p.fails * (p.failure + WASTED + later)
    };
    prospects.iter().map(cost).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))
}
