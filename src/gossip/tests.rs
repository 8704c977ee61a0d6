//! Gateways that hear of each other, on a paused clock and without a network: what one has seen, the other believes.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use tokio::time::{Instant, advance};

use super::{
    message::{Age, CooldownMsg, Figures, OutageMsg, PeerId, Remaining, SampleMsg, TargetReport},
    outbox::Outbox,
    target_sync::IncomingReport,
};
use crate::{
    config,
    events::Events,
    tasks::Tasks,
    upstream::{
        Attempt, Availability, Eligibility, IneligibleReason, ReportedState, RequestNeed, Snapshot, Target,
        TargetView,
        exchange::outcome::{HardKind, Outcome},
        health::breaker::{BreakerChange, OpenCause, ProbeLease, ProbeState},
    },
};

const DOWN: Outcome = Outcome::Hard(HardKind::Status(503));
const CONFIG: &str = r#"
[[providers]]
name = "a"
base_url = "http://127.0.0.1:1/v1"
[[models]]
name = "m"
targets = ["a/x"]
"#;

/// One gateway and its only target.
struct Gateway {
    me: PeerId,
    told: u64,
    target: Arc<Target>,
    outbox: Outbox,
}

impl Gateway {
    fn new(me: u64) -> Self {
        let loaded = config::parse("test.toml", CONFIG, &|_| None).unwrap();
        let snapshot = Snapshot::new(loaded.config, None, &Events::new(), &Tasks::new()).unwrap();
        let gateway = Self {
            me: PeerId(me),
            told: 0,
            target: snapshot.find("a/x").unwrap(),
            outbox: Outbox::default(),
        };
        gateway.target.state.join(Some(&gateway.outbox), Instant::now());
        gateway
    }

    fn ask(&self, outcome: Outcome) -> bool {
        let Some(mut attempt) = Attempt::begin(&self.target, &RequestNeed::default(), None, true) else {
            return false;
        };
        match outcome {
            Outcome::Success => attempt.succeeded(),
            other => attempt.failed(other, "scripted"),
        }
        true
    }

    fn asks(&self, outcome: Outcome, times: usize) {
        (0..times).for_each(|_| assert!(self.ask(outcome)));
    }

    /// What it tells now.
    fn tells(&mut self) -> IncomingReport {
        self.told += 1;
        let now = Instant::now();
        IncomingReport {
            peer: self.me,
            number: self.told,
            written: now,
            report: self.target.state.report(now),
        }
    }

    fn hears(&self, heard: IncomingReport) -> Option<BreakerChange> {
        self.target.state.merge(heard, self.me, Instant::now())
    }

    fn standing(&self) -> Eligibility {
        self.target.eligibility(&RequestNeed::default(), None, Instant::now())
    }

    fn view(&self) -> TargetView {
        self.target.view([None; 2], Instant::now())
    }

    fn probe(&self) -> ProbeState {
        self.target.state.probe(Instant::now())
    }

    fn leave(&self, leave: ProbeLease) {
        self.target.state.leave(leave);
    }
}

fn two() -> (Gateway, Gateway) {
    (Gateway::new(1), Gateway::new(2))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Ages travel in whole milliseconds.
fn about(a: Option<Instant>, b: Option<Instant>) -> bool {
    let apart = |a: Instant, b: Instant| a.max(b) - a.min(b);
    a.zip(b).is_some_and(|(a, b)| apart(a, b) <= ms(2))
}

fn empty() -> TargetReport {
    TargetReport {
        target: "a/x".into(),
        state: 0,
        row: None,
        outage: None,
        back: None,
        rest: None,
        full: None,
        drain: None,
        reset: None,
        rate: None,
        kinds: [Figures::default(); 2],
    }
}

#[tokio::test(start_paused = true)]
async fn a_trip_is_heard_with_its_rest_and_its_cause_and_is_no_echo() {
    let (mut a, mut b) = two();
    a.asks(DOWN, 5);
    advance(ms(400)).await;
    assert_eq!(b.hears(a.tells()), Some(BreakerChange::Opened));
    let (ours, theirs) = (b.view(), a.view());
    assert_eq!((ours.state, ours.cause), (ReportedState::Open, theirs.cause));
    assert!(about(ours.retry_at, theirs.retry_at));
    let told = ours.told_by.unwrap();
    assert_eq!(told.peer, PeerId(1));
    assert!(about(Some(told.at), Some(Instant::now() - ms(400))));
    assert_eq!(theirs.told_by, None, "it has seen it itself");
    assert!(!b.ask(DOWN));
    assert_eq!(b.tells().report.outage, None, "only what was seen is told");
    assert_eq!(b.hears(a.tells()), None, "the same again is no news");
}

/// What is told again and was long on its way looks younger than it is.
#[tokio::test(start_paused = true)]
async fn a_slow_message_is_no_news() {
    let (mut a, b) = two();
    a.asks(DOWN, 5);
    assert_eq!(b.hears(a.tells()), Some(BreakerChange::Opened));
    let until = b.view().retry_at;
    let again = a.tells();
    advance(ms(300)).await;
    assert_eq!(b.hears(IncomingReport { written: Instant::now(), ..again }), None);
    assert_eq!(b.view().retry_at, until);
}

#[tokio::test(start_paused = true)]
async fn our_own_later_success_wins_until_one_failure_of_our_own() {
    let (mut a, b) = two();
    a.asks(DOWN, 5);
    advance(ms(100)).await;
    b.asks(Outcome::Success, 1);
    assert_eq!(b.hears(a.tells()), None);
    assert_eq!(b.standing().access, Availability::Ready);
    b.asks(DOWN, 1);
    let view = b.view();
    assert_eq!((view.state, view.told_by.unwrap().peer), (ReportedState::Open, PeerId(1)));
    let (mut a, b) = two();
    b.asks(Outcome::Success, 1);
    advance(ms(100)).await;
    a.asks(DOWN, 5);
    assert_eq!(b.hears(a.tells()), Some(BreakerChange::Opened), "an earlier one does not");
}

#[tokio::test(start_paused = true)]
async fn what_one_probe_finds_out_is_found_out_for_all() {
    let (mut a, b) = two();
    a.asks(DOWN, 5);
    b.hears(a.tells());
    advance(ms(3000)).await;
    a.leave(ProbeLease::Granted(Instant::now() + ms(1000)));
    a.asks(DOWN, 1);
    assert_eq!(b.hears(a.tells()), Some(BreakerChange::Opened), "the rest begins anew");
    assert!(about(b.view().retry_at, a.view().retry_at));
    assert!(matches!(b.view().cause, Some(OpenCause::Probe(_))));
    advance(ms(10_000)).await;
    a.leave(ProbeLease::Granted(Instant::now() + ms(1000)));
    a.asks(Outcome::Success, 1);
    assert_eq!(b.hears(a.tells()), Some(BreakerChange::Closed));
    assert_eq!((b.standing().access, b.view().told_by), (Availability::Ready, None));
    assert!(b.view().ramp < 0.2, "and takes up its share slowly");
}

#[tokio::test(start_paused = true)]
async fn a_probe_needs_leave_and_each_leave_is_for_one() {
    let (_, b) = two();
    b.asks(DOWN, 5);
    advance(ms(3000)).await;
    assert_eq!((b.probe(), b.standing().why), (ProbeState::Due, Some(IneligibleReason::Unleft)));
    assert_eq!(b.view().state, ReportedState::HalfOpen);
    assert!(b.standing().until.is_some_and(|until| until <= Instant::now() + ms(20)));
    assert!(!b.ask(DOWN), "not without");
    b.leave(ProbeLease::Refused(Instant::now() + ms(200)));
    assert_eq!(
        (b.probe(), b.standing().why),
        (ProbeState::None, Some(IneligibleReason::Open)),
        "somebody else does"
    );
    advance(ms(200)).await;
    assert_eq!(b.probe(), ProbeState::Due);
    b.leave(ProbeLease::Granted(Instant::now() + ms(200)));
    assert_eq!((b.probe(), b.standing().access), (ProbeState::Allowed, Availability::Probe));
    advance(ms(200)).await;
    assert_eq!(b.probe(), ProbeState::Due, "nobody used it");
    b.leave(ProbeLease::Granted(Instant::now() + ms(200)));
    b.asks(Outcome::Cancelled, 1);
    assert_eq!(b.probe(), ProbeState::Due, "it was used");
    b.target.state.join(None, Instant::now());
    assert!(b.ask(DOWN), "alone, each probes for itself");
}

#[tokio::test(start_paused = true)]
async fn a_first_failure_elsewhere_makes_others_preferred_until_more_is_known() {
    let (mut a, b) = two();
    a.asks(Outcome::Success, 1);
    a.asks(DOWN, 1);
    b.hears(a.tells());
    assert_eq!(b.standing().access, Availability::Doubted);
    assert_eq!(b.view().doubted_by.unwrap().peer, PeerId(1));
    a.asks(Outcome::Success, 1);
    b.hears(a.tells());
    assert_eq!(b.standing().access, Availability::Ready, "it answers");
    advance(ms(10)).await;
    a.asks(DOWN, 1);
    b.hears(a.tells());
    b.asks(Outcome::Success, 1);
    assert_eq!(b.standing().access, Availability::Ready, "it answers us");
    a.asks(Outcome::Success, 1);
    advance(ms(10)).await;
    a.asks(DOWN, 1);
    b.hears(a.tells());
    advance(ms(1000)).await;
    assert_eq!(b.standing().access, Availability::Ready, "nothing more was heard");
    a.asks(DOWN, 2);
    b.hears(a.tells());
    advance(ms(2999)).await;
    assert_eq!(b.standing().access, Availability::Doubted, "a longer row is doubted for longer");
    advance(ms(1)).await;
    assert_eq!(b.standing().access, Availability::Ready);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_fail_one_goes_on_asking() {
    let (mut a, mut b) = two();
    a.asks(DOWN, 1);
    b.asks(DOWN, 1);
    let (from_a, from_b) = (a.tells(), b.tells());
    a.hears(from_b);
    b.hears(from_a);
    assert_eq!((a.standing().access, b.standing().access), (Availability::Ready, Availability::Doubted));
}

/// Scores fall with every failure, so a row goes on ever more slowly: then two gateways fill one.
#[tokio::test(start_paused = true)]
async fn a_row_goes_on_at_another_gateway() {
    let (mut a, mut b) = two();
    a.asks(DOWN, 3);
    b.hears(a.tells());
    b.asks(DOWN, 1);
    assert_eq!(b.view().state, ReportedState::Closed);
    b.asks(DOWN, 1);
    assert!(matches!(b.view().cause, Some(OpenCause::InARow(5, _))));
    assert_eq!(a.hears(b.tells()), Some(BreakerChange::Opened));
    let (mut a, b) = two();
    a.asks(DOWN, 3);
    b.hears(a.tells());
    advance(ms(10)).await;
    b.asks(Outcome::Success, 1);
    b.asks(DOWN, 4);
    assert_eq!(b.view().state, ReportedState::Closed, "a success ends it");
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_elsewhere_counts_and_less_than_our_own() {
    let (mut a, b) = two();
    a.asks(Outcome::Throttled { rest: None }, 4);
    a.asks(Outcome::Success, 2);
    b.hears(a.tells());
    let rate = b.standing().score.success_rate;
    assert!((0.5..0.9).contains(&rate), "{rate}");
    b.hears(a.tells());
    assert_eq!(b.standing().score.success_rate, rate, "nothing counts twice");
    b.target.state.merge(IncomingReport { report: empty(), ..a.tells() }, b.me, Instant::now());
    b.asks(Outcome::Success, 50);
    b.hears(a.tells());
    assert!(b.standing().score.success_rate > 0.95);
}

#[tokio::test(start_paused = true)]
async fn silence_elsewhere_is_silence_until_a_sign_of_life_here() {
    let (mut a, b) = two();
    let waiting = Attempt::begin(&a.target, &RequestNeed::default(), None, true);
    advance(ms(2500)).await;
    b.hears(a.tells());
    assert!((b.standing().score.silence - 2.5).abs() < 0.01);
    b.asks(Outcome::Success, 1);
    assert_eq!(b.standing().score.silence, 0.0);
    let (mut a2, b) = (a, Gateway::new(2));
    b.hears(a2.tells());
    advance(ms(1000)).await;
    assert_eq!(b.standing().score.silence, 0.0, "an old word is none");
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_common_key_holds_for_all() {
    let (mut a, b) = two();
    a.asks(Outcome::Throttled { rest: Some(ms(30_000)) }, 1);
    b.hears(a.tells());
    assert_eq!(b.standing().why, Some(IneligibleReason::Resting));
    assert!(about(b.standing().until, a.standing().until));
    assert_eq!(b.view().told_by.unwrap().peer, PeerId(1));
    let (mut a, b) = two();
    let said = |remaining: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static(remaining));
        headers.insert("x-ratelimit-reset-requests", HeaderValue::from_static("20s"));
        headers
    };
    let answered = |gateway: &Gateway, remaining| {
        Attempt::begin(&gateway.target, &RequestNeed::default(), None, true).unwrap().head(&said(remaining));
    };
    answered(&a, "0");
    b.hears(a.tells());
    assert_eq!(b.standing().why, Some(IneligibleReason::NoHeadroom));
    assert!(about(b.standing().until, Some(Instant::now() + ms(20_000))));
    advance(ms(10)).await;
    answered(&b, "7");
    advance(ms(10)).await;
    b.hears(a.tells());
    assert_eq!(b.standing().why, None, "the provider has told us something newer");
    answered(&a, "0");
    b.hears(a.tells());
    assert_eq!(b.standing().why, Some(IneligibleReason::NoHeadroom));
}

#[tokio::test(start_paused = true)]
async fn an_operators_order_reaches_all_and_the_latest_counts() {
    let (mut a, mut b) = two();
    a.target.state.drain(true, Instant::now());
    b.hears(a.tells());
    assert_eq!(b.view().state, ReportedState::Drained);
    advance(ms(60_000_000)).await;
    let mut late = Gateway::new(3);
    late.hears(a.tells());
    assert_eq!(late.view().state, ReportedState::Drained, "however long ago");
    b.target.state.drain(false, Instant::now());
    a.hears(b.tells());
    late.hears(b.tells());
    late.hears(a.tells());
    assert_eq!((a.view().state, late.view().state), (ReportedState::Closed, ReportedState::Closed));
    let mut later = Gateway::new(4);
    advance(ms(10)).await;
    a.target.state.drain(true, Instant::now());
    late.hears(a.tells());
    later.hears(late.tells());
    assert_eq!(later.view().state, ReportedState::Drained, "told on");
    assert_eq!(late.hears(later.tells()), None);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_for_all_and_once() {
    let (mut a, mut b) = two();
    advance(ms(10)).await;
    a.asks(DOWN, 5);
    b.hears(a.tells());
    b.asks(Outcome::Success, 0);
    let before = a.tells();
    advance(ms(10)).await;
    b.target.state.reset(ms(60_000), Instant::now());
    assert_eq!(b.view().state, ReportedState::Closed);
    b.hears(before);
    assert_eq!(b.view().state, ReportedState::Closed, "news from before it");
    a.hears(b.tells());
    assert_eq!((a.view().state, a.standing().score.success_rate), (ReportedState::Closed, 1.0));
    advance(ms(10)).await;
    a.asks(DOWN, 5);
    a.hears(b.tells());
    assert_eq!(a.view().state, ReportedState::Open, "the same order again is none");
    assert_eq!(Gateway::new(3).hears(b.tells()), None);
}

#[tokio::test(start_paused = true)]
async fn lies_are_bounded() {
    let b = Gateway::new(2);
    let say = |number, report| {
        let written = Instant::now();
        b.hears(IncomingReport { peer: PeerId(9), number, written, report })
    };
    let age = |n: u64| serde_json::from_value::<Age>(n.into()).unwrap();
    let left = |n: u64| serde_json::from_value::<Remaining>(n.into()).unwrap();
    let outage = |ms, rest| {
        Some(OutageMsg { age: age(ms), left: left(rest), rests: u32::MAX, cause: OpenCause::Ratio(0, 20) })
    };
    assert_eq!(say(1, TargetReport { outage: outage(u64::MAX, 1), ..empty() }), None, "too long ago");
    assert_eq!(say(2, TargetReport { outage: outage(3_600_000, 1), ..empty() }), None, "too long ago");
    let sample = Some(SampleMsg { mean: -7.0, count: 1e300, age: age(0) });
    say(
        3,
        TargetReport {
            rate: sample,
            full: Some(CooldownMsg { age: age(0), left: left(u64::MAX) }),
            ..empty()
        },
    );
    assert_eq!(b.standing().score.success_rate, 1.0);
    assert!(b.standing().until.unwrap() <= Instant::now() + ms(300_000));
    say(4, TargetReport { outage: outage(0, u64::MAX), ..empty() });
    assert!(b.standing().until.unwrap() <= Instant::now() + ms(40_000), "never longer than our own rests");
}

/// What a peer has lived through: it opened and closed in turn.
fn told(events: &[(u64, u64)], start: Instant) -> Vec<IncomingReport> {
    let mut told = Vec::new();
    let mut numbers = [0; 3];
    let mut at = 0;
    for (peer, later) in events {
        at += later;
        let number = &mut numbers[*peer as usize];
        *number += 1;
        let (written, age) = (start + ms(at), Age::of(start, start));
        let mut report = TargetReport { state: *number, ..empty() };
        if *number % 2 == 1 {
            let left = Remaining::until(start + ms(5000), start);
            report.outage = Some(OutageMsg { age, left, rests: 1, cause: OpenCause::Ratio(0, 20) });
        } else {
            report.back = Some(age);
        }
        told.push(IncomingReport { peer: PeerId(*peer), number: *number, written, report });
    }
    told
}

fn after(
    told: Vec<&IncomingReport>,
    own_success: Option<u64>,
    start: Instant,
    now: Instant,
) -> (ReportedState, Option<Instant>) {
    let b = Gateway::new(7);
    if let Some(at) = own_success {
        let mut health = b.target.state.health.lock();
        let pass = health.breaker.admit(start).unwrap();
        health.breaker.on(pass, Outcome::Success, true, start + ms(at), &mut fastrand::Rng::with_seed(1));
    }
    for IncomingReport { peer, number, written, report } in told {
        let heard =
            IncomingReport { peer: *peer, number: *number, written: *written, report: report.clone() };
        b.target.state.merge(heard, b.me, now);
    }
    let health = b.target.state.health.lock();
    (health.state(now), health.breaker.retry_at())
}

proptest! {
    #[test]
    fn neither_the_order_nor_the_number_of_messages_matters(
        events in prop::collection::vec((0_u64..3, 1_u64..2000), 1..12),
        own_success in prop::option::of(0_u64..10_000),
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let start = Instant::now();
        let told = told(&events, start);
        let now = start + ms(events.iter().map(|(_, later)| later).sum::<u64>());
        let in_order = after(told.iter().collect(), own_success, start, now);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut mixed: Vec<&IncomingReport> = told.iter().chain(&told).collect();
        rng.shuffle(&mut mixed);
        prop_assert_eq!(after(mixed, own_success, start, now), in_order);
        let newest = told.iter().max_by_key(|heard| heard.written).unwrap();
        if own_success.is_some_and(|at| start + ms(at) > newest.written) {
            prop_assert_eq!(in_order.0, ReportedState::Closed);
        }
    }
}
