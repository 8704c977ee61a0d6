//! `/admin/providers` for targets with a history.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::advance;

use super::*;
use crate::{
    admin::test_support::{attempt, fail, snapshot, succeed},
    config::TargetName,
    events::Events,
    upstream::exchange::outcome::{HardKind, Outcome},
};

const DOWN: Outcome = Outcome::Hard(HardKind::Status(503));

fn row(snapshot: &Snapshot, id: &str) -> TargetRow {
    rows(snapshot, Moment::current()).into_iter().find(|row| row.id == id).unwrap()
}

fn ids(snapshot: &Snapshot) -> Vec<String> {
    rows(snapshot, Moment::current()).into_iter().map(|row| row.id).collect()
}

#[tokio::test(start_paused = true)]
async fn every_promised_field_is_there_with_its_type() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "fast/big", LatencyKind::Stream, &[100]).await;
    fail(&snapshot, "fast/big", DOWN, 1);
    for row in rows(&snapshot, Moment::current()) {
        let json = serde_json::to_value(&row).unwrap();
        for key in ["id", "provider", "model", "state", "reason"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {json}");
        }
        for key in ["score", "success_rate", "avg_latency", "share", "total_latency", "first_token_timeout"] {
            assert!(json[key].is_f64(), "{key}: {json}");
        }
        for key in ["success_count", "failure_count", "total_calls", "in_flight"] {
            assert!(json[key].is_u64(), "{key}: {json}");
        }
        for key in ["last_used", "retry_at", "last_failure"] {
            assert!(json[key].is_string() || json.get(key) == Some(&Value::Null), "{key}: {json}");
        }
        for key in ["p50", "p95", "p99", "tokens_per_second"] {
            assert!(json["latency"].get(key).is_some(), "{key}: {json}");
        }
        let failures = json["failures"].as_object().unwrap();
        let kinds =
            ["auth", "connect", "malformed", "rate_limited", "status_5xx", "stream_broken", "timeout"];
        assert!(failures.keys().eq(kinds), "{failures:?}");
        assert!(json["models"].is_array() && json["headroom"].is_array());
        for kind in ["stream", "whole"] {
            for key in ["score", "avg_latency", "crowding", "silence", "share"] {
                assert!(json["kinds"][kind][key].is_f64(), "{kind}.{key}: {json}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_target_is_listed_once_with_what_it_did() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "fast/big", LatencyKind::Stream, &[100, 300]).await;
    fail(&snapshot, "fast/big", DOWN, 1);
    let row = row(&snapshot, "fast/big");
    assert_eq!(ids(&snapshot).len(), 3);
    assert_eq!((row.provider.as_str(), row.model.as_str()), ("fast", "big"));
    assert_eq!(row.models, ["chat", "small"], "not its alias, and each once");
    assert_eq!((row.success_count, row.failure_count, row.total_calls), (2, 1, 3));
    assert!((row.total_latency - 0.4).abs() < 1e-6);
    assert_eq!(row.failures["status_5xx"], 1);
    assert_eq!(row.failures.values().sum::<u64>(), 1);
    assert_eq!(row.score, 100.0 * row.success_rate - 10.0 * row.avg_latency);
    assert!(row.last_used.is_some_and(|at| humantime::parse_rfc3339(&at).is_ok()));
    assert_eq!(row.first_token_timeout, 7.0, "the model's own");
    let small = super::tests::row(&snapshot, "fast/small");
    assert_eq!(small.first_token_timeout, 10.0, "auto, before it has learned");
    assert_eq!((small.last_used, small.latency.p50), (None, None));
}

#[tokio::test(start_paused = true)]
async fn best_first_and_those_in_service_before_all_others() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "slow/org/big", LatencyKind::Stream, &[2000; 5]).await;
    succeed(&snapshot, "fast/big", LatencyKind::Stream, &[50; 5]).await;
    let best = ids(&snapshot);
    assert_eq!(best, ["fast/big", "fast/small", "slow/org/big"], "what nobody asked is as good as its pool");
    fail(&snapshot, "fast/big", DOWN, 5);
    assert_eq!(ids(&snapshot), ["fast/small", "slow/org/big", "fast/big"]);
    snapshot.find("fast/small").unwrap().state.drain(true, tokio::time::Instant::now());
    assert_eq!(ids(&snapshot), ["slow/org/big", "fast/big", "fast/small"]);
}

#[tokio::test(start_paused = true)]
async fn shares_of_a_model_add_up_whatever_was_asked_last() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "slow/org/big", LatencyKind::Whole, &[3000]).await;
    succeed(&snapshot, "fast/big", LatencyKind::Stream, &[50]).await;
    let (fast, slow) = (row(&snapshot, "fast/big"), row(&snapshot, "slow/org/big"));
    assert!((fast.share + slow.share - 1.0).abs() < 1e-9, "{} {}", fast.share, slow.share);
    for kind in [|row: &TargetRow| row.kinds.stream, |row: &TargetRow| row.kinds.whole] {
        assert!((kind(&fast).share + kind(&slow).share - 1.0).abs() < 1e-9);
    }
    assert_eq!(slow.avg_latency, slow.kinds.whole.avg_latency, "of its latest attempt");
    assert_eq!(fast.avg_latency, fast.kinds.stream.avg_latency);
    fail(&snapshot, "fast/big", DOWN, 5);
    assert_eq!(row(&snapshot, "fast/big").share, 0.0);
    assert_eq!(row(&snapshot, "slow/org/big").share, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_broken_target_says_why_and_until_when() {
    let snapshot = snapshot(&Events::new());
    fail(&snapshot, "fast/big", DOWN, 5);
    let at = Moment::current();
    let open = row(&snapshot, "fast/big");
    assert_eq!(open.state, ReportedState::Open);
    assert!(open.reason.contains("5 consecutive failures, the last: status 503"), "{}", open.reason);
    let retry = humantime::parse_rfc3339(open.retry_at.as_deref().unwrap()).unwrap();
    let wait = retry.duration_since(at.wall).unwrap().as_secs_f64();
    assert!((1.5..2.6).contains(&wait), "{wait}");
    advance(Duration::from_secs(3)).await;
    let half = row(&snapshot, "fast/big");
    assert_eq!((half.state, half.retry_at), (ReportedState::HalfOpen, None));
    let mut probe = attempt(&snapshot.find("fast/big").unwrap(), LatencyKind::Stream);
    let probing = row(&snapshot, "fast/big");
    assert_eq!((probing.state, probing.in_flight), (ReportedState::HalfOpen, 1));
    probe.failed(DOWN, "again");
    assert_eq!(row(&snapshot, "fast/big").state, ReportedState::Open);
}

#[tokio::test(start_paused = true)]
async fn rests_rebukes_and_the_operators_hand_have_states_of_their_own() {
    let snapshot = snapshot(&Events::new());
    let now = tokio::time::Instant::now();
    fail(&snapshot, "fast/big", Outcome::Throttled { rest: Some(Duration::from_secs(30)) }, 1);
    fail(&snapshot, "slow/org/big", Outcome::KeyRefused, 1);
    let limited = row(&snapshot, "fast/big");
    assert_eq!((limited.state, limited.retry_at.is_some()), (ReportedState::RateLimited, true));
    let refused = row(&snapshot, "slow/org/big");
    assert_eq!(refused.state, ReportedState::Misconfigured);
    assert!(refused.reason.ends_with("model: it went wrong."), "{}", refused.reason);
    let known = snapshot.find("slow/org/big").unwrap().state.clone();
    known.drain(true, now);
    assert_eq!(row(&snapshot, "slow/org/big").state, ReportedState::Drained);
    known.drain(false, now);
    assert_eq!(row(&snapshot, "slow/org/big").state, ReportedState::Misconfigured, "resumed, not forgiven");
    known.reset(Duration::from_secs(60), now);
    let reset = row(&snapshot, "slow/org/big");
    assert_eq!((reset.state, reset.total_calls, reset.last_failure), (ReportedState::Closed, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_shows_its_silence() {
    let snapshot = snapshot(&Events::new());
    let hanging = attempt(&snapshot.find("fast/big").unwrap(), LatencyKind::Stream);
    advance(Duration::from_secs(4)).await;
    let row = row(&snapshot, "fast/big");
    assert_eq!((row.state, row.kinds.stream.silence, row.score), (ReportedState::Closed, 4.0, 60.0));
    assert!(row.reason.contains("4.0 s without any response"), "{}", row.reason);
    drop(hanging);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_are_shown_as_the_provider_told_them() {
    let snapshot = snapshot(&Events::new());
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-ratelimit-limit-requests-day", "100"),
        ("x-ratelimit-remaining-requests-day", "0"),
        ("x-ratelimit-reset-requests-day", "60"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let attempt = attempt(&snapshot.find("fast/big").unwrap(), LatencyKind::Stream);
    attempt.head(&headers);
    drop(attempt);
    let row = row(&snapshot, "fast/big");
    assert_eq!(row.state, ReportedState::RateLimited);
    let window = &row.headroom[0];
    assert_eq!((window.unit, window.window.as_str()), ("requests", "requests-day"));
    assert_eq!((window.limit, window.remaining), (Some(100), 0));
    assert_eq!(row.retry_at.as_ref(), Some(&window.reset_at));
}

#[tokio::test(start_paused = true)]
async fn a_target_asked_for_by_its_own_name_is_listed_too() {
    let snapshot = snapshot(&Events::new());
    let name = TargetName { provider: "fast".into(), model: "<b>new</b>".into() };
    snapshot.ad_hoc(&name).unwrap();
    let row = row(&snapshot, "fast/<b>new</b>");
    assert!(row.models.is_empty());
    assert_eq!(row.share, 1.0);
}

#[tokio::test(start_paused = true)]
async fn no_view_holds_a_key() {
    let snapshot = snapshot(&Events::new());
    fail(&snapshot, "slow/org/big", DOWN, 1);
    let json = serde_json::to_string(&rows(&snapshot, Moment::current())).unwrap();
    assert!(!json.contains("sk-very-secret"));
}
