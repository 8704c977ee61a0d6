//! Gateways that hear of each other, on a paused clock and without a network: what one has seen, the other believes.

mod order;

use std::{cell::RefCell, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::time::{Instant, advance};

use super::{
    message::{Age, CauseMsg, CooldownMsg, Lenient, OutageMsg, Remaining, SampleMsg, TargetReport},
    target_sync::{self, IncomingReport, TargetSync},
};
use crate::{
    config,
    events::Events,
    tasks::Tasks,
    upstream::{
        Attempt, Availability, ChangeNotifier, Eligibility, IneligibleReason, ReportedState, RequestNeed,
        Snapshot, Target, TargetView,
        exchange::outcome::{HardKind, Outcome},
        health::{
            breaker::{BreakerChange, OpenCause, ProbeLease, ProbeState},
            peer_evidence::PeerId,
        },
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
    sync: RefCell<TargetSync>,
}

impl Gateway {
    fn new(me: u64) -> Self {
        let loaded = config::parse("test.toml", CONFIG, &|_| None).unwrap();
        let snapshot = Snapshot::new(loaded.config, None, &Events::new(), &Tasks::new()).unwrap();
        let target = snapshot.find("a/x").unwrap();
        target.state.join(Some(&ChangeNotifier::default()));
        let sync = RefCell::new(TargetSync::new(target.state.clone(), Instant::now()));
        Self { me: PeerId(me), told: 0, target, sync }
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
            report: target_sync::report(&self.target.state, self.me, now),
        }
    }

    fn hears(&self, heard: IncomingReport) -> Option<BreakerChange> {
        self.sync.borrow_mut().merge(heard, self.me, Instant::now())
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
        self.target.state.set_probe_lease(leave);
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
    TargetReport { target: "a/x".into(), ..TargetReport::default() }
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
    assert_eq!(b.tells().report.outage.0, None, "only what was seen is told");
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
    assert_eq!((b.probe(), b.standing().why), (ProbeState::Due, Some(IneligibleReason::AwaitingProbeLease)));
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
    b.target.state.join(None);
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
    b.hears(IncomingReport { report: empty(), ..a.tells() });
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
    assert_eq!(b.standing().why, Some(IneligibleReason::CoolingDown));
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
    let outage = |ms, rest| Lenient(Some(outage(age(ms), left(rest), u32::MAX)));
    assert_eq!(say(1, TargetReport { outage: outage(u64::MAX, 1), ..empty() }), None, "too long ago");
    assert_eq!(say(2, TargetReport { outage: outage(3_600_000, 1), ..empty() }), None, "too long ago");
    let sample = Lenient(Some(SampleMsg { mean: -7.0, count: 1e300, age: age(0) }));
    say(
        3,
        TargetReport {
            rate: sample,
            exhausted: Lenient(Some(CooldownMsg { age: age(0), left: left(u64::MAX) })),
            ..empty()
        },
    );
    assert_eq!(b.standing().score.success_rate, 1.0);
    assert!(b.standing().until.unwrap() <= Instant::now() + ms(300_000));
    say(4, TargetReport { outage: outage(0, u64::MAX), ..empty() });
    assert!(b.standing().until.unwrap() <= Instant::now() + ms(40_000), "never longer than our own rests");
}

fn outage(age: Age, left: Remaining, backoff_exponent: u32) -> OutageMsg {
    let (backoff_exponent, cause) = (Some(backoff_exponent), Some(CauseMsg(OpenCause::Ratio(0, 20))));
    OutageMsg { age, left, backoff_exponent: backoff_exponent.into(), cause: cause.into() }
}

/// The report of a peer as text, as a gateway of another version may write it.
fn text(number: u64, report: serde_json::Value) -> IncomingReport {
    let report = serde_json::from_value(report).unwrap();
    IncomingReport { peer: PeerId(9), number, written: Instant::now(), report }
}

#[tokio::test(start_paused = true)]
async fn gateways_of_several_versions_agree_on_open_and_closed() {
    let mut b = Gateway::new(2);
    let older = json!({ "i": "a/x", "e": 65536,
        "o": { "a": 0, "l": 2000, "r": 1, "c": { "InARow": [5, { "Hard": { "Status": 500 } }] } },
        "k": [{}, {}] });
    assert_eq!(b.hears(text(1, older)), Some(BreakerChange::Opened));
    let cause = OpenCause::InARow(5, Outcome::Hard(HardKind::Status(500)));
    assert_eq!((b.view().state, b.view().cause), (ReportedState::Open, Some(cause)));
    advance(ms(100)).await;
    assert_eq!(b.hears(text(2, json!({ "i": "a/x", "e": 131072, "b": 0 }))), Some(BreakerChange::Closed));
    advance(ms(100)).await;
    let newer = json!({ "i": "a/x", "e": [1, 2], "f": "many", "r": { "median": 0.9 }, "k": {},
        "o": { "a": 0, "l": 2000, "r": 1, "c": { "Eclipse": 5 }, "p": "lunar" } });
    assert_eq!(b.hears(text(3, newer)), Some(BreakerChange::Opened), "only the cause is lost");
    assert_eq!((b.view().state, b.view().cause), (ReportedState::Open, None));
    assert_eq!(b.view().told_by.unwrap().peer, PeerId(9));
    assert_eq!(b.tells().report.outage.0, None);
}
