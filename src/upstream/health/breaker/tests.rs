//! The breaker on simulated time.

use super::*;
use crate::upstream::exchange::outcome::HardKind;

const FAIL: Outcome = Outcome::Hard(HardKind::Status(503));
const THROTTLED: Outcome = Outcome::Throttled { rest: None };

/// A breaker with its clock and dice.
struct Bench {
    breaker: Breaker,
    now: Instant,
    rng: fastrand::Rng,
    others: bool,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { breaker: Breaker::new(Config::default()), now: Instant::now(), rng, others: true }
    }

    fn pass_time(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn state(&self) -> BreakerState {
        self.breaker.state(self.now)
    }

    fn on(&mut self, pass: Permit, outcome: Outcome) -> Option<BreakerChange> {
        self.breaker.on(pass, outcome, self.others, self.now, &mut self.rng)
    }

    /// One request, answered at once; `false` if it was not admitted.
    fn ask(&mut self, outcome: Outcome) -> bool {
        let Some(pass) = self.breaker.admit(self.now) else { return false };
        self.on(pass, outcome);
        true
    }

    fn trip(&mut self) {
        while self.state() == BreakerState::Closed {
            self.ask(FAIL);
        }
    }

    /// Waits for the end of the rest and takes the probe.
    fn probe(&mut self) -> Permit {
        self.now = self.now.max(self.breaker.retry_at().unwrap());
        self.breaker.admit(self.now).unwrap()
    }

    fn rest(&self) -> f64 {
        (self.breaker.retry_at().unwrap() - self.now).as_secs_f64()
    }
}

#[test]
fn five_hard_failures_in_a_row_trip_it_and_four_do_not() {
    let mut b = Bench::new(1);
    for _ in 0..4 {
        b.ask(FAIL);
    }
    b.ask(Outcome::Success);
    for _ in 0..4 {
        b.ask(FAIL);
        b.ask(Outcome::ClientFault);
        b.ask(Outcome::Cancelled);
        b.ask(Outcome::TooBig);
        b.ask(Outcome::KeyRefused);
    }
    assert_eq!(b.state(), BreakerState::Closed);
    b.ask(FAIL);
    assert_eq!(b.state(), BreakerState::Open);
    assert_eq!(b.breaker.cause(), Some(OpenCause::InARow(5, FAIL)));
    assert!(!b.ask(FAIL));
}

#[test]
fn a_low_ratio_trips_it_only_with_enough_requests_and_another_target() {
    let run = |others: bool, rounds: usize| {
        let mut b = Bench::new(2);
        b.others = others;
        for _ in 0..rounds {
            b.ask(Outcome::Success);
            b.ask(FAIL);
            b.pass_time(0.5);
        }
        b.state()
    };
    assert_eq!(run(true, 9), BreakerState::Closed, "18 requests are too few");
    assert_eq!(run(true, 10), BreakerState::Open);
    assert_eq!(run(false, 100), BreakerState::Closed, "the last eligible target");
}

#[test]
fn throttling_counts_in_the_ratio_alone() {
    let mut b = Bench::new(3);
    for _ in 0..19 {
        b.ask(THROTTLED);
    }
    assert_eq!(b.state(), BreakerState::Closed);
    b.ask(THROTTLED);
    assert_eq!(b.breaker.cause(), Some(OpenCause::Ratio(0, 20)));
}

#[test]
fn client_faults_by_the_thousand_change_nothing() {
    let mut b = Bench::new(4);
    for _ in 0..1000 {
        b.ask(Outcome::ClientFault);
        b.ask(Outcome::TooBig);
    }
    for _ in 0..4 {
        b.ask(FAIL);
    }
    assert_eq!(b.state(), BreakerState::Closed);
}

#[test]
fn old_failures_leave_the_window() {
    let mut b = Bench::new(5);
    for _ in 0..15 {
        b.ask(FAIL);
        b.ask(Outcome::Success);
        b.pass_time(2.9);
    }
    assert_eq!(b.state(), BreakerState::Open, "20 within 30 s");
    let mut slow = Bench::new(5);
    for _ in 0..200 {
        slow.ask(FAIL);
        slow.ask(Outcome::Success);
        slow.pass_time(4.0);
    }
    assert_eq!(slow.state(), BreakerState::Closed, "never 20 within 30 s");
}

#[test]
fn the_rest_doubles_with_every_failed_probe_up_to_the_limit() {
    for seed in 0..50 {
        let mut b = Bench::new(seed);
        b.trip();
        for plain in [2.0, 4.0, 8.0, 16.0, 20.0, 20.0] {
            let rest = b.rest();
            assert!((plain * 0.8..=plain * 1.2).contains(&rest), "{rest} for {plain}");
            let probe = b.probe();
            assert_eq!(b.on(probe, FAIL), Some(BreakerChange::Opened));
        }
    }
}

#[test]
fn half_open_admits_one_probe_at_a_time() {
    let mut b = Bench::new(6);
    b.trip();
    let probe = b.probe();
    assert!(probe.is_probe());
    assert_eq!(b.state(), BreakerState::HalfOpen);
    assert_eq!(b.breaker.would_admit(b.now), None);
    assert!(!b.ask(Outcome::Success));
    assert_eq!(b.on(probe, Outcome::Success), Some(BreakerChange::Closed));
    assert_eq!(b.state(), BreakerState::Closed);
}

#[test]
fn a_neutral_probe_is_handed_back_at_once() {
    for seed in 0..1000 {
        let mut b = Bench::new(seed);
        b.trip();
        for neutral in [Outcome::Cancelled, Outcome::ClientFault, Outcome::TooBig, Outcome::KeyRefused] {
            let probe = b.probe();
            assert_eq!(b.on(probe, neutral), None);
            assert_eq!(b.breaker.would_admit(b.now), Some(BreakerState::HalfOpen));
        }
        let probe = b.probe();
        b.on(probe, Outcome::Success);
        assert_eq!(b.state(), BreakerState::Closed);
    }
}

#[test]
fn a_throttled_probe_is_no_recovery() {
    let mut b = Bench::new(7);
    b.trip();
    let probe = b.probe();
    assert_eq!(b.on(probe, THROTTLED), Some(BreakerChange::Opened));
    assert_eq!(b.state(), BreakerState::Open);
}

#[test]
fn late_news_neither_closes_nor_opens() {
    let mut b = Bench::new(8);
    let before: Vec<Permit> = (0..30).filter_map(|_| b.breaker.admit(b.now)).collect();
    b.trip();
    let until = b.breaker.retry_at();
    for pass in &before[..10] {
        assert_eq!(b.on(*pass, Outcome::Success), None);
        assert_eq!(b.on(*pass, FAIL), None);
    }
    assert_eq!((b.state(), b.breaker.retry_at()), (BreakerState::Open, until));
    let probe = b.probe();
    for pass in &before[10..20] {
        b.on(*pass, Outcome::Success);
        b.on(*pass, FAIL);
    }
    assert_eq!(b.breaker.would_admit(b.now), None, "the probe is still out");
    b.on(probe, Outcome::Success);
    for pass in &before[20..] {
        b.on(*pass, FAIL);
    }
    assert_eq!(b.on(probe, FAIL), None, "a probe reports once");
    assert_eq!(b.state(), BreakerState::Closed);
}

#[test]
fn recovery_starts_with_an_empty_window_and_a_ramp() {
    let mut b = Bench::new(9);
    assert_eq!(b.breaker.ramp(b.now), 1.0, "no slow start of the process");
    for _ in 0..10 {
        b.ask(Outcome::Success);
        b.ask(FAIL);
    }
    assert_eq!(b.state(), BreakerState::Open);
    let probe = b.probe();
    b.on(probe, Outcome::Success);
    assert!((b.breaker.ramp(b.now) - 0.1).abs() < 1e-9);
    b.pass_time(5.0);
    assert!((b.breaker.ramp(b.now) - 0.55).abs() < 1e-9);
    b.pass_time(5.0);
    assert_eq!(b.breaker.ramp(b.now), 1.0);
    b.ask(FAIL);
    assert_eq!(b.state(), BreakerState::Closed, "nothing of the old window is left");
}

#[test]
fn a_passing_health_check_brings_the_probe_forward_but_is_believed_once() {
    let mut b = Bench::new(10);
    b.breaker.let_probe_now(b.now);
    assert_eq!(b.state(), BreakerState::Closed);
    b.trip();
    b.breaker.let_probe_now(b.now);
    assert_eq!(b.state(), BreakerState::HalfOpen, "brought forward, not closed");
    let probe = b.probe();
    b.on(probe, FAIL);
    b.breaker.let_probe_now(b.now);
    assert_eq!(b.state(), BreakerState::Open, "it was wrong before");
    let probe = b.probe();
    b.on(probe, Outcome::Success);
    b.pass_time(60.0);
    b.trip();
    b.breaker.let_probe_now(b.now);
    assert_eq!(b.state(), BreakerState::HalfOpen, "another outage, another chance");
}

#[test]
fn a_probe_that_failed_by_itself_does_not_discredit_the_health_check() {
    let mut b = Bench::new(11);
    b.trip();
    let probe = b.probe();
    b.on(probe, FAIL);
    b.breaker.let_probe_now(b.now);
    assert_eq!(b.state(), BreakerState::HalfOpen);
}

#[test]
fn reset_closes_it_and_forgets() {
    let mut b = Bench::new(12);
    b.trip();
    let probe = b.probe();
    b.breaker.reset();
    assert_eq!((b.state(), b.breaker.retry_at(), b.breaker.cause()), (BreakerState::Closed, None, None));
    assert_eq!(b.on(probe, FAIL), None);
    assert_eq!(b.breaker.ramp(b.now), 1.0);
    for _ in 0..4 {
        b.ask(FAIL);
    }
    assert_eq!(b.state(), BreakerState::Closed);
}

#[test]
fn a_flapping_target_is_probed_ever_more_rarely_and_a_reformed_one_is_forgiven() {
    let mut b = Bench::new(13);
    let mut rests = Vec::new();
    for _ in 0..5 {
        b.trip();
        rests.push(b.rest());
        let probe = b.probe();
        b.on(probe, Outcome::Success);
        b.pass_time(3.0);
    }
    assert!(rests[4] > 5.0 * rests[0], "{rests:?}");
    b.pass_time(60.0);
    b.trip();
    assert!(b.rest() < 2.5);
}

#[test]
fn odd_configurations_do_not_panic() {
    let config = Config {
        consecutive_failures: 0,
        success_rate: 0.0,
        window: Duration::ZERO,
        min_requests: 0,
        open_min: Duration::from_secs(9),
        open_max: Duration::from_secs(1),
    };
    let mut b = Bench::new(14);
    b.breaker = Breaker::new(config);
    b.ask(Outcome::Success);
    b.ask(FAIL);
    assert_eq!(b.state(), BreakerState::Open);
    assert!(b.rest() > 7.0);
}

/// A request every 4 s to the only target, which is down for 60 s; one more try after 250 ms while closed.
/// Returns the attempts within the outage and the seconds from its end to the first success.
fn outage(seed: u64, offset: f64) -> (usize, f64) {
    let mut b = Bench::new(seed);
    b.others = false;
    let start = b.now + Duration::from_secs_f64(offset);
    let end = start + Duration::from_secs(60);
    let mut attempts = 0;
    for second in (0..200).step_by(4) {
        b.now = b.now.max(start - Duration::from_secs_f64(offset) + Duration::from_secs(second));
        for _ in 0..2 {
            let down = (start..end).contains(&b.now);
            let closed = b.state() == BreakerState::Closed;
            if !b.ask(if down { FAIL } else { Outcome::Success }) {
                break;
            }
            attempts += usize::from(down);
            if !down && b.now >= end {
                return (attempts, (b.now - end).as_secs_f64());
            }
            if !down || !closed || b.state() != BreakerState::Closed {
                break;
            }
            b.pass_time(0.25);
        }
    }
    (attempts, f64::INFINITY)
}

#[test]
fn an_outage_of_a_minute_costs_few_attempts_and_ends_soon_after_it_ended() {
    for seed in 0..500 {
        let (attempts, back) = outage(seed, (seed % 40) as f64 / 10.0);
        assert!(attempts <= 12, "{attempts} attempts, seed {seed}");
        assert!(back <= 30.0, "back after {back} s, seed {seed}");
    }
}

#[test]
fn five_answers_in_a_row_that_begin_and_break_trip_it_and_a_whole_one_ends_the_row() {
    const CUT: Outcome = Outcome::Broken(crate::upstream::exchange::outcome::BrokenKind::Cut);
    let mut b = Bench::new(1);
    let begins_and_breaks = |b: &mut Bench| {
        let pass = b.breaker.admit(b.now).unwrap();
        b.on(pass, Outcome::Success);
        b.on(pass, CUT)
    };
    for _ in 0..4 {
        assert_eq!(begins_and_breaks(&mut b), None);
    }
    let pass = b.breaker.admit(b.now).unwrap();
    b.on(pass, Outcome::Success);
    b.breaker.on_whole(pass);
    for _ in 0..4 {
        assert_eq!(begins_and_breaks(&mut b), None);
    }
    assert_eq!(begins_and_breaks(&mut b), Some(BreakerChange::Opened));
    assert_eq!(b.breaker.cause(), Some(OpenCause::InARow(5, CUT)));
}
