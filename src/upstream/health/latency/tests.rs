use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn filled(samples: impl IntoIterator<Item = Duration>) -> LatencyHistogram {
    let now = Instant::now();
    let mut h = LatencyHistogram::default();
    samples.into_iter().for_each(|sample| h.record(sample, now));
    h
}

#[test]
fn quantiles_are_right_within_a_twentieth() {
    for base in [1, 7, 100, 45_000] {
        let h = filled((1..=1000).map(|i| ms(base * i / 10).max(ms(1))));
        for q in [0.5, 0.95, 0.99] {
            let exact =
                ms(((base as f64) * 1000.0 * q / 10.0).round() as u64).as_secs_f64().clamp(1e-3, 622.0);
            let got = h.quantile(q).unwrap().as_secs_f64();
            let slack = if base <= 7 { 0.12 } else { 0.055 };
            assert!((got / exact - 1.0).abs() < slack, "q{q} of {base}: {got} for {exact}");
        }
    }
}

#[test]
fn the_ends_hold() {
    assert_eq!(LatencyHistogram::default().quantile(0.5), None);
    let h = filled([Duration::ZERO, Duration::MAX]);
    assert_eq!(h.quantile(0.0), Some(ms(1)));
    assert!(h.quantile(1.0).unwrap() > Duration::from_secs(570));
    assert_eq!(h.quantile(f64::NAN), Some(ms(1)));
    assert_eq!((h.quantile(-3.0), h.quantile(0.5)), (Some(ms(1)), Some(ms(1))));
    assert_eq!(h.count(), 2);
}

#[test]
fn a_busy_target_forgets_in_two_minutes_and_a_quiet_one_keeps_its_samples() {
    let start = Instant::now();
    let mut busy = LatencyHistogram::default();
    for i in 0..400u64 {
        busy.record(if i < 100 { ms(5000) } else { ms(50) }, start + ms(i * 500));
    }
    assert!(busy.quantile(1.0).unwrap() < ms(60), "{:?}", busy.quantile(1.0));
    let mut quiet = LatencyHistogram::default();
    for i in 0..50u64 {
        quiet.record(ms(300), start + Duration::from_secs(i * 600));
    }
    assert_eq!(quiet.count(), 50);
}

#[test]
fn deadlines_are_learned_after_twenty_samples_and_bounded() {
    let s = Duration::from_secs;
    let total = s(600);
    let untaught = filled(vec![ms(1); 19]);
    assert_eq!(first_token_deadline(&untaught, 0), s(10));
    assert_eq!(stall_deadline(&untaught), s(10));
    assert_eq!(answer_deadline(&untaught, total), s(60));
    assert_eq!(answer_deadline(&untaught, s(5)), s(5));

    let fast = filled(vec![ms(10); 20]);
    assert_eq!(first_token_deadline(&fast, 0), s(2));
    assert_eq!(first_token_deadline(&fast, u64::MAX), s(10));
    assert_eq!(stall_deadline(&fast), s(3));
    assert_eq!(answer_deadline(&fast, total), s(10));
    assert_eq!(answer_deadline(&fast, s(4)), s(4), "never longer than everything together");

    let slow = filled(vec![ms(3000); 20]);
    let deadline = first_token_deadline(&slow, 10_000);
    assert!((5.2..5.8).contains(&deadline.as_secs_f64()), "{deadline:?}");
    assert_eq!(stall_deadline(&slow), s(10));
    assert!(answer_deadline(&filled(vec![s(400); 20]), total) == total);
}
