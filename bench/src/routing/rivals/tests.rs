//! The rivals do what their products do, at the edges of their rules.

use concierge::upstream::exchange::outcome::HardKind;

use super::*;

const FAIL: Outcome = Outcome::Hard(HardKind::Status(500));

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

fn ended(outcome: Outcome, seconds: f64) -> Ended {
    Ended { target: 0, outcome, elapsed: Duration::from_secs_f64(seconds), room: None }
}

/// Tells `guard` so many times of `outcome`, and how long the target is out from then on.
fn out_after(guard: &mut dyn Guard, times: usize, outcome: Outcome) -> usize {
    let now = Instant::now();
    (0..times).for_each(|_| guard.ended(&ended(outcome, 0.1), now));
    (0..1000).find(|second| !guard.is_out(0, after(now, *second as f64))).unwrap()
}

#[test]
fn each_leaves_a_failing_target_as_its_product_does() {
    let throttled = Outcome::Throttled { rest: Some(Duration::from_secs(20)) };
    assert_eq!(out_after(&mut litellm::Cooldown::new(2), 4, FAIL), 0);
    assert_eq!(out_after(&mut litellm::Cooldown::new(2), 5, FAIL), 5);
    assert_eq!(out_after(&mut litellm::Cooldown::new(2), 1, throttled), 20);
    assert_eq!(out_after(&mut aisix::Cooldown::new(2), 1, FAIL), 30);
    assert_eq!(out_after(&mut aisix::Cooldown::new(2), 1, throttled), 20);
    assert_eq!(out_after(&mut agentgateway::Eviction::new(2), 4, FAIL), 0);
    assert_eq!(out_after(&mut agentgateway::Eviction::new(2), 5, FAIL), 3);
    assert_eq!(out_after(&mut envoy::Ejection::new(2), 4, FAIL), 0);
    assert_eq!(out_after(&mut envoy::Ejection::new(2), 5, FAIL), 30);
    assert_eq!(out_after(&mut envoy::Ejection::new(2), 9, throttled), 0);
    assert_eq!(out_after(&mut linkerd::Accrual::new(2), 6, FAIL), 0);
    assert_eq!(out_after(&mut linkerd::Accrual::new(2), 7, FAIL), 1);
    assert_eq!(out_after(&mut plain::Nobody, 99, FAIL), 0);
}

#[test]
fn envoy_ejects_one_of_two_and_no_more() {
    let (now, mut guard) = (Instant::now(), envoy::Ejection::new(2));
    for target in [0, 1] {
        (0..9).for_each(|_| guard.ended(&Ended { target, ..ended(FAIL, 0.1) }, now));
    }
    assert!(guard.is_out(0, now) && !guard.is_out(1, now));
}

#[test]
fn the_fastest_is_preferred_by_all_that_measure() {
    let measuring: [Box<dyn Order>; 4] = [
        Box::new(litellm::TenSamples::new(2)),
        Box::new(aisix::LeastEwma::new(2)),
        Box::new(agentgateway::Health::new(2)),
        Box::new(linkerd::PeakEwma::new(2)),
    ];
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    for mut order in measuring {
        for target in [0, 1] {
            order.began(target, now);
            let elapsed = if target == 0 { 2.0 } else { 0.2 };
            order.ended(&Ended { target, ..ended(Outcome::Success, elapsed) }, now);
            order.streamed(target);
        }
        let fast = (0..100).filter(|_| order.pick(&[0, 1], now, &mut rng) == 1).count();
        assert!(fast >= 60, "{fast}");
    }
}

#[test]
fn turns_are_taken() {
    let (now, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
    let mut order = plain::RoundRobin::default();
    let picked: Vec<usize> = (0..4).map(|_| order.pick(&[0, 1, 2], now, &mut rng)).collect();
    assert_eq!(picked, [0, 1, 2, 0]);
    assert_eq!(order.pick(&[0, 2], now, &mut rng), 2);
}
