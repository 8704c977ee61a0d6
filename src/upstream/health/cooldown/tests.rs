//! Tables of unusual values, and what each must mean.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

/// 2026-01-01 00:00:00 UTC, a Thursday.
const NOW: u64 = 1_767_225_600;

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
    };
    pairs.iter().map(pair).collect()
}

/// Seconds, rounded to milliseconds so that the tables stay readable.
fn seconds(d: Option<Duration>) -> Option<f64> {
    d.map(|d| (d.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A value of `retry-after`, and the seconds it means.
const VALUES: &[(&str, Option<f64>)] = &[
    ("7", Some(7.0)),
    ("7.66", Some(7.66)),
    (" 7 ", Some(7.0)),
    ("07", Some(7.0)),
    ("+7", Some(7.0)),
    ("7.", Some(7.0)),
    ("0", Some(1.0)),
    ("0.0", Some(1.0)),
    ("0.2", Some(1.0)),
    ("1", Some(1.0)),
    ("300", Some(300.0)),
    ("301", Some(300.0)),
    ("86400", Some(300.0)),
    ("1e308", Some(300.0)),
    ("1e2", Some(100.0)),
    ("1e999", None),
    ("-1", None),
    ("-0", None),
    ("-1e308", None),
    ("NaN", None),
    ("nan", None),
    ("inf", None),
    ("infinity", None),
    ("-inf", None),
    ("", None),
    (" ", None),
    (".", None),
    ("..", None),
    ("e", None),
    ("soon", None),
    ("never", None),
    ("7;", None),
    ("7, 8", None),
    ("0x10", None),
    ("7 8", None),
    ("１２", None),
    ("7s", Some(7.0)),
    ("7 s", Some(7.0)),
    ("30 seconds", Some(30.0)),
    ("12ms", Some(1.0)),
    ("1500ms", Some(1.5)),
    ("2m59.56s", Some(179.56)),
    ("6m0s", Some(300.0)),
    ("1h", Some(300.0)),
    ("1d", Some(300.0)),
    ("1 fortnight", None),
    ("s", None),
    ("5s garbage", None),
    ("-5s", None),
    ("1.2.3s", None),
    ("99999999999999999999s", Some(300.0)),
    ("1767225630", Some(30.0)),
    ("1767225600", Some(1.0)),
    ("1767225500", Some(1.0)),
    ("1767225630000", Some(30.0)),
    ("1000000000000", Some(1.0)),
    ("99999999999999", Some(300.0)),
    ("Thu, 01 Jan 2026 00:00:45 GMT", Some(45.0)),
    ("Thu, 01 Jan 2026 00:00:00 GMT", Some(1.0)),
    ("Wed, 31 Dec 2025 23:59:00 GMT", Some(1.0)),
    ("Fri, 01 Jan 2027 00:00:00 GMT", Some(300.0)),
    ("Thursday, 01-Jan-26 00:00:45 GMT", Some(45.0)),
    ("Thu Jan  1 00:00:45 2026", Some(45.0)),
    ("Thu, 99 Jan 2026 00:00:45 GMT", None),
    ("Thu, 01 Jan 2026", None),
    ("2026-01-01T00:00:45Z", None),
];

#[test]
fn values_of_retry_after() {
    for (text, want) in VALUES {
        assert_eq!(seconds(explicit(&headers(&[("retry-after", text)]), wall())), *want, "{text:?}");
    }
    assert!(VALUES.len() >= 60);
}

#[test]
fn which_header_speaks() {
    type Row<'a> = (&'a [(&'a str, &'a str)], Option<f64>);
    let table: &[Row] = &[
        (&[], None),
        (&[("retry-after-ms", "1500"), ("retry-after", "9")], Some(1.5)),
        (&[("x-ms-retry-after-ms", "2500"), ("retry-after", "9")], Some(2.5)),
        (&[("retry-after-ms", "soon"), ("retry-after", "9")], Some(9.0)),
        (&[("retry-after-ms", "-5"), ("retry-after", "9")], Some(9.0)),
        (&[("retry-after-ms", "1e12")], Some(300.0)),
        (&[("retry-after", "soon"), ("retry-after", "9")], Some(9.0)),
        (&[("retry-after", "8"), ("retry-after", "9")], Some(8.0)),
        (&[("retry-after", "\u{e9}")], None),
        (&[("retry-after", "4"), ("x-ratelimit-reset-requests", "2m")], Some(4.0)),
        (&[("x-ratelimit-reset-tokens", "7.66s")], Some(7.66)),
        (&[("x-ratelimit-reset-requests", "2m59.56s"), ("x-ratelimit-reset-tokens", "12s")], Some(12.0)),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "2m59.56s"),
                ("x-ratelimit-remaining-tokens", "5000"),
                ("x-ratelimit-reset-tokens", "12ms"),
            ],
            Some(179.56),
        ),
        (
            &[
                ("x-ratelimit-remaining-requests", "14000"),
                ("x-ratelimit-reset-requests", "23h"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ],
            Some(7.66),
        ),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225640")], Some(40.0)),
        (&[("x-ratelimit-reset", "1767225640000")], Some(40.0)),
        (&[("x-ratelimit-reset-tokens", "garbage")], None),
        (&[("x-ratelimit-reset-tokens", "-1")], None),
        (&[("x-tokenlimit-remaining", "0"), ("x-tokenlimit-reset", "3")], Some(3.0)),
    ];
    for (pairs, want) in table {
        assert_eq!(seconds(of_throttled(&headers(pairs), "", wall())), *want, "{pairs:?}");
    }
}

#[test]
fn a_window_alone_is_no_retry_after() {
    // OpenAI and Groq send the windows with every answer, so a 503 must not count as throttled by them.
    let pairs = headers(&[("x-ratelimit-reset-tokens", "7s"), ("x-ratelimit-remaining-tokens", "0")]);
    assert_eq!(explicit(&pairs, wall()), None);
}

#[test]
fn words_of_a_message_are_the_last_resort() {
    let table = [
        ("Rate limit reached … Limit 6000, Used 5999. Please try again in 7.66s. Need more?", Some(7.66)),
        ("Please try again in 2m59.56s.", Some(179.56)),
        ("Please try again in 20 seconds.", Some(20.0)),
        ("Please retry after 6 seconds.", Some(6.0)),
        ("Please retry in 34.07s.", Some(34.07)),
        ("try again in 300ms", Some(1.0)),
        ("try again in a moment", None),
        ("try again in", None),
        ("try again in ", None),
        ("try again in \u{1F600}", None),
        ("", None),
    ];
    for (message, want) in table {
        assert_eq!(seconds(of_throttled(&HeaderMap::new(), message, wall())), want, "{message:?}");
    }
}

proptest! {
    #[test]
    fn no_value_panics_or_leaves_the_range(bytes in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,60}") {
        let mut map = HeaderMap::new();
        for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"] {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                map.insert(name, value);
            }
        }
        let message = format!("try again in {text}");
        if let Some(d) = of_throttled(&map, &message, wall()) {
            prop_assert!((MIN..=MAX).contains(&d));
        }
    }

    #[test]
    fn jitter_only_lengthens_and_by_a_fifth_at_most(ms in 1_000u64..300_000, seed in any::<u64>()) {
        let d = Duration::from_millis(ms);
        let j = jittered(d, &mut fastrand::Rng::with_seed(seed));
        prop_assert!(j >= d && j <= d.mul_f64(1.2));
    }
}

#[test]
fn a_rest_without_a_hint_doubles_per_refusal_and_not_per_answer_of_one_burst() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut now = Instant::now();
    let mut rest = Cooldown::default();
    let mut lengths = Vec::new();
    for _ in 0..8 {
        for _ in 0..20 {
            rest.throttled(None, now, &mut rng);
        }
        let until = rest.retry_at(now).unwrap();
        lengths.push((until - now).as_secs_f64());
        now = until;
        assert!(!rest.is_throttled(now));
    }
    for (length, plain) in lengths.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]) {
        assert!((plain..=plain * 1.2).contains(length), "{lengths:?}");
    }
    rest.answered();
    rest.throttled(None, now, &mut rng);
    assert!(rest.retry_at(now).unwrap() <= now + Duration::from_millis(1200));
}

#[test]
fn a_stated_rest_is_kept_to_and_a_shorter_late_one_does_not_cut_it() {
    let mut rng = fastrand::Rng::with_seed(2);
    let now = Instant::now();
    let mut rest = Cooldown::default();
    rest.throttled(Some(Duration::from_secs(7)), now, &mut rng);
    rest.throttled(Some(Duration::from_secs(1)), now, &mut rng);
    assert!(rest.is_throttled(now + Duration::from_millis(6_999)));
    assert!(!rest.is_throttled(now + Duration::from_millis(8_400)));
    rest.throttled(Some(Duration::MAX), now, &mut rng);
    assert!(!rest.is_throttled(now + Duration::from_secs(360)), "never for ever");
}
