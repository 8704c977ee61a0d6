//! Headroom in the format of every provider, and with invalid values.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn observed(pairs: &[(&'static str, &'static str)], now: Instant) -> Headroom {
    let headers = pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
    let mut room = Headroom::default();
    room.observe(&headers.collect(), now, SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600));
    room
}

fn fits(room: &Headroom, now: Instant, prompt_tokens: u64) -> bool {
    room.room_at(now, prompt_tokens).is_none()
}

fn after(now: Instant, seconds: f64) -> Instant {
    now + Duration::from_secs_f64(seconds)
}

#[test]
fn it_leaves_before_the_429_and_comes_back_at_the_reset() {
    let now = Instant::now();
    let mut room = observed(
        &[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "2"),
            ("x-ratelimit-reset-requests", "12.5s"),
        ],
        now,
    );
    assert!(fits(&room, now, 10));
    room.sent(10);
    room.sent(10);
    assert!(!fits(&room, now, 10));
    assert_eq!(room.room_at(now, 10), Some(after(now, 12.5)));
    assert!(fits(&room, after(now, 12.5), 10));
    assert_eq!(room.view(now).map(|v| (v.limit, v.remaining)).collect::<Vec<_>>(), [(Some(60), 0)]);
    assert_eq!(room.view(after(now, 13.0)).count(), 0);
}

#[test]
fn tokens_must_suffice_for_the_prompt() {
    let now = Instant::now();
    let mut room = observed(
        &[
            ("x-ratelimit-limit-tokens", "6000"),
            ("x-ratelimit-remaining-tokens", "500"),
            ("x-ratelimit-reset-tokens", "7.66s"),
        ],
        now,
    );
    assert!(fits(&room, now, 500) && !fits(&room, now, 501));
    room.sent(400);
    assert!(fits(&room, now, 100) && !fits(&room, now, 101));
    assert!(fits(&room, after(now, 8.0), 9000), "a full window is asked even for more than it holds");
}

#[test]
fn a_newer_answer_replaces_an_older_one() {
    let now = Instant::now();
    let pairs = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "60s")];
    let mut room = observed(&pairs, now);
    assert!(!fits(&room, now, 1));
    let headers = [("x-ratelimit-remaining-requests", "5"), ("x-ratelimit-reset-requests", "60s")];
    let headers = headers.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
    room.observe(&headers.into_iter().collect(), now, SystemTime::now());
    assert!(fits(&room, now, 1));
}

#[test]
fn a_name_that_is_longer_than_any_is_not_kept() {
    let named = |window: &str| {
        let pairs = ["remaining", "reset"].map(|what| (format!("x-ratelimit-{what}-{window}"), "60"));
        let header = |(name, value): (String, _)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        };
        let mut room = Headroom::default();
        room.observe(&pairs.map(header).into_iter().collect(), Instant::now(), SystemTime::now());
        room.gauges.len()
    };
    assert_eq!((named("input-tokens-minute"), named(&"x".repeat(40))), (1, 0));
}

/// The provider, its headers, and for how many seconds they leave no headroom.
type Case = (&'static str, &'static [(&'static str, &'static str)], Option<f64>);

const DIALECTS: &[Case] = &[
    ("nothing said", &[], None),
    (
        "plain, epoch in ms",
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225640000")],
        Some(40.0),
    ),
    ("together", &[("x-tokenlimit-remaining", "0"), ("x-tokenlimit-reset", "3")], Some(3.0)),
    ("together, one reset", &[("x-tokenlimit-remaining", "0"), ("x-ratelimit-reset", "1")], Some(1.0)),
    (
        "mistral",
        &[("x-ratelimit-remaining-req-minute", "0"), ("x-ratelimit-limit-req-minute", "60")],
        Some(60.0),
    ),
    (
        "no allowance at all",
        &[("x-ratelimit-remaining-req-minute", "0"), ("x-ratelimit-limit-req-minute", "0")],
        None,
    ),
    ("a month", &[("x-ratelimit-remaining-tokens-month", "0")], Some(300.0)),
    (
        "groq's day",
        &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "23h59m")],
        Some(300.0),
    ),
    ("azure -1", &[("x-ratelimit-remaining-requests", "-1"), ("x-ratelimit-reset-requests", "60")], None),
    (
        "azure limit -1",
        &[
            ("x-ratelimit-limit-tokens", "-1"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "60"),
        ],
        None,
    ),
    ("no reset", &[("x-ratelimit-remaining-requests", "0")], None),
    (
        "reset garbage",
        &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "NaN")],
        None,
    ),
    (
        "remaining garbage",
        &[("x-ratelimit-remaining-requests", "none"), ("x-ratelimit-reset-requests", "9")],
        None,
    ),
    (
        "a float",
        &[("x-ratelimit-remaining-tokens", "0.0"), ("x-ratelimit-reset-tokens", "12ms")],
        Some(0.012),
    ),
    (
        "both",
        &[
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "2s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "9s"),
        ],
        Some(9.0),
    ),
];

#[test]
fn every_dialect() {
    let now = Instant::now();
    for (name, pairs, want) in DIALECTS {
        let got = observed(pairs, now).room_at(now, 100).map(|at| (at - now).as_secs_f64());
        assert_eq!(got.map(|s| (s * 1000.0).round() / 1000.0), *want, "{name}");
    }
}

proptest! {
    #[test]
    fn no_header_panics_grows_or_shuts_out_for_long(values in prop::collection::vec(".{0,24}", 3), n in 0usize..40) {
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        for i in 0..n {
            for (what, value) in ["limit", "remaining", "reset"].iter().zip(&values) {
                let name = HeaderName::from_bytes(format!("x-ratelimit-{what}-w{i}").as_bytes()).unwrap();
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.insert(name, value);
                }
            }
        }
        let mut room = Headroom::default();
        room.observe(&headers, now, SystemTime::now());
        room.sent(u64::MAX);
        prop_assert!(room.gauges.len() <= GAUGES);
        prop_assert!(fits(&room, now + MAX, u64::MAX));
    }
}
