//! The simulator is deterministic, its luck is the same for everybody, and what the product promises of routing holds
//! on a few key traces.

use super::{
    catalogue,
    cost::{ERROR, Tally, WASTED},
    engine,
    study::Entrant,
    trace::{Episode, Script, Trace, Trouble},
};

/// Five requests a second for a minute and a half over three targets; the fastest has `trouble` for half a minute.
fn struck(trouble: Trouble) -> Trace {
    let mut targets = [0.3, 0.5, 0.5].map(Script::with_median).to_vec();
    targets[0].episodes.push(Episode { from: 30.0, to: 60.0, trouble });
    let arrivals = (0..450).map(|i| f64::from(i) * 0.2).collect();
    Trace { name: "struck", seed: 7, seconds: 90.0, arrivals, targets }
}

fn regret(entrant: &Entrant, trace: &Trace) -> f64 {
    entrant.run(trace).mean_cost(ERROR) - engine::run(trace, || None).mean_cost(ERROR)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = struck(Trouble::Fails(0.5));
    let everybody = || std::iter::once(Entrant::ours("ours", "")).chain(Entrant::rivals());
    for (one, again) in everybody().zip(everybody()) {
        assert_eq!(one.run(&trace), again.run(&trace));
    }
    let other = Trace { seed: 8, ..trace.clone() };
    let ours = Entrant::ours("ours", "");
    assert_ne!(ours.run(&trace), ours.run(&other));
}

#[test]
fn every_call_is_counted_once() {
    for trouble in [Trouble::Refuses, Trouble::Hangs, Trouble::Cuts(1.0), Trouble::Throttles] {
        let trace = struck(trouble);
        for entrant in std::iter::once(Entrant::ours("ours", "")).chain(Entrant::rivals()) {
            let tally = entrant.run(&trace);
            assert_eq!(tally.calls, 450);
            assert!(tally.first_tokens.len() <= 450 && tally.errors <= 450);
            assert!(tally.first_tokens.iter().all(|wait| (0.0..=60.0).contains(wait)));
        }
    }
}

#[test]
fn nobody_beats_the_oracle_where_luck_decides_nothing() {
    let trace = struck(Trouble::Refuses);
    let oracle = engine::run(&trace, || None);
    assert_eq!((oracle.errors, oracle.wasted), (0, 0));
    for entrant in std::iter::once(Entrant::ours("ours", "")).chain(Entrant::rivals()) {
        assert!(regret(&entrant, &trace) > 0.0);
    }
}

#[test]
fn prices_are_what_they_say() {
    let mut tally = Tally::default();
    tally.answered(2.0);
    tally.wasted();
    tally.refused(1.0);
    assert!((tally.mean_cost(ERROR) - (2.0 + WASTED + 1.0 + ERROR) / 2.0).abs() < 1e-9);
    assert_eq!(tally.first_token(0.99), 2.0);
}

/// The promise behind the published figure, on the traces where it matters most, against every rival.
#[test]
fn ours_regrets_the_least_when_targets_hang_or_slow_down() {
    let ours = Entrant::ours("ours", "");
    for trouble in [Trouble::Hangs, Trouble::Slower(10.0)] {
        let trace = struck(trouble);
        let own = regret(&ours, &trace);
        for (rival, name) in Entrant::rivals().zip(super::rivals::ALL.map(|(name, _)| name)) {
            let theirs = regret(&rival, &trace);
            assert!(own < theirs, "{trouble:?}: {own:.3} against {theirs:.3} of {name}");
        }
    }
}

/// Without the crowding in its latency, ours would bury one target after the other.
#[test]
fn a_burst_does_not_bury_the_best_target() {
    let bursts = (0..catalogue::kinds()).find(|kind| catalogue::trace(*kind, 1).name == "bursts").unwrap();
    let trace = (1..).map(|seed| catalogue::trace(bursts, seed)).find(|trace| trace.targets.len() >= 6);
    let trace = trace.unwrap();
    let own = regret(&Entrant::ours("ours", ""), &trace);
    assert!(own < 0.5, "{own:.3}");
}
