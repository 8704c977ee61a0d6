//! The sentences of explanations.

use tokio::time::Instant;

use super::*;
use crate::{
    admin::test_support::{self, fail, snapshot},
    events::Events,
    upstream::exchange::outcome::{HardKind, Outcome},
};

fn explained(snapshot: &Snapshot, name: &str) -> Explanation {
    let model = find(snapshot, name).unwrap();
    explain(snapshot, &model, RequestNeed::default(), Moment::current())
}

#[tokio::test(start_paused = true)]
async fn the_order_is_told_with_chances_and_fallbacks() {
    let told = explained(&snapshot(&Events::new()), "chat");
    let order: Vec<_> = told.order.iter().map(|step| (&*step.target, step.chance, step.fallback)).collect();
    assert_eq!(order, [("fast/big", 0.5, false), ("slow/org/big", 1.0, false), ("fast/small", 1.0, true)]);
    assert_eq!((told.model.as_str(), told.max_attempts, told.stream), ("chat", 3, true));
    assert!(told.not_asked.is_empty());
}

/// Also where a likelier target uses up the attempts of a request.
#[tokio::test(start_paused = true)]
async fn the_shares_of_all_sum_to_one() {
    let one = test_support::CONFIG.replace("[server]", "[resilience]\nmax_attempts = 1\n[server]");
    for config in [test_support::CONFIG, &one] {
        let loaded = crate::config::parse("config.toml", config, &|_| None).unwrap();
        let snapshot =
            Snapshot::new(loaded.config, None, &Events::new(), &crate::tasks::Tasks::new()).unwrap();
        fail(&snapshot, "slow/org/big", Outcome::Hard(HardKind::Connect), 1);
        let told = explained(&snapshot, "chat");
        let shares = told.order.iter().map(|step| step.share).chain(told.not_asked.iter().map(|n| n.share));
        assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9, "{told:#?}");
        assert_eq!(told.order[0].share, told.order[0].chance);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_out_is_told_with_reason_and_time() {
    let snapshot = snapshot(&Events::new());
    fail(&snapshot, "fast/big", Outcome::Hard(HardKind::Connect), 5);
    snapshot.find("fast/small").unwrap().state.drain(true, Instant::now());
    let told = explained(&snapshot, "chat");
    assert_eq!(told.order.iter().map(|step| &*step.target).collect::<Vec<_>>(), ["slow/org/big"]);
    let [open, drained] = &told.not_asked[..] else { panic!("{told:?}") };
    assert_eq!((&*open.target, open.state), ("fast/big", ReportedState::Open));
    assert!(open.reason.starts_with("The circuit breaker is open") && open.retry_at.is_some(), "{open:?}");
    assert_eq!((drained.reason.as_str(), drained.retry_at.as_ref()), ("Drained by an operator.", None));
    assert_eq!((&*drained.model, drained.fallback), ("small", true));
}

#[test]
fn aliases_and_targets_have_an_explanation_and_looking_leaves_no_trace() {
    let snapshot = snapshot(&Events::new());
    assert_eq!(explained(&snapshot, "tiny").model, "small");
    let direct = explained(&snapshot, "slow/never/asked");
    assert_eq!(direct.order[0].target, "slow/never/asked");
    assert_eq!(direct.order[0].reason, "The only target of its model.");
    assert!(snapshot.find("slow/never/asked").is_none());
    for unknown in ["", "chatt", "nobody/x"] {
        assert!(find(&snapshot, unknown).is_none(), "{unknown}");
    }
}
