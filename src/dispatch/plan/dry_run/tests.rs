//! The explanation of a plan matches what real plans do.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::{
    dispatch::plan::tests::{fails, plan, snapshot, step},
    upstream::{Attempt, Snapshot},
};

const MODELS: &str = r#"
[[models]]
name = "m"
strategy = "weighted"
weights = [1, 3]
targets = ["a/x", "b/x"]
fallbacks = ["n"]
[[models]]
name = "n"
targets = ["c/x"]
"#;

fn told(dry_run: &DryRun) -> Vec<(&str, f64)> {
    dry_run.asked.iter().map(|step| (&*step.target.id, step.chance)).collect()
}

fn trip(snapshot: &Snapshot, id: &str) {
    let target = snapshot.find(id).unwrap();
    for _ in 0..5 {
        let mut attempt = Attempt::begin(&target, &RequestNeed::default(), None, true).unwrap();
        attempt.failed(Outcome::Hard(HardKind::Connect), "scripted");
    }
}

#[tokio::test(start_paused = true)]
async fn the_likeliest_first_then_the_rest_then_the_fallbacks() {
    let snapshot = snapshot(MODELS);
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    assert_eq!(told(&dry_run), [("b/x", 0.75), ("a/x", 1.0), ("c/x", 1.0)]);
    assert!(dry_run.passed_over.is_empty());
}

/// Whatever target is out, suspected, a last resort or low in score: some target is first.
#[tokio::test(start_paused = true)]
async fn the_shares_are_a_whole() {
    let snapshot = snapshot(MODELS);
    let shares = || {
        let dry_run = plan(&snapshot).dry_run(Instant::now());
        let of = |id| dry_run.share(&snapshot.find(id).unwrap());
        ["a/x", "b/x", "c/x"].map(of)
    };
    assert_eq!(shares(), [0.25, 0.75, 0.0]);
    trip(&snapshot, "b/x");
    assert_eq!(shares(), [1.0, 0.0, 0.0]);
    snapshot.find("a/x").unwrap().state.drain(true, Instant::now());
    assert_eq!(shares(), [0.0, 0.0, 1.0], "the fallback");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(shares(), [0.0, 1.0, 0.0], "a probe comes first");
    for id in ["b/x", "c/x"] {
        snapshot.find(id).unwrap().state.drain(true, Instant::now());
    }
    assert_eq!(shares(), [0.0; 3], "nobody is asked");
}

/// A target that was not drawn is tried for certain.
#[tokio::test(start_paused = true)]
async fn whoever_is_asked_for_want_of_any_other_has_the_whole_share() {
    let snapshot = snapshot(MODELS);
    let used_up = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "60s")];
    let used_up =
        used_up.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let target = snapshot.find("a/x").unwrap();
    let mut attempt = Attempt::begin(&target, &RequestNeed::default(), None, true).unwrap();
    attempt.head(&used_up.into_iter().collect());
    attempt.succeeded();
    for id in ["b/x", "c/x"] {
        snapshot.find(id).unwrap().state.drain(true, Instant::now());
    }
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    assert!(dry_run.asked[0].reluctantly);
    assert_eq!(dry_run.share(&target), 1.0);
}

/// The chance of the first step is how often real plans take it.
#[tokio::test(start_paused = true)]
async fn the_chance_is_the_frequency_of_real_plans() {
    let snapshot = snapshot(MODELS);
    let mut rng = fastrand::Rng::with_seed(7);
    let first = |rng: &mut fastrand::Rng| {
        let Step::Try(candidate) = plan(&snapshot).next(Instant::now(), rng) else {
            panic!("nobody is asked")
        };
        candidate.target.id.clone()
    };
    let draws = 4000;
    let often = (0..draws).filter(|_| *first(&mut rng) == *"b/x").count();
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    assert!((often as f64 / f64::from(draws) - dry_run.asked[0].chance).abs() < 0.03, "{often}");
}

/// Step by step, a real plan whose attempts all fail tries the targets that the dry run named.
#[tokio::test(start_paused = true)]
async fn a_real_plan_goes_the_same_way() {
    let snapshot = snapshot(&MODELS.replace("weighted", "priority"));
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    let mut real = plan(&snapshot);
    for (id, chance) in told(&dry_run) {
        assert_eq!(chance, 1.0);
        fails(&mut real, &format!("try {id}"), Outcome::Hard(HardKind::Connect)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_passed_over_has_a_reason() {
    let snapshot = snapshot(MODELS);
    trip(&snapshot, "b/x");
    snapshot.find("c/x").unwrap().state.drain(true, Instant::now());
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    assert_eq!(told(&dry_run), [("a/x", 1.0)]);
    let passed: Vec<_> =
        dry_run.passed_over.iter().map(|p| (&*p.target.id, p.reason, p.until.is_some())).collect();
    assert_eq!(
        passed,
        [
            ("b/x", Reason::Out(IneligibleReason::Open), true),
            ("c/x", Reason::Out(IneligibleReason::Drained), false)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_and_windows_end_the_list() {
    let snapshot = snapshot(&MODELS.replace("name = \"n\"", "name = \"n\"\ncontext_window = 10"));
    let of = |tokens, max_attempts| {
        let mut plan = plan(&snapshot);
        plan.need.tokens = tokens;
        plan.rules.max_attempts = max_attempts;
        plan.dry_run(Instant::now()).passed_over.pop().map(|passed| passed.reason)
    };
    assert_eq!(of(0, 2), Some(Reason::OutOfAttempts));
    assert_eq!(of(0, 3), None);
}

/// A probe goes first and is shown as one.
#[tokio::test(start_paused = true)]
async fn a_probe_is_named() {
    let snapshot = snapshot(MODELS);
    trip(&snapshot, "a/x");
    tokio::time::advance(Duration::from_secs(30)).await;
    let dry_run = plan(&snapshot).dry_run(Instant::now());
    let first = &dry_run.asked[0];
    assert_eq!((&*first.target.id, first.probe, first.chance), ("a/x", true, 1.0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_learned_and_nobody_loses_a_turn() {
    let snapshot = snapshot(&MODELS.replace("\"weighted\"", "\"round_robin\""));
    let first = || plan(&snapshot).dry_run(Instant::now()).asked[0].target.id.clone();
    let once = first();
    assert_eq!(first(), once);
    let (words, _) = step(&mut plan(&snapshot));
    assert_eq!(words, format!("try {once}"));
    assert!(snapshot.find("a/x").unwrap().view([None, None], Instant::now()).last_failure.is_none());
}
