//! The bucket against a reference that steps through time, and against the promise itself.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Millisecond by millisecond; one token is 60,000 units.
#[derive(Default)]
struct Naive {
    spent: u64,
    held: Vec<u64>,
}

impl Naive {
    fn step(&mut self, millis: u64, limit: u64) {
        for _ in 0..millis {
            self.spent = self.spent.saturating_sub(limit);
        }
    }

    fn in_use(&self) -> u64 {
        self.spent + self.held.iter().sum::<u64>() * 60_000
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    /// Which of the calls in flight ends, and what share of its reservation it used.
    Settle(prop::sample::Index, f64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..400).prop_map(Step::Reserve),
        4 => (any::<prop::sample::Index>(), 0.0..=1.0).prop_map(|(which, share)| Step::Settle(which, share)),
        3 => (0u64..20_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_does_what_the_reference_does(limit in 1u64..500, steps in prop::collection::vec(step(), 1..80)) {
        let start = Instant::now();
        let (mut now, mut naive, mut bucket) = (start, Naive::default(), TokenBucket::new(start));
        let mut settled: Vec<(Duration, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Reserve(amount) => {
                    let amount = amount.min(limit);
                    let fits = naive.in_use() + amount.max(1) * 60_000 <= limit * 60_000;
                    let got = bucket.reserve(amount, limit, now);
                    prop_assert_eq!(got.is_ok(), fits);
                    if fits {
                        naive.held.push(amount);
                    }
                }
                Step::Settle(which, share) if !naive.held.is_empty() => {
                    let held = naive.held.swap_remove(which.index(naive.held.len()));
                    let spent = (held as f64 * share) as u64;
                    naive.spent += spent * 60_000;
                    bucket.settle(held, spent, limit, now);
                    settled.push((now - start, spent));
                }
                Step::Settle(..) => {}
                Step::Wait(millis) => {
                    naive.step(millis, limit);
                    now += Duration::from_millis(millis);
                }
            }
            prop_assert_eq!(bucket.remaining(limit, now), (limit * 60_000 - naive.in_use()) / 60_000);
        }
        within_the_promise(&settled, limit)?;
        // However many calls came and went: when all have ended, a minute makes it as good as new.
        for held in naive.held {
            bucket.settle(held, 0, limit, now);
        }
        prop_assert!(bucket.is_idle(limit, now + 60 * SECOND));
    }
}

/// No stretch of time sees more than the limit and what faded in it.
fn within_the_promise(settled: &[(Duration, u64)], limit: u64) -> Result<(), TestCaseError> {
    for (first, (begin, _)) in settled.iter().enumerate() {
        let mut sum = 0;
        for (end, spent) in &settled[first..] {
            sum += spent;
            let allowed = limit as f64 * (1.0 + (*end - *begin).as_secs_f64() / 60.0);
            prop_assert!(sum as f64 <= allowed + 1e-6, "{sum} in {:?}, {allowed} allowed", *end - *begin);
        }
    }
    Ok(())
}

#[test]
fn the_wait_is_exactly_long_enough() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(now);
    let held = bucket.reserve(90, 100, now).unwrap();
    bucket.settle(held, 90, 100, now);
    let wait = bucket.reserve(20, 100, now).unwrap_err();
    assert_eq!(wait, 6 * SECOND);
    assert!(bucket.reserve(20, 100, now + wait - Duration::from_nanos(1)).is_err());
    assert!(bucket.reserve(20, 100, now + wait).is_ok());
}

#[test]
fn a_refund_does_not_forgive_what_others_spent() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(now);
    let slow = bucket.reserve(600, 1000, now).unwrap();
    let later = now + 60 * SECOND;
    let quick = bucket.reserve(400, 1000, later).unwrap();
    bucket.settle(quick, 400, 1000, later);
    bucket.settle(slow, 0, 1000, later);
    assert_eq!(bucket.remaining(1000, later), 600);
}

#[test]
fn what_was_guessed_too_low_is_a_debt() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(now);
    let held = bucket.reserve(10, 100, now).unwrap();
    bucket.settle(held, 150, 100, now);
    assert_eq!(bucket.remaining(100, now), 0);
    assert_eq!(bucket.reserve(0, 100, now).unwrap_err().as_secs(), 30);
    assert_eq!(bucket.full_in(100, now), 90 * SECOND);
}

#[test]
fn a_call_larger_than_the_limit_has_its_turn_when_nothing_else_runs() {
    let now = Instant::now();
    let mut bucket = TokenBucket::new(now);
    let held = bucket.reserve(u64::MAX, 100, now).unwrap();
    assert!(bucket.reserve(1, 100, now).is_err());
    bucket.settle(held, u64::MAX, 100, now);
    assert!(bucket.reserve(1, 100, now + 3600 * SECOND).is_err(), "it is paid for");
}
