//! Which target is tried first. Pure choices over scores and weights; eligibility is decided before.
//!
//! The choice by score adds Gumbel noise and takes the largest: that samples from a softmax (Gumbel-max trick; Kool, van
//! Hoof, Welling 2019), so [`shares`] is exactly the probability of each target to come first. It runs for each attempt,
//! and allocates nothing.

/// The index of the first target by score. Each of `targets` has its score and its ramp, the weight 0..1 of one that
/// recovers. `temperature` is in score points; 0 always takes the best target, the first of equals.
pub(crate) fn by_score(
    targets: impl Iterator<Item = (f64, f64)>,
    temperature: f64,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let key = |target| match temperature > 0.0 {
        true => logit(target, temperature) + gumbel(rng),
        false => target.0,
    };
    first(targets.map(key))
}

/// The exact probability of each target to come first in [`by_score`].
pub(crate) fn shares(targets: impl Iterator<Item = (f64, f64)>, temperature: f64) -> Vec<f64> {
    if temperature > 0.0 {
        let logits: Vec<f64> = targets.map(|target| logit(target, temperature)).collect();
        return softmax(&logits);
    }
    let scores: Vec<f64> = targets.map(|(score, _)| score).collect();
    let best = first(scores.iter().copied());
    (0..scores.len()).map(|i| f64::from(u8::from(Some(i) == best))).collect()
}

/// The index of a random target, in the ratio of `weights`. One of weight 0 comes last.
pub(crate) fn by_weight(weights: impl Iterator<Item = f64>, rng: &mut fastrand::Rng) -> Option<usize> {
    first(weights.map(|weight| positive(weight).ln() + gumbel(rng)))
}

/// The exact probability of each target to come first in [`by_weight`].
pub(crate) fn weight_shares(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let logits: Vec<f64> = weights.map(|weight| positive(weight).ln()).collect();
    softmax(&logits)
}

/// Round robin: `turn` counts the calls.
pub(crate) fn round_robin(count: usize, turn: usize) -> Option<usize> {
    turn.checked_rem(count)
}

fn logit((score, ramp): (f64, f64), temperature: f64) -> f64 {
    score / temperature + positive(ramp).ln()
}

/// Never exactly 0, so that its logarithm is finite and a sole target can be chosen.
fn positive(weight: f64) -> f64 {
    weight.max(1e-12)
}

/// Standard Gumbel noise. `f64()` may be 0, whose logarithm is not finite.
fn gumbel(rng: &mut fastrand::Rng) -> f64 {
    -(-rng.f64().max(f64::MIN_POSITIVE).ln()).max(f64::MIN_POSITIVE).ln()
}

/// The index of the largest key, the first of equals.
fn first(keys: impl Iterator<Item = f64>) -> Option<usize> {
    let larger =
        |best: (usize, f64), next: (usize, f64)| if next.1.total_cmp(&best.1).is_gt() { next } else { best };
    keys.enumerate().reduce(larger).map(|(index, _)| index)
}

/// Numerically stable: the largest logit is subtracted first, so nothing overflows.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests;
