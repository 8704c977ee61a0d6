//! The mock under the real load, without a gateway: each fault must reach the callers, or the storm proves nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fault, Mock};
use crate::storm::{
    figures::{Callers, Window},
    load,
};

/// A second of load on a provider with this fault.
async fn under_load(fault: Fault) -> Callers {
    let mock = Mock::start(7).await;
    mock.turn(fault).await;
    let url = mock.provider().base_url();
    let samples = load::run(url.trim_end_matches("/v1"), Instant::now(), Duration::from_secs(1)).await;
    Callers::of(&samples, Window::seconds(0.0, 1.0))
}

#[tokio::test]
async fn a_healthy_one_serves_all_in_time() {
    let callers = under_load(Fault::Healthy).await;
    assert_eq!((callers.requests, callers.error_count(), callers.cut_shown_as_whole), (200, 0, 0));
    let [p50, _, p99] = callers.first_token_ms;
    assert!(p50 >= 20.0 && p99 >= 80.0 && p50 < p99, "{callers:?}");
}

#[tokio::test]
async fn a_slow_one_is_ten_times_slower() {
    let callers = under_load(Fault::Slow).await;
    assert!(callers.first_token_ms[0] >= 300.0, "{callers:?}");
}

#[tokio::test]
async fn a_refusing_one_serves_nobody_until_it_is_healed() {
    assert_eq!(under_load(Fault::Refuse).await.error_count(), 200);
    let mock = Mock::start(7).await;
    mock.turn(Fault::Refuse).await;
    mock.turn(Fault::Healthy).await;
    let client = concierge_testkit::Client::new(mock.provider().base_url().trim_end_matches("/v1"));
    assert_eq!(client.chat(&load::ask(false)).await.status, 200);
}

#[tokio::test]
async fn failures_are_told_by_kind() {
    assert_eq!(under_load(Fault::Fail).await.errors["500 server_error"], 200);
    assert_eq!(under_load(Fault::Limit).await.errors["429 rate_limit_exceeded"], 200);
    let half = under_load(Fault::FailHalf).await.error_count();
    assert!((60..=140).contains(&half), "{half} of 200");
}

#[tokio::test]
async fn every_cut_breaks_the_connection_in_sight_of_the_caller() {
    let callers = under_load(Fault::Cut).await;
    assert_eq!((callers.error_count(), callers.cut_shown_as_whole), (200, 0), "{callers:?}");
}
