//! Every decision of failover, without a network and on a paused clock.

use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::advance;

use super::*;
use crate::{
    config,
    events::Events,
    refusal::ProviderReply,
    tasks::Tasks,
    upstream::{
        Attempt, ChangeNotifier, Snapshot,
        health::{
            breaker::ProbeLease,
            peer_evidence::{PeerEvidence, PeerId, PeerStreak},
        },
    },
};

const PROVIDERS: &str = r#"
[routing]
strategy = "priority"
[[providers]]
name = "a"
base_url = "http://127.0.0.1:1/v1"
[[providers]]
name = "b"
base_url = "http://127.0.0.1:2/v1"
[[providers]]
name = "c"
base_url = "http://127.0.0.1:3/v1"
"#;

pub(super) fn snapshot(models: &str) -> Snapshot {
    let loaded = config::parse("test.toml", &format!("{PROVIDERS}{models}"), &|_| None).unwrap();
    Snapshot::new(loaded.config, None, &Events::new(), &Tasks::new()).unwrap()
}

const EQUALS: &str = r#"
[[models]]
name = "m"
targets = ["a/x", "b/x"]
"#;

const WITH_FALLBACK: &str = r#"
[[models]]
name = "m"
targets = ["a/x"]
fallbacks = ["n"]
[[models]]
name = "n"
targets = ["c/x"]
"#;

pub(super) fn plan(snapshot: &Snapshot) -> Plan {
    let chain = snapshot.chain(snapshot.model("m").unwrap());
    Plan::new(chain, Vec::new(), RequestNeed::default(), snapshot.config.resilience.clone())
}

/// The plan's next step as text.
pub(super) fn step(plan: &mut Plan) -> (String, Option<Candidate>) {
    let now = Instant::now();
    match plan.next(now, &mut fastrand::Rng::with_seed(1)) {
        Step::Try(candidate) => (format!("try {}", candidate.target.id), Some(candidate)),
        Step::Wait(until) => (format!("wait {} ms", (until - now).as_millis()), None),
        Step::Refuse(refusal) => (format!("refuse {refusal:?}"), None),
    }
}

fn failure(outcome: Outcome) -> Failure {
    let reply =
        ProviderReply { status: StatusCode::BAD_REQUEST, content_type: None, body: Bytes::from("{}") };
    Failure { outcome, message: outcome.to_string(), reply: Some(reply), elapsed: Duration::ZERO }
}

/// The attempt is made and fails, as in a real search.
pub(super) fn fails(plan: &mut Plan, expected: &str, outcome: Outcome) -> Result<(), UpstreamError> {
    let (words, candidate) = step(plan);
    assert_eq!(words, expected);
    let candidate = candidate.unwrap();
    let mut attempt = Attempt::begin(&candidate.target, plan.need(), None, candidate.others).unwrap();
    attempt.failed(outcome, "scripted");
    plan.failed(&candidate, failure(outcome), Instant::now())
}

const E500: Outcome = Outcome::Hard(HardKind::Status(500));
const SILENT: Outcome = Outcome::Hard(HardKind::Silent);

fn throttled(seconds: u64) -> Outcome {
    Outcome::Throttled { rest: Some(Duration::from_secs(seconds)) }
}

/// Trips the breaker of a target.
fn trip(snapshot: &Snapshot, id: &str) {
    let target = snapshot.find(id).unwrap();
    for _ in 0..5 {
        Attempt::begin(&target, &RequestNeed::default(), None, true).unwrap().failed(E500, "scripted");
    }
}

#[tokio::test(start_paused = true)]
async fn equals_are_asked_at_once_and_the_first_once_more() {
    let snapshot = snapshot(EQUALS);
    let mut plan = plan(&snapshot);
    fails(&mut plan, "try a/x", E500).unwrap();
    fails(&mut plan, "try b/x", E500).unwrap();
    assert_eq!(step(&mut plan).0, "wait 250 ms");
    advance(SECOND_CHANCE).await;
    fails(&mut plan, "try a/x", E500).unwrap();
    assert!(matches!(
        plan.next(Instant::now(), &mut fastrand::Rng::new()),
        Step::Refuse(UpstreamError::Failed(Failed { attempts: 3, .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn before_a_fallback_a_passing_trouble_is_tried_once_more() {
    let snapshot = snapshot(WITH_FALLBACK);
    let mut plan = plan(&snapshot);
    fails(&mut plan, "try a/x", E500).unwrap();
    assert_eq!(step(&mut plan).0, "wait 250 ms");
    advance(SECOND_CHANCE).await;
    fails(&mut plan, "try a/x", E500).unwrap();
    fails(&mut plan, "try c/x", E500).unwrap();
    assert!(step(&mut plan).0.starts_with("refuse"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_target_is_never_asked_twice() {
    let snapshot = snapshot(WITH_FALLBACK);
    let mut plan = plan(&snapshot);
    fails(&mut plan, "try a/x", SILENT).unwrap();
    fails(&mut plan, "try c/x", SILENT).unwrap();
    assert!(matches!(
        plan.next(Instant::now(), &mut fastrand::Rng::new()),
        Step::Refuse(UpstreamError::Timeout(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_rest_within_patience_is_waited_out_and_a_longer_one_is_not() {
    let snapshot = snapshot(WITH_FALLBACK);
    let mut first = plan(&snapshot);
    fails(&mut first, "try a/x", throttled(2)).unwrap();
    let Step::Wait(until) = first.next(Instant::now(), &mut fastrand::Rng::new()) else { panic!("no wait") };
    let wait = until - Instant::now();
    assert!((2000..=2400).contains(&(wait.as_millis() as u64)), "{wait:?}");
    // Another call that comes now waits as well: the requested model is worth it.
    assert!(step(&mut plan(&snapshot)).0.starts_with("wait"));
    advance(wait).await;
    fails(&mut first, "try a/x", throttled(10)).unwrap();
    assert_eq!(step(&mut first).0, "try c/x");
    assert_eq!(step(&mut plan(&snapshot)).0, "try c/x");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_waited_for_while_there_is_a_fallback() {
    let snapshot = snapshot(WITH_FALLBACK);
    trip(&snapshot, "a/x");
    let mut one = plan(&snapshot);
    assert_eq!(step(&mut one).0, "try c/x");
    advance(Duration::from_secs(3)).await;
    let mut probe = plan(&snapshot);
    let (words, candidate) = step(&mut probe);
    assert_eq!(words, "try a/x", "half-open, and the fallback can catch it");
    let held = Attempt::begin(&candidate.unwrap().target, probe.need(), None, true).unwrap();
    assert_eq!(step(&mut plan(&snapshot)).0, "try c/x", "one probe at a time");
    drop(held);
    assert_eq!(step(&mut plan(&snapshot)).0, "try a/x", "a probe that was given up is handed back");
}

#[tokio::test(start_paused = true)]
async fn with_everybody_out_the_earliest_return_is_told() {
    let snapshot = snapshot(WITH_FALLBACK);
    trip(&snapshot, "a/x");
    trip(&snapshot, "c/x");
    let refusal = plan(&snapshot).next(Instant::now(), &mut fastrand::Rng::new());
    let Step::Refuse(UpstreamError::NoTarget { retry_after: Some(after), model }) = refusal else { panic!() };
    assert_eq!(model, "m");
    assert!((1.6..=2.4).contains(&after.as_secs_f64()), "{after:?}");
    advance(after.saturating_sub(Duration::from_millis(500))).await;
    assert!(step(&mut plan(&snapshot)).0.starts_with("wait"), "a moment is waited out");
}

#[tokio::test(start_paused = true)]
async fn rate_limits_everywhere_are_a_429_with_the_earliest_return() {
    let snapshot = snapshot(EQUALS);
    let mut first = plan(&snapshot);
    fails(&mut first, "try a/x", throttled(60)).unwrap();
    fails(&mut first, "try b/x", throttled(20)).unwrap();
    for plan in [&mut first, &mut plan(&snapshot)] {
        let step = plan.next(Instant::now(), &mut fastrand::Rng::new());
        let Step::Refuse(UpstreamError::RateLimited { retry_after }) = step else { panic!() };
        assert!((20.0..=24.0).contains(&retry_after.as_secs_f64()), "{retry_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_moves_on_and_is_never_the_clients() {
    let snapshot = snapshot(EQUALS);
    let mut first = plan(&snapshot);
    fails(&mut first, "try a/x", Outcome::KeyRefused).unwrap();
    fails(&mut first, "try b/x", Outcome::KeyRefused).unwrap();
    for plan in [&mut first, &mut plan(&snapshot)] {
        let step = plan.next(Instant::now(), &mut fastrand::Rng::new());
        assert!(matches!(step, Step::Refuse(UpstreamError::KeyRefused(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_fault_ends_the_search_with_the_providers_words() {
    let snapshot = snapshot(EQUALS);
    let refusal = fails(&mut plan(&snapshot), "try a/x", Outcome::ClientFault).unwrap_err();
    assert!(matches!(refusal, UpstreamError::Provider(_)));
}

#[tokio::test(start_paused = true)]
async fn too_long_a_prompt_goes_only_where_the_window_is_larger() {
    let windows =
        WITH_FALLBACK.replacen("targets = [\"a/x\"]", "targets = [\"a/x\"]\ncontext_window = 8000", 1);
    let larger = snapshot(&windows);
    let mut into_unstated = plan(&larger);
    fails(&mut into_unstated, "try a/x", Outcome::TooBig).unwrap();
    assert_eq!(step(&mut into_unstated).0, "try c/x");
    let smaller = snapshot(&windows.replace("[\"c/x\"]", "[\"c/x\"]\ncontext_window = 4000"));
    let mut nowhere = plan(&smaller);
    fails(&mut nowhere, "try a/x", Outcome::TooBig).unwrap();
    let step = nowhere.next(Instant::now(), &mut fastrand::Rng::new());
    assert!(matches!(step, Step::Refuse(UpstreamError::Provider(_))), "the provider's own 4xx");
}

#[tokio::test(start_paused = true)]
async fn a_target_known_to_refuse_the_request_is_asked_only_for_want_of_others() {
    let snapshot = snapshot(EQUALS);
    let chain = snapshot.chain(snapshot.model("m").unwrap());
    let rules = snapshot.config.resilience;
    let mut plan = Plan::new(chain, vec!["a/x".into()], RequestNeed::default(), rules);
    fails(&mut plan, "try b/x", SILENT).unwrap();
    assert_eq!(step(&mut plan).0, "try a/x");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_last_knows_it() {
    let snapshot = snapshot(EQUALS);
    let mut plan = plan(&snapshot);
    assert!(step(&mut plan).1.unwrap().others);
    assert!(!step(&mut plan).1.unwrap().others);
}

#[tokio::test(start_paused = true)]
async fn drained_targets_are_not_asked() {
    let snapshot = snapshot(EQUALS);
    snapshot.find("a/x").unwrap().state.drain(true, Instant::now());
    assert_eq!(step(&mut plan(&snapshot)).0, "try b/x");
    snapshot.find("a/x").unwrap().state.drain(false, Instant::now());
    assert_eq!(step(&mut plan(&snapshot)).0, "try a/x");
}

/// A gateway that has peers reports and asks; here, nobody answers.
fn joined(snapshot: &Snapshot) -> ChangeNotifier {
    let notifier = ChangeNotifier::default();
    snapshot.targets().iter().for_each(|target| target.state.join(Some(&notifier)));
    notifier
}

/// A peer has seen `target` fail once and keeps using it.
fn doubted(snapshot: &Snapshot, target: &str) {
    let streak = PeerStreak { peer: PeerId(1), failures: 1, last: Instant::now() };
    let evidence = PeerEvidence { streaks: vec![streak], ..PeerEvidence::default() };
    let target = snapshot.find(target).unwrap();
    target.state.health.lock().merge(&evidence, PeerId(2), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_doubts_comes_after_its_equals_and_before_another_model() {
    let equals = snapshot(EQUALS);
    joined(&equals);
    doubted(&equals, "a/x");
    let mut search = plan(&equals);
    fails(&mut search, "try b/x", SILENT).unwrap();
    fails(&mut search, "try a/x", SILENT).unwrap();
    let with_fallback = snapshot(WITH_FALLBACK);
    joined(&with_fallback);
    doubted(&with_fallback, "a/x");
    assert_eq!(step(&mut plan(&with_fallback)).0, "try a/x");
}

#[tokio::test(start_paused = true)]
async fn the_peers_are_asked_before_a_probe_and_nobody_waits_who_has_somebody_else() {
    let snapshot = snapshot(EQUALS);
    let notifier = joined(&snapshot);
    trip(&snapshot, "a/x");
    advance(Duration::from_secs(5)).await;
    notifier.pending().await;
    let a = snapshot.find("a/x").unwrap();
    drop(plan(&snapshot).dry_run(Instant::now()));
    assert!(notifier.pending().now_or_never().is_none(), "who only looks leaves no note");
    assert_eq!(step(&mut plan(&snapshot)).0, "try b/x");
    let pending = notifier.pending().await;
    assert!(pending.probe_requests.contains("a/x"), "{pending:?}");
    a.state.set_probe_lease(ProbeLease::Granted(Instant::now() + Duration::from_secs(1)));
    assert_eq!(step(&mut plan(&snapshot)).0, "try a/x");
}

#[tokio::test(start_paused = true)]
async fn with_nobody_else_the_leave_to_probe_is_waited_for() {
    let snapshot = snapshot(WITH_FALLBACK);
    joined(&snapshot);
    trip(&snapshot, "a/x");
    advance(Duration::from_secs(5)).await;
    let mut search = plan(&snapshot);
    assert_eq!(step(&mut search).0, "wait 20 ms");
    let a = snapshot.find("a/x").unwrap();
    a.state.set_probe_lease(ProbeLease::Refused(Instant::now() + Duration::from_secs(1)));
    assert_eq!(step(&mut search).0, "try c/x", "somebody else probes");
    a.state.set_probe_lease(ProbeLease::Granted(Instant::now() + Duration::from_secs(1)));
    assert_eq!(step(&mut plan(&snapshot)).0, "try a/x");
}
