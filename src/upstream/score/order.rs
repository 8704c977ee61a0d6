//! In which order targets are asked. Pure choices over scores and weights; who is eligible is decided before.
//!
//! The score order adds Gumbel noise and sorts: that samples without replacement from a softmax (Gumbel-max
//! trick; Kool, van Hoof, Welling 2019), so [`shares`] is exactly the chance of each target to come first.

/// The order by score: `ramps` are weights from 0 to 1 of targets that recover, `temperature` is in score
/// points. 0 is the best target always, the first of equals. Returns indices, best first.
pub fn by_score(scores: &[f64], ramps: &[f64], temperature: f64, rng: &mut fastrand::Rng) -> Vec<usize> {
    if temperature > 0.0 { noisy(&logits(scores, ramps, temperature), rng) } else { sorted(scores) }
}

/// The exact probability of each target to come first in [`by_score`].
pub fn shares(scores: &[f64], ramps: &[f64], temperature: f64) -> Vec<f64> {
    if temperature > 0.0 {
        return softmax(&logits(scores, ramps, temperature));
    }
    let best = sorted(scores).first().copied();
    (0..scores.len()).map(|i| f64::from(u8::from(Some(i) == best))).collect()
}

/// A random order by `weights`; a missing weight is 1, and what weighs nothing comes last.
pub fn by_weight(count: usize, weights: &[f64], rng: &mut fastrand::Rng) -> Vec<usize> {
    noisy(&weight_logits(count, weights), rng)
}

/// The exact probability of each target to come first in [`by_weight`].
pub fn weight_shares(count: usize, weights: &[f64]) -> Vec<f64> {
    softmax(&weight_logits(count, weights))
}

/// In turn: `turn` counts the calls.
pub fn round_robin(count: usize, turn: usize) -> Vec<usize> {
    (0..count).map(|i| (turn % count.max(1) + i) % count).collect()
}

/// As written.
pub fn by_priority(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn logits(scores: &[f64], ramps: &[f64], temperature: f64) -> Vec<f64> {
    let logit = |(i, score): (usize, &f64)| score / temperature + weight_of(ramps, i).ln();
    scores.iter().enumerate().map(logit).collect()
}

fn weight_logits(count: usize, weights: &[f64]) -> Vec<f64> {
    (0..count).map(|i| weight_of(weights, i).ln()).collect()
}

/// Never quite 0, so that its logarithm is finite and a sole target keeps a chance.
fn weight_of(weights: &[f64], index: usize) -> f64 {
    weights.get(index).copied().unwrap_or(1.0).max(1e-12)
}

fn noisy(logits: &[f64], rng: &mut fastrand::Rng) -> Vec<usize> {
    let keys: Vec<f64> = logits.iter().map(|logit| logit + gumbel(rng)).collect();
    sorted(&keys)
}

/// Standard Gumbel noise. `f64()` may be 0, whose logarithm is not finite.
fn gumbel(rng: &mut fastrand::Rng) -> f64 {
    -(-rng.f64().max(f64::MIN_POSITIVE).ln()).max(f64::MIN_POSITIVE).ln()
}

/// Indices by falling key; equals keep their order.
fn sorted(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*b].total_cmp(&keys[*a]));
    order
}

/// Stable: the largest logit is taken off first, so nothing overflows.
fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 20_000;

    fn frequency(count: usize, mut draw: impl FnMut() -> Vec<usize>) -> Vec<f64> {
        let mut first = vec![0.0; count];
        for _ in 0..DRAWS {
            first[draw()[0]] += 1.0 / DRAWS as f64;
        }
        first
    }

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.015)
    }

    #[test]
    fn the_share_is_the_chance_to_come_first() {
        let mut rng = fastrand::Rng::with_seed(1);
        let cases: [(&[f64], &[f64], f64); 4] = [
            (&[95.0, 95.0, 95.0], &[1.0, 1.0, 1.0], 1.0),
            (&[98.0, 97.0, 94.0], &[1.0, 1.0, 1.0], 1.0),
            (&[98.0, 90.0], &[0.1, 1.0], 5.0),
            (&[-300.0, -301.0], &[], 1.0),
        ];
        for (scores, ramps, temperature) in cases {
            let drawn = frequency(scores.len(), || by_score(scores, ramps, temperature, &mut rng));
            let exact = shares(scores, ramps, temperature);
            assert!(close(&drawn, &exact), "{drawn:?} {exact:?}");
            assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn temperature_zero_is_the_best_always() {
        let mut rng = fastrand::Rng::with_seed(2);
        assert_eq!(by_score(&[90.0, 99.0, 99.0], &[1.0, 0.1, 1.0], 0.0, &mut rng), [1, 2, 0]);
        assert_eq!(shares(&[90.0, 99.0, 99.0], &[], 0.0), [0.0, 1.0, 0.0]);
        assert!(shares(&[], &[], 0.0).is_empty() && by_score(&[], &[], 1.0, &mut rng).is_empty());
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let exact = shares(&[100.0, -60_000.0, f64::MIN], &[1.0, 0.0, 1.0], 1e-9);
        assert_eq!(exact, [1.0, 0.0, 0.0]);
        let one = shares(&[-1e9], &[0.0], 1.0);
        assert_eq!(one, [1.0]);
    }

    #[test]
    fn weights_turns_and_priority() {
        let mut rng = fastrand::Rng::with_seed(3);
        let drawn = frequency(3, || by_weight(3, &[3.0, 1.0, 0.0], &mut rng));
        assert!(close(&drawn, &[0.75, 0.25, 0.0]) && close(&weight_shares(3, &[3.0, 1.0, 0.0]), &drawn));
        assert!(close(&weight_shares(2, &[]), &[0.5, 0.5]));
        assert_eq!(round_robin(3, 4), [1, 2, 0]);
        assert_eq!(round_robin(3, usize::MAX), [0, 1, 2]);
        assert!(round_robin(0, 7).is_empty());
        assert_eq!(by_priority(3), [0, 1, 2]);
    }
}
