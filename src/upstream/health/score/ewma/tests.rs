use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn sample(mean: f64, count: f64, last: Instant) -> PeerSample {
    PeerSample { mean, count, last }
}

#[test]
fn peers_say_much_to_who_knows_nothing_and_little_to_who_knows_much() {
    let now = Instant::now();
    let mut fresh = Ewma::new(MINUTE, 4.0);
    fresh.merge(&[sample(0.0, 1000.0, now)]);
    assert!(fresh.value(Some(1.0), now).unwrap() < 0.2, "twenty samples against a prior of four");
    let mut busy = Ewma::new(MINUTE, 4.0);
    (0..1000).for_each(|_| busy.record(1.0, Some(1.0), now));
    busy.merge(&[sample(0.0, 1000.0, now)]);
    assert!(busy.value(Some(1.0), now).unwrap() > 0.95);
    assert_eq!(busy.own().unwrap().mean, 1.0, "what peers measured is not passed on");
    let mut unknown = Ewma::new(MINUTE, 1.0);
    unknown.merge(&[sample(0.3, 5.0, now)]);
    assert_eq!((unknown.value(None, now), unknown.measured()), (Some(0.3), None));
}

#[test]
fn what_peers_measured_is_forgotten_and_heals_like_our_own() {
    let now = Instant::now();
    let mut mean = Ewma::new(seconds(10.0), 1.0);
    mean.merge(&[sample(1.0, 4.0, now), sample(0.0, 4.0, now - seconds(10.0))]);
    assert!((mean.value(None, now).unwrap() - 2.0 / 3.0).abs() < 1e-9, "the older counts half");
    let later = mean.value(Some(0.0), now + MINUTE).unwrap();
    assert!(later < 0.02, "{later}");
    mean.merge(&[]);
    assert_eq!(mean.value(None, now), None);
}

#[test]
fn a_thousand_samples_at_once_are_their_mean() {
    let now = Instant::now();
    let mut mean = Ewma::new(MINUTE, 4.0);
    for i in 0..1000 {
        mean.record(f64::from(u8::from(i % 4 != 0)), Some(1.0), now);
    }
    assert!((mean.value(Some(1.0), now).unwrap() - 0.751).abs() < 1e-3);
}

#[test]
fn one_sample_never_decides() {
    let now = Instant::now();
    let mut rate = Ewma::new(MINUTE, 4.0);
    rate.record(0.0, Some(1.0), now);
    assert!((rate.value(Some(1.0), now).unwrap() - 0.8).abs() < 1e-9);
    let much_later = now + MINUTE * 1000;
    rate.record(0.0, Some(1.0), much_later);
    assert!((rate.value(Some(1.0), much_later).unwrap() - 0.8).abs() < 1e-9);
}

#[test]
fn under_load_it_has_no_bias_at_any_rate() {
    for per_second in [0.25, 1.0, 10.0, 1000.0] {
        let mut now = Instant::now();
        let mut rate = Ewma::new(MINUTE, 4.0);
        let mut sum = (0.0, 0.0);
        let samples = (1800.0 * per_second) as u32;
        for i in 0..samples {
            rate.record(f64::from(u8::from(i % 4 != 0)), Some(1.0), now);
            now += seconds(1.0 / per_second);
            if i > samples / 2 {
                sum = (sum.0 + rate.value(Some(1.0), now).unwrap(), sum.1 + 1.0);
            }
        }
        assert!((sum.0 / sum.1 - 0.75_f64).abs() < 0.01, "{per_second}/s: {}", sum.0 / sum.1);
    }
}

#[test]
fn it_follows_a_change_with_its_half_life() {
    let mut now = Instant::now();
    let mut mean = Ewma::new(seconds(10.0), 1.0);
    for i in 0..20_000 {
        mean.record(if i < 18_000 { 0.1 } else { 1.0 }, None, now);
        now += seconds(0.005);
    }
    assert!((mean.value(None, now).unwrap() - 0.55).abs() < 0.01, "half way after 10 s");
}

#[test]
fn idleness_heals_towards_the_prior_of_today() {
    let now = Instant::now();
    let mut mean = Ewma::new(seconds(10.0), 1.0);
    assert_eq!(mean.value(None, now), None);
    assert_eq!(mean.value(Some(0.3), now), Some(0.3));
    mean.record(1.0, None, now);
    assert_eq!(mean.value(None, now + MINUTE), Some(1.0));
    assert_eq!(mean.value(Some(0.2), now + IDLE), Some(1.0));
    let healed = mean.value(Some(0.2), now + IDLE + seconds(10.0)).unwrap();
    assert!((healed - 0.6).abs() < 1e-9);
    assert_eq!(mean.measured(), Some(1.0));
}

#[test]
fn time_that_runs_backwards_is_no_time() {
    let now = Instant::now() + MINUTE;
    let mut mean = Ewma::new(Duration::ZERO, 1.0);
    mean.record(1.0, Some(0.0), now);
    mean.record(1.0, Some(0.0), now - MINUTE);
    assert!(mean.value(Some(0.0), now).unwrap().is_finite());
}
