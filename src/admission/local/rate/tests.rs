//! The limits as callers see them, on a paused clock.

use tokio::time::{Instant, advance};

use std::time::Duration;

use super::*;
use crate::admission::{
    local::usage_table::{MAX_USERS, UsageTable},
    rate_limit_headers::RateLimitState,
};

fn limits(requests: Option<u32>, tokens: Option<u32>) -> config::LimitsConfig {
    config::LimitsConfig { requests_per_minute: requests, tokens_per_minute: tokens }
}

fn user(name: &str) -> UserId {
    UserId::authenticated(name).unwrap()
}

fn cost(prompt: u64, answer: u64) -> TokenCost {
    TokenCost { prompt, answer: Some(answer) }
}

#[tokio::test(start_paused = true)]
async fn without_limits_nobody_is_refused_remembered_or_told_anything() {
    let limits = RateLimits::new(&limits(None, None));
    for number in 0..10_000 {
        let checked = limits.check(&user(&format!("u{number}")), cost(u64::MAX, u64::MAX));
        assert!(checked.verdict.is_ok());
        assert_eq!(checked.headers, RateHeaders::default());
    }
    assert!(format!("{:?}", limits.usage.lock()).contains("users: {}"));
}

#[tokio::test(start_paused = true)]
async fn a_minutes_requests_may_come_at_once_and_come_back_evenly() {
    let limits = RateLimits::new(&limits(Some(60), None));
    let alice = user("alice");
    for expected in (0..60).rev() {
        let checked = limits.check(&alice, TokenCost::default());
        assert!(checked.verdict.is_ok());
        assert_eq!(checked.headers.requests.unwrap().remaining, expected);
    }
    let checked = limits.check(&alice, TokenCost::default());
    let wait = Duration::from_secs(1);
    assert_eq!(checked.verdict.unwrap_err(), RateRefusal::Requests { retry_after: wait });
    assert_eq!(checked.headers.requests.unwrap().remaining, 0);
    assert!(limits.check(&user("bob"), TokenCost::default()).verdict.is_ok(), "limits are per user");
    advance(wait - Duration::from_millis(1)).await;
    assert!(limits.check(&alice, TokenCost::default()).verdict.is_err());
    advance(Duration::from_millis(1)).await;
    assert!(limits.check(&alice, TokenCost::default()).verdict.is_ok(), "retry-after is enough");
}

#[tokio::test(start_paused = true)]
async fn asking_what_is_left_counts_nothing_and_remembers_nobody() {
    let limits = RateLimits::new(&limits(Some(60), Some(1000)));
    let alice = user("alice");
    let told = |limits: &RateLimits| {
        let RateHeaders { requests, tokens } = limits.remaining(&alice);
        (requests.unwrap(), tokens.unwrap())
    };
    assert_eq!(told(&limits).0, RateLimitState { limit: 60, remaining: 60, reset: Duration::ZERO });
    assert!(format!("{:?}", limits.usage.lock()).contains("users: {}"));
    let checked = limits.check(&alice, cost(100, 0));
    let now = RateHeaders { requests: Some(told(&limits).0), tokens: Some(told(&limits).1) };
    assert_eq!(now, checked.headers, "what the last request was told still holds");
    limits.check(&alice, cost(0, 0)).verdict.unwrap();
    advance(Duration::from_millis(1500)).await;
    let (requests, _) = told(&limits);
    assert_eq!((requests.remaining, requests.reset), (59, Duration::from_millis(500)));
    for _ in 0..58 {
        limits.check(&alice, None).verdict.unwrap();
    }
    assert_eq!(told(&limits).0.remaining, 1, "only the 60 that were counted count");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_model_reads_needs_no_tokens() {
    let limits = RateLimits::new(&limits(None, Some(100)));
    let alice = user("alice");
    let _all = limits.check(&alice, cost(100, 0)).verdict.unwrap();
    assert!(limits.check(&alice, cost(0, 0)).verdict.is_err());
    assert_eq!(limits.check(&alice, None).verdict.unwrap().tokens(), 0);
}

/// Row C4: no request more and none less, however many ask at once.
#[test]
fn a_hundred_parallel_clients_get_exactly_the_limit() {
    const LIMIT: u32 = 500;
    let limits = RateLimits::new(&limits(Some(LIMIT), None));
    let start = Instant::now();
    let allowed = std::thread::scope(|scope| {
        let client =
            || (0..50).filter(|_| limits.check(&user("a"), TokenCost::default()).verdict.is_ok()).count();
        let clients: Vec<_> = (0..100).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    let came_back = start.elapsed().as_secs_f64() * f64::from(LIMIT) / 60.0;
    let most = LIMIT as usize + came_back as usize + 1;
    assert!((LIMIT as usize..=most).contains(&allowed), "{allowed} of {LIMIT}..={most}");
}

/// Row C5.
#[tokio::test(start_paused = true)]
async fn simultaneous_requests_do_not_overspend() {
    let limits = RateLimits::new(&limits(None, Some(10_000)));
    let alice = user("alice");
    limits.check(&alice, cost(9_900, 0)).verdict.unwrap().settle(9_900);
    let all: Vec<_> = (0..64).map(|_| limits.check(&alice, cost(20, 30)).verdict).collect();
    let reserved: u64 = all.iter().flatten().map(LocalReservation::tokens).sum();
    assert_eq!(reserved, 100);
    for one in all.into_iter().flatten() {
        drop(one);
    }
    let left = limits.check(&alice, cost(0, 0)).headers.tokens.unwrap();
    assert_eq!(left.remaining, 100);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cancelled_calls_cost_nothing() {
    let limits = RateLimits::new(&limits(None, Some(1_000)));
    let alice = user("alice");
    for _ in 0..10_000 {
        assert!(limits.check(&alice, cost(100, 900)).verdict.is_ok());
    }
    let mut kept: Vec<_> = (0..10).map(|_| limits.check(&alice, cost(50, 50)).verdict.unwrap()).collect();
    let checked = limits.check(&alice, cost(1, 0));
    assert_eq!(checked.headers.tokens.unwrap().remaining, 0);
    let refused = checked.verdict.unwrap_err();
    assert_eq!(refused, RateRefusal::Tokens { retry_after: Duration::from_millis(60) });
    kept.pop().unwrap().settle(30);
    assert_eq!(limits.check(&alice, cost(0, 0)).headers.tokens.unwrap().remaining, 70);
}

#[tokio::test(start_paused = true)]
async fn an_open_answer_does_not_lock_a_small_limit() {
    let limits = RateLimits::new(&limits(None, Some(1_000)));
    let alice = user("alice");
    let open = TokenCost { prompt: 10, answer: None };
    let calls: Vec<_> = (0..9).map(|_| limits.check(&alice, open).verdict.unwrap()).collect();
    assert!(calls.iter().all(|call| call.tokens() == 110));
    assert!(limits.check(&alice, open).verdict.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_for_its_number_holds_no_tokens() {
    let limits = RateLimits::new(&limits(Some(1), Some(1_000)));
    let alice = user("alice");
    drop(limits.check(&alice, cost(10, 0)));
    let checked = limits.check(&alice, cost(10, 0));
    assert!(matches!(checked.verdict, Err(RateRefusal::Requests { .. })));
    assert_eq!(checked.headers.tokens.unwrap().remaining, 1_000);
    assert_eq!(checked.headers.requests.unwrap().reset, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_spent() {
    let limits_of = limits;
    let limits = RateLimits::new(&limits(Some(5), Some(1_000)));
    let alice = user("alice");
    limits.check(&alice, cost(400, 0)).verdict.unwrap().settle(400);
    let running = limits.check(&alice, cost(100, 0)).verdict.unwrap();
    limits.reconfigure(&limits_of(Some(5), Some(600)));
    let headers = limits.check(&alice, cost(0, 0)).headers;
    assert_eq!(headers.tokens.unwrap().remaining, 100);
    assert_eq!(headers.requests.unwrap().remaining, 2);
    limits.reconfigure(&limits_of(None, None));
    drop(running);
    limits.reconfigure(&limits_of(Some(7), Some(600)));
    assert_eq!(limits.check(&alice, cost(0, 0)).headers.requests.unwrap().remaining, 6);
}

#[test]
fn invented_users_fill_neither_memory_nor_the_place_of_known_ones() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _inside = runtime.enter();
    let mut book = UsageTable::new(limits(Some(10), Some(1_000)));
    let start = Instant::now();
    for number in 0..MAX_USERS {
        assert!(book.check(&user(&format!("x{number}")), cost(1, 1), start).0.is_ok());
    }
    assert!(book.check(&user("new"), cost(1, 1), start).0.is_err());
    assert!(book.check(&user("x7"), cost(1, 1), start).0.is_ok());
    for number in 0..MAX_USERS {
        book.settle(&user(&format!("x{number}")), 2, 1, start);
    }
    // A minute later all are forgotten but the one whose call still runs.
    let later = start + Duration::from_secs(61);
    assert!(book.check(&user("new"), cost(1, 1), later).0.is_ok());
    assert_eq!(format!("{book:?}").matches("UserUsage").count(), 2);
}
