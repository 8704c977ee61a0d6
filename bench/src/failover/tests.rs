//! The wall and the judge together, without a gateway: a careful client alone must get what was published for
//! "no gateway", or the faults are not the published ones.

use concierge_testkit::Client;

use super::{
    catalogue::SCENARIOS,
    judge, observe,
    verdict::{
        Seen,
        Verdict::{self, *},
    },
    wall::{Timing, Wall},
};

async fn alone(id: &str) -> (Verdict, Seen) {
    let scenario = SCENARIOS.iter().find(|s| s.id == id).unwrap();
    let timing = Timing { slow_first_token: Timing::FAST.token * 40, ..Timing::FAST };
    let wall = Wall::start(timing).await;
    let client = Client::new(wall.base_url().trim_end_matches("/v1"));
    let seen = observe(&client, scenario, timing, &wall).await;
    (judge(scenario, &seen).verdict, seen)
}

#[tokio::test]
async fn without_a_gateway_the_faults_reach_the_client() {
    for id in ["S01", "S02", "S03", "S04", "S05", "S08", "S12", "S14", "S16"] {
        let (verdict, seen) = alone(id).await;
        assert_eq!(verdict, Safe, "{id}: {seen:?}");
        assert!(seen.alive_after && seen.primary.len() == 1 && seen.fallback.is_empty(), "{id}: {seen:?}");
    }
}

#[tokio::test]
async fn without_a_gateway_four_faults_do_no_harm() {
    for id in ["S07", "S10", "S11", "S13"] {
        let (verdict, seen) = alone(id).await;
        assert_eq!(verdict, Pass, "{id}: {seen:?}");
    }
}

#[tokio::test]
async fn the_slow_token_is_slow_and_the_cut_is_where_it_should_be() {
    let (_, slow) = alone("S07").await;
    assert!(slow.first_token.unwrap() >= 0.2, "{slow:?}");
    let (_, cut) = alone("S08").await;
    assert!(cut.error.is_some() && !cut.complete, "{cut:?}");
}

#[tokio::test]
async fn a_prefill_is_continued_or_refused() {
    let wall = Wall::start(Timing::FAST).await;
    let client = Client::new(wall.base_url().trim_end_matches("/v1"));
    let mut body = super::ask("fb-ok", true);
    let said = "one two three";
    let prefill = serde_json::json!({"role": "assistant", "content": said});
    body["messages"].as_array_mut().unwrap().push(prefill);
    let rest = client.stream(&body).await.text();
    assert_eq!(format!("{said}{rest}"), concierge_testkit::openai::SIXTY);
    body["model"] = "fb-ok-noprefill".into();
    assert_eq!(client.stream(&body).await.status, 400);
    assert_eq!(wall.prefill_refused(), 1);
}
