use super::*;

const DRAWS: usize = 20_000;

fn frequency(count: usize, mut draw: impl FnMut() -> Option<usize>) -> Vec<f64> {
    let mut first = vec![0.0; count];
    for _ in 0..DRAWS {
        first[draw().unwrap()] += 1.0 / DRAWS as f64;
    }
    first
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.015)
}

#[test]
fn the_share_is_the_chance_to_come_first() {
    let mut rng = fastrand::Rng::with_seed(1);
    let cases: [(&[(f64, f64)], f64); 4] = [
        (&[(95.0, 1.0), (95.0, 1.0), (95.0, 1.0)], 1.0),
        (&[(98.0, 1.0), (97.0, 1.0), (94.0, 1.0)], 1.0),
        (&[(98.0, 0.1), (90.0, 1.0)], 5.0),
        (&[(-300.0, 1.0), (-301.0, 1.0)], 1.0),
    ];
    for (targets, temperature) in cases {
        let targets = || targets.iter().copied();
        let drawn = frequency(targets().len(), || by_score(targets(), temperature, &mut rng));
        let exact = shares(targets(), temperature);
        assert!(close(&drawn, &exact), "{drawn:?} {exact:?}");
        assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn temperature_zero_is_the_best_always() {
    let mut rng = fastrand::Rng::with_seed(2);
    let targets = || [(90.0, 1.0), (99.0, 0.1), (99.0, 1.0)].into_iter();
    assert_eq!(by_score(targets(), 0.0, &mut rng), Some(1), "the first of equals");
    assert_eq!(shares(targets(), 0.0), [0.0, 1.0, 0.0]);
    assert!(shares([].into_iter(), 0.0).is_empty());
    assert_eq!(by_score([].into_iter(), 1.0, &mut rng), None);
}

#[test]
fn extreme_scores_stay_finite() {
    let exact = shares([(100.0, 1.0), (-60_000.0, 0.0), (f64::MIN, 1.0)].into_iter(), 1e-9);
    assert_eq!(exact, [1.0, 0.0, 0.0]);
    assert_eq!(shares([(-1e9, 0.0)].into_iter(), 1.0), [1.0]);
}

#[test]
fn weights_and_turns() {
    let mut rng = fastrand::Rng::with_seed(3);
    let weights = || [3.0, 1.0, 0.0].into_iter();
    let drawn = frequency(3, || by_weight(weights(), &mut rng));
    assert!(close(&drawn, &[0.75, 0.25, 0.0]) && close(&weight_shares(weights()), &drawn));
    assert!(close(&weight_shares([1.0, 1.0].into_iter()), &[0.5, 0.5]));
    assert_eq!((round_robin(3, 4), round_robin(3, usize::MAX)), (Some(1), Some(0)));
    assert_eq!(round_robin(0, 7), None);
}
