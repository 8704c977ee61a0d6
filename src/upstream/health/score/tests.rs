//! The arithmetic of the score, and its dynamics on simulated time.

use super::*;
use crate::upstream::exchange::outcome::{BrokenKind, HardKind};

const FAIL: Outcome = Outcome::Hard(HardKind::Status(500));
const HALF_LIFE: Duration = Duration::from_secs(60);
const WALL: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn a_new_target_is_taken_for_its_pool() {
    let now = Instant::now();
    let stats = TargetStats::new(HALF_LIFE);
    assert_eq!(stats.score(LatencyKind::Stream, None, now).score, 100.0);
    assert_eq!(stats.score(LatencyKind::Stream, Some(0.4), now).score, 96.0);
}

#[test]
fn the_formula_is_the_published_one() {
    let start = Instant::now();
    let mut stats = TargetStats::new(HALF_LIFE);
    for id in 0..100 {
        stats.started(LatencyKind::Stream, id, start, WALL);
    }
    let now = start + Duration::from_millis(500);
    for id in 0..100 {
        stats.ended(LatencyKind::Stream, id, if id % 10 == 0 { FAIL } else { Outcome::Success }, None, now);
    }
    let s = stats.score(LatencyKind::Stream, None, now);
    assert!((s.avg_latency - 0.5).abs() < 1e-9 && s.silence == 0.0);
    assert!((s.success_rate - 94.0 / 104.0).abs() < 1e-9);
    assert!((s.score - (100.0 * s.success_rate - 10.0 * s.avg_latency)).abs() < 1e-9);
    assert_eq!(stats.score(LatencyKind::Whole, None, now).avg_latency, 0.0, "kinds are apart");
}

#[test]
fn only_silence_that_somebody_waits_in_counts() {
    let start = Instant::now();
    let at = |s: f64| start + Duration::from_secs_f64(s);
    let mut stats = TargetStats::new(HALF_LIFE);
    let silence = |stats: &TargetStats, s: f64| stats.score(LatencyKind::Stream, None, at(s)).silence;
    stats.started(LatencyKind::Stream, 1, at(0.0), WALL);
    stats.started(LatencyKind::Stream, 2, at(1.0), WALL);
    assert_eq!(silence(&stats, 3.0), 3.0);
    stats.ended(LatencyKind::Stream, 2, Outcome::Success, None, at(3.0));
    assert_eq!(silence(&stats, 3.5), 0.5, "the oldest still waits, but there was a sign of life");
    stats.ended(LatencyKind::Stream, 1, Outcome::Cancelled, None, at(4.0));
    assert_eq!(silence(&stats, 60.0), 0.0, "nobody waits");
    stats.started(LatencyKind::Stream, 3, at(100.0), WALL);
    assert_eq!(silence(&stats, 101.0), 1.0, "not since the last sign of life a long time ago");
    assert_eq!(stats.waiting(), 1);
}

#[test]
fn a_crowd_makes_the_latency_longer_before_it_is_served() {
    let start = Instant::now();
    let at = |s: f64| start + Duration::from_secs_f64(s);
    let mut stats = TargetStats::new(HALF_LIFE);
    let latency = |stats: &TargetStats, s: f64| stats.score(LatencyKind::Stream, None, at(s)).avg_latency;
    for id in 0..100 {
        stats.started(LatencyKind::Stream, id, at(id as f64), WALL);
        stats.ended(LatencyKind::Stream, id, Outcome::Success, None, at(id as f64 + 0.5));
    }
    assert!((latency(&stats, 99.5) - 0.5).abs() < 1e-9, "nobody waits");
    stats.started(LatencyKind::Stream, 100, at(100.0), WALL);
    assert!((latency(&stats, 100.0) - 0.5).abs() < 1e-9, "one that waits is usual");
    (101..104).for_each(|id| stats.started(LatencyKind::Stream, id, at(100.0), WALL));
    let Score { score, avg_latency, crowding, .. } = stats.score(LatencyKind::Stream, None, at(100.0));
    assert!((1.5..2.5).contains(&crowding), "four where one is usual: {crowding}");
    assert!((avg_latency - 0.5 * crowding).abs() < 1e-9);
    assert!((score - (100.0 - 10.0 * avg_latency)).abs() < 1e-9, "the published formula holds");
    assert_eq!(stats.score(LatencyKind::Whole, None, at(100.0)).crowding, 1.0, "kinds are apart");
    for id in 100..104 {
        stats.ended(LatencyKind::Stream, id, Outcome::Cancelled, None, at(100.1));
    }
    assert!((latency(&stats, 100.1) - 0.5).abs() < 1e-9, "the crowd has left");
}

#[test]
fn as_many_as_always_are_no_crowd() {
    let start = Instant::now();
    let mut stats = TargetStats::new(HALF_LIFE);
    for id in 0..1000_u64 {
        let now = start + Duration::from_millis(100 * id);
        stats.started(LatencyKind::Stream, id, now, WALL);
        if let Some(oldest) = id.checked_sub(20) {
            stats.ended(LatencyKind::Stream, oldest, Outcome::Success, None, now);
        }
    }
    let Score { crowding, avg_latency, .. } =
        stats.score(LatencyKind::Stream, None, start + Duration::from_secs(100));
    assert_eq!(crowding, 1.0, "twenty have always waited");
    assert!((avg_latency - 2.0).abs() < 0.01);
}

#[test]
fn what_is_not_the_targets_doing_changes_no_score() {
    let now = Instant::now();
    let mut stats = TargetStats::new(HALF_LIFE);
    let before = stats.score(LatencyKind::Whole, None, now);
    let neutral = [Outcome::ClientFault, Outcome::TooBig, Outcome::Cancelled, Outcome::KeyRefused];
    for id in 0..1000 {
        stats.started(LatencyKind::Whole, id, now, WALL);
        stats.ended(LatencyKind::Whole, id, neutral[id as usize % 4], None, now);
    }
    assert_eq!(stats.score(LatencyKind::Whole, None, now), before);
    assert_eq!(stats.counters().total_calls, 1000);
    assert_eq!(stats.counters().success_count, 0);
    assert_eq!(stats.counters().failure_count, 250, "refused keys are counted, as failures of kind auth");
}

#[test]
fn every_attempt_is_counted_once() {
    let start = Instant::now();
    let mut stats = TargetStats::new(HALF_LIFE);
    let later = start + Duration::from_secs(2);
    let ends = [Outcome::Success, FAIL, Outcome::Throttled { rest: None }, Outcome::Success];
    for (id, outcome) in (0..).zip(ends) {
        stats.started(LatencyKind::Stream, id, start, WALL);
        let latency = stats.ended(LatencyKind::Stream, id, outcome, None, later);
        assert_eq!(latency.is_some(), outcome == Outcome::Success);
    }
    stats.ended(LatencyKind::Stream, 3, Outcome::Broken(BrokenKind::Cut), None, later);
    let c = stats.counters();
    assert_eq!((c.success_count, c.failure_count, c.total_calls), (1, 3, 4));
    assert_eq!(c.total_latency, Duration::from_secs(4));
    assert_eq!(c.failures().map(|(_, n)| n).sum::<u64>(), 3);
    let broken = c.failures().find(|(kind, _)| *kind == FailureKind::StreamBroken);
    assert_eq!(broken, Some((FailureKind::StreamBroken, 1)));
    assert_eq!(c.last_used, Some(WALL));
}

#[test]
fn the_median_is_the_lower_one() {
    assert_eq!(pool_latency([]), None);
    assert_eq!(pool_latency([0.7]), Some(0.7));
    assert_eq!(pool_latency([1.0, 0.1]), Some(0.1));
    assert_eq!(pool_latency([3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(pool_latency([4.0, 3.0, 1.0, 2.0]), Some(2.0));
}

#[test]
fn tokens_per_second_ignore_answers_without_duration() {
    let now = Instant::now();
    let mut stats = TargetStats::new(HALF_LIFE);
    stats.produced(100, Duration::ZERO, now);
    stats.produced(0, Duration::from_secs(1), now);
    assert_eq!(stats.tokens_per_second(), None);
    stats.produced(100, Duration::from_secs(2), now);
    assert_eq!(stats.tokens_per_second(), Some(50.0));
}

/// The answer of a simulated target: its latency and its outcome.
type Answer = (f64, Outcome);

/// Requests at a fixed rate over simulated targets, ordered by score at temperature 1; no breaker, no failover.
struct Pool {
    targets: Vec<TargetStats>,
    /// (due in µs since start, target, id, outcome)
    pending: std::collections::BTreeSet<(u64, usize, u64)>,
    outcomes: BTreeMap<u64, Outcome>,
    start: Instant,
    micros: u64,
    ids: u64,
    rng: fastrand::Rng,
}

impl Pool {
    fn new(targets: usize, seed: u64) -> Self {
        Self {
            targets: vec![TargetStats::new(HALF_LIFE); targets],
            pending: Default::default(),
            outcomes: BTreeMap::new(),
            start: Instant::now(),
            micros: 0,
            ids: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    fn prior(&self) -> Option<f64> {
        pool_latency(self.targets.iter().filter_map(|t| t.measured_latency(LatencyKind::Stream)))
    }

    fn settle(&mut self) {
        while let Some((due, target, id)) = self.pending.first().copied().filter(|p| p.0 <= self.micros) {
            self.pending.pop_first();
            let outcome = self.outcomes.remove(&id).unwrap();
            let now = self.start + Duration::from_micros(due);
            let prior = self.prior();
            self.targets[target].ended(LatencyKind::Stream, id, outcome, prior, now);
        }
    }

    /// Runs for `seconds` at `rate` per second and returns each target's part of the new requests.
    fn run(
        &mut self,
        seconds: f64,
        rate: f64,
        answer: impl Fn(usize, &mut fastrand::Rng) -> Answer,
    ) -> Vec<f64> {
        let mut sent = vec![0.0; self.targets.len()];
        let total = (seconds * rate) as usize;
        for _ in 0..total {
            self.micros += (1e6 / rate) as u64;
            self.settle();
            let now = self.start + Duration::from_micros(self.micros);
            let prior = self.prior();
            let scores = self.targets.iter().map(|t| (t.score(LatencyKind::Stream, prior, now).score, 1.0));
            let target = selection::by_score(scores, 1.0, &mut self.rng).unwrap();
            let (latency, outcome) = answer(target, &mut self.rng);
            self.ids += 1;
            self.targets[target].started(LatencyKind::Stream, self.ids, now, WALL);
            self.pending.insert((self.micros + (latency * 1e6) as u64, target, self.ids));
            self.outcomes.insert(self.ids, outcome);
            sent[target] += 1.0 / total as f64;
        }
        sent
    }
}

/// A latency of about `mean` seconds, ± 20 %.
fn about(mean: f64, rng: &mut fastrand::Rng) -> Answer {
    (mean * (0.8 + 0.4 * rng.f64()), Outcome::Success)
}

fn healthy(_: usize, rng: &mut fastrand::Rng) -> Answer {
    about(0.1, rng)
}

#[test]
fn equal_targets_share_equally() {
    for (rate, seconds) in [(200.0, 30.0), (5.0, 600.0)] {
        let share = Pool::new(4, 1).run(seconds, rate, healthy);
        assert!(share.iter().all(|s| (s - 0.25).abs() < 0.05), "{share:?}");
    }
}

#[test]
fn a_target_ten_times_slower_loses_its_share_and_gets_it_back() {
    for seed in 0..5 {
        let mut pool = Pool::new(2, seed);
        pool.run(60.0, 200.0, healthy);
        let slow = |target: usize, rng: &mut fastrand::Rng| about(if target == 0 { 1.0 } else { 0.1 }, rng);
        pool.run(10.0, 200.0, slow);
        let share = pool.run(60.0, 200.0, slow)[0];
        assert!(share <= 0.1, "after 10 s and from then on: {share}");
        assert!(share > 0.0, "a trickle keeps the measurement alive");
        pool.run(50.0, 200.0, healthy);
        let share = pool.run(10.0, 200.0, healthy)[0];
        assert!(share >= 0.4, "60 s after healing: {share}");
    }
}

#[test]
fn a_slow_target_also_loses_its_share_where_requests_are_rare() {
    let mut pool = Pool::new(2, 7);
    let slow = |target: usize, rng: &mut fastrand::Rng| about(if target == 0 { 1.0 } else { 0.1 }, rng);
    pool.run(60.0, 2.0, slow);
    let share = pool.run(600.0, 2.0, slow)[0];
    assert!((0.001..=0.15).contains(&share), "{share}");
}

#[test]
fn a_hung_target_gets_almost_nothing_after_its_first_second() {
    for seed in 0..5 {
        let mut pool = Pool::new(2, seed);
        pool.run(30.0, 200.0, healthy);
        let hung = |target: usize, rng: &mut fastrand::Rng| match target {
            0 => (10.0, Outcome::Hard(HardKind::Silent)),
            _ => about(0.1, rng),
        };
        pool.run(1.0, 200.0, hung);
        let share = pool.run(9.0, 200.0, hung)[0];
        assert!(share <= 0.05, "before any timeout: {share}");
        let share = pool.run(60.0, 200.0, hung)[0];
        assert!(share <= 0.05, "without any breaker: {share}");
    }
}

#[test]
fn a_target_that_fails_every_fourth_request_falls_below_a_tenth() {
    for rate in [200.0, 20.0] {
        let mut pool = Pool::new(2, 3);
        pool.run(120.0, rate, healthy);
        let flaky = |target: usize, rng: &mut fastrand::Rng| match target {
            0 if rng.f64() < 0.25 => (0.1, FAIL),
            _ => about(0.1, rng),
        };
        pool.run(20.0, rate, flaky);
        let share = pool.run(120.0, rate, flaky)[0];
        assert!(share <= 0.1, "at {rate}/s: {share}");
    }
}

#[test]
fn one_failure_does_not_cost_a_busy_target_its_traffic() {
    let mut pool = Pool::new(2, 4);
    pool.run(60.0, 20.0, healthy);
    let now = pool.start + Duration::from_micros(pool.micros);
    pool.targets[0].started(LatencyKind::Stream, u64::MAX, now, WALL);
    pool.targets[0].ended(LatencyKind::Stream, u64::MAX, FAIL, None, now);
    assert!(pool.run(10.0, 20.0, healthy)[0] > 0.3);
}
