//! Every rule of the verdict, by the case that would slip through without it.

use super::{
    super::catalogue::SCENARIOS,
    Ended, Outage, Seen,
    Verdict::{self, *},
    judge,
};

/// A rescue by one attempt on each model, one second long.
fn rescued() -> Seen {
    Seen {
        ended: Ended::Success,
        complete: true,
        error: None,
        elapsed: 1.0,
        first_token: Some(0.1),
        model: Some("fb-ok".into()),
        usage: true,
        primary: vec![0.0],
        fallback: vec![0.1],
        prefill_refused: 0,
        alive_after: true,
        outage: None,
    }
}

fn clean_error() -> Seen {
    Seen { ended: Ended::Error, complete: false, error: Some("502".into()), ..rescued() }
}

fn verdict(id: &str, seen: Seen) -> Verdict {
    let scenario = SCENARIOS.iter().find(|s| s.id == id).unwrap();
    judge(scenario, &seen).verdict
}

#[test]
fn a_rescue_passes_and_a_clean_error_is_safe() {
    for id in ["S02", "S04", "S05", "S06", "S07", "S08", "S09", "S10", "S11", "S12", "S14", "S16"] {
        assert_eq!(verdict(id, rescued()), Pass, "{id}");
    }
    for id in ["S02", "S04", "S05", "S06", "S08", "S09", "S12", "S14"] {
        assert_eq!(verdict(id, clean_error()), Safe, "{id}");
    }
}

#[test]
fn a_hang_fails_everywhere() {
    for scenario in &SCENARIOS {
        let seen = Seen { ended: Ended::Hang, complete: false, ..rescued() };
        assert_eq!(judge(scenario, &seen).verdict, Fail, "{}", scenario.id);
    }
}

#[test]
fn a_cut_answer_shown_as_whole_fails() {
    for id in ["S01", "S05", "S08", "S09", "S10", "S14"] {
        assert_eq!(verdict(id, Seen { complete: false, ..rescued() }), Fail, "{id}");
    }
}

#[test]
fn retry_after_must_be_waited_out_on_the_same_route() {
    let at = |primary: &[f64]| verdict("S01", Seen { primary: primary.to_vec(), ..rescued() });
    assert_eq!(at(&[0.0, 2.0]), Pass);
    assert_eq!(at(&[0.0, 1.7]), Partial);
    assert_eq!(at(&[0.0]), Partial);
    assert_eq!(at(&[0.0, 0.1, 0.2]), Fail);
}

#[test]
fn hammering_fails_even_when_it_ends_well() {
    let at = |primary: &[f64]| verdict("S02", Seen { primary: primary.to_vec(), ..rescued() });
    assert_eq!(at(&[0.0, 0.5, 1.0, 2.0]), Pass);
    assert_eq!(at(&[0.0, 0.5, 1.0, 1.5, 2.0]), Fail);
    assert_eq!(at(&[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), Fail);
}

#[test]
fn a_silent_route_is_not_asked_twice_and_not_for_ever() {
    assert_eq!(verdict("S06", Seen { primary: vec![0.0, 30.0], ..rescued() }), Partial);
    assert_eq!(verdict("S06", Seen { elapsed: 101.0, ..rescued() }), Fail);
    assert_eq!(verdict("S07", Seen { elapsed: 21.0, ..rescued() }), Partial);
    assert_eq!(verdict("S09", Seen { elapsed: 46.0, ..rescued() }), Fail);
}

#[test]
fn a_content_filter_is_passed_on_and_not_routed_around() {
    assert_eq!(verdict("S13", clean_error()), Pass);
    assert_eq!(verdict("S13", rescued()), Partial);
    assert_eq!(verdict("S13", Seen { primary: vec![0.0, 0.1], ..clean_error() }), Fail);
}

#[test]
fn a_refused_prefill_must_not_be_the_last_word() {
    assert_eq!(verdict("S14", Seen { prefill_refused: 1, ..clean_error() }), Fail);
    assert_eq!(verdict("S14", Seen { prefill_refused: 1, ..rescued() }), Pass);
}

#[test]
fn the_fallback_must_be_named() {
    assert_eq!(verdict("S16", Seen { model: Some("fb-s16-503-persistent".into()), ..rescued() }), Fail);
    assert_eq!(verdict("S16", Seen { model: Some("wall/fb-ok".into()), ..rescued() }), Pass);
    assert_eq!(verdict("S16", Seen { model: None, ..rescued() }), Fail);
    assert_eq!(verdict("S16", Seen { usage: false, ..rescued() }), Partial);
}

#[test]
fn an_outage_is_served_and_left_behind() {
    let good = Outage { hung: 0, sent: 15, served: 15, primary_attempts: 4, recovered_after: Some(3.0) };
    let with = |outage| verdict("S15", Seen { outage: Some(outage), ..rescued() });
    assert_eq!(with(good.clone()), Pass);
    assert_eq!(with(Outage { primary_attempts: 45, ..good.clone() }), Pass);
    assert_eq!(with(Outage { served: 14, ..good.clone() }), Fail);
    assert_eq!(with(Outage { recovered_after: None, ..good.clone() }), Fail);
    assert_eq!(with(Outage { recovered_after: Some(31.0), ..good.clone() }), Fail);
    assert_eq!(with(Outage { hung: 1, ..good }), Fail);
    assert_eq!(verdict("S15", rescued()), Fail, "without a sequence there is nothing to pass");
}

#[test]
fn informational_checks_are_named_and_do_not_count() {
    let scenario = SCENARIOS.iter().find(|s| s.id == "S15").unwrap();
    let outage = Outage { hung: 0, sent: 15, served: 15, primary_attempts: 16, recovered_after: Some(0.0) };
    let judged = judge(scenario, &Seen { outage: Some(outage), ..rescued() });
    assert_eq!((judged.verdict, judged.failed), (Pass, vec!["probe_discipline?".to_owned()]));
}
