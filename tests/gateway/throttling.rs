//! R6–R8: 429 with `retry-after` in every spelling.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Script, ms,
    openai::{ask, error_body},
};
use tokio::time::Instant;

use super::setup::{Load, Stage, errors};

fn throttled() -> Script {
    Script::status(429, error_body("slow down", "rate_limit_error", Some("rate_limit_exceeded")))
}

/// R6: the stated time is kept, and the target returns after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_target_rests_for_the_time_it_asked() {
    let stage = Stage::pair().await;
    stage.a.next(throttled().header("retry-after", "2"));
    let load = Load::start(&stage.client, 4, ms(20));
    stage.a.wait_calls(1).await;
    let start = Instant::now();
    tokio::time::sleep(ms(200)).await;
    stage.a.clear();
    assert_eq!(stage.gw.target("a/m").await["state"], "rate_limited");
    stage.a.wait_calls(1).await;
    let rested = start.elapsed();
    assert!(rested > ms(1900) && rested < ms(6000), "2 s, up to 20 % more, and a little: {rested:?}");
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
}

type Headers = &'static [(&'static str, &'static str)];

/// Header lines of a 429, and the cooldown they must lead to, in seconds.
const SPELLINGS: &[(Headers, (f64, f64))] = &[
    (&[("retry-after", "7")], (7.0, 8.4)),
    (&[("retry-after", "7.66")], (7.6, 9.3)),
    (&[("retry-after-ms", "7500")], (7.4, 9.1)),
    (&[("retry-after", "-1")], (1.0, 300.0)),
    (&[("retry-after", "0")], (1.0, 300.0)),
    (&[("retry-after", "1e308")], (1.0, 360.0)),
    (&[("retry-after", "NaN")], (1.0, 300.0)),
    (&[("retry-after", "inf")], (1.0, 360.0)),
    (&[("retry-after", "1000000000000")], (1.0, 360.0)),
    (&[("retry-after", "")], (1.0, 300.0)),
    (&[("retry-after", "soon")], (1.0, 300.0)),
    (&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], (1.0, 300.0)),
    (&[("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")], (240.0, 360.0)),
    (&[("retry-after", "5"), ("retry-after", "9")], (4.9, 10.9)),
    (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "7.66s")], (7.6, 9.3)),
    (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "2m59.56s")], (179.0, 216.0)),
    (
        &[
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "23h"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "8s"),
        ],
        (7.9, 9.7),
    ),
    (&[("x-ratelimit-remaining-requests", "-1"), ("x-ratelimit-reset-requests", "x")], (1.0, 300.0)),
    (&[], (1.0, 300.0)),
];

/// R7: every spelling leads to a cooldown between a second and five minutes (plus 20 % of jitter).
#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_retry_after_is_understood() {
    let config = |a: &FakeProvider, b: &FakeProvider| {
        let base = ConfigFile::quick().provider("a", a).provider("b", b);
        (0..SPELLINGS.len()).fold(base, |c, i| c.model(&format!("m{i}"), &[&format!("a/m{i}"), "b/any"]))
    };
    let stage = Stage::on(config).await;
    for (i, (headers, (least, most))) in SPELLINGS.iter().enumerate() {
        let script = headers.iter().fold(throttled(), |script, (name, value)| script.header(name, value));
        let model = format!("m{i}");
        stage.a.for_model(&model, move |_| script.clone());
        stage.a.clear();
        for _ in 0..3 {
            assert_eq!(
                stage.client.chat(&ask(&model)).await.header("x-concierge-target"),
                "b/any",
                "{headers:?}"
            );
        }
        assert_eq!(stage.a.calls().len(), 1, "rests after one call: {headers:?}");
        let target = stage.gw.target(&format!("a/{model}")).await;
        assert_eq!(target["state"], "rate_limited", "{headers:?}: {target}");
        let rest = seconds_until(target["retry_at"].as_str().unwrap());
        assert!(rest > least - 1.0 && rest < most + 1.0, "{headers:?}: rests {rest} s");
    }
    assert_eq!(stage.client.get("/livez").await.code(), 200);
}

/// Seconds from now to an RFC 3339 time in UTC, computed with `date`.
fn seconds_until(time: &str) -> f64 {
    let output = std::process::Command::new("date").args(["-d", time, "+%s.%N"]).output().unwrap();
    let then: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    then - now.as_secs_f64()
}

/// R8: if all targets answer 429, the client gets a 429 with the earliest time.
#[tokio::test(flavor = "multi_thread")]
async fn throttled_everywhere_tells_the_earliest_time() {
    let stage = Stage::pair().await;
    stage.a.always(throttled().header("retry-after", "30"));
    stage.b.always(throttled().header("retry-after", "10"));
    for round in 0..3 {
        let reply = stage.chat().await;
        assert_eq!(
            (reply.code(), reply.error_code().as_str()),
            (429, "upstream_rate_limited"),
            "{round}: {reply:?}"
        );
        assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
        let seconds: f64 = reply.header("retry-after").parse().unwrap();
        let millis: f64 = reply.header("retry-after-ms").parse().unwrap();
        assert!((9.0..=13.0).contains(&seconds), "{seconds}");
        assert!((millis / 1000.0 - seconds).abs() <= 1.0, "{millis} ms, {seconds} s");
        assert_eq!(stage.calls(), (1, 1), "nobody is asked while they rest (round {round})");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_with_retry_after_rests_too() {
    let stage = Stage::pair().await;
    stage.a.next(Script::status(503, "{}").header("retry-after", "30"));
    for _ in 0..3 {
        assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");
    }
    assert_eq!(
        (stage.a.calls().len(), stage.gw.target("a/m").await["state"].as_str()),
        (1, Some("rate_limited"))
    );
}

/// The provider's rate-limit headers are read from successes too: move on before the 429.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_nothing_left_is_left_before_it_refuses() {
    let stage = Stage::pair().await;
    let empty = Script::json(concierge_testkit::openai::chat_answer("m", "last one"))
        .header("x-ratelimit-limit-requests", "100")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "30s");
    stage.a.next(empty);
    assert_eq!(stage.chat().await.header("x-concierge-target"), "a/m");
    for _ in 0..3 {
        assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");
    }
    assert_eq!(stage.a.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_is_not_sickness() {
    let stage = Stage::pair().await;
    for _ in 0..3 {
        stage.a.next(throttled().header("retry-after", "1"));
        assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    assert_eq!(stage.chat().await.header("x-concierge-target"), "a/m", "it has rested, it is not broken");
    assert_eq!(stage.gw.target("a/m").await["failures"]["rate_limited"], 3);
}
