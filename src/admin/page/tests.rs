//! The page is whole, harmless and readable.

use tokio::time::Instant;

use super::*;
use crate::{
    admin::{
        test_support::{attempt, fail, snapshot, succeed},
        view,
    },
    admission::local::slots_view::{CountView, UserView},
    config::TargetName,
    events::{Event, Events},
    upstream::{
        exchange::outcome::{HardKind, Outcome},
        health::score::LatencyKind,
    },
};

const HOSTILE: &str = r#"<script>alert("1")</script>'&amp;<img src=x onerror=alert(1)>"#;

fn sight(snapshot: &Snapshot) -> PageData<'_> {
    let at = Moment::current();
    PageData {
        at,
        snapshot,
        rows: view::rows(snapshot, at),
        history: Arc::default(),
        requests: Vec::new(),
        slots: SlotsView { total: CountView::default(), users: Vec::new() },
        past: Vec::new(),
        memory: None,
        redis: None,
        last_reload: None,
    }
}

fn drawn(snapshot: &Snapshot) -> String {
    render(&sight(snapshot)).unwrap()
}

/// What is between the first `from` and the next `to`.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    html.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[tokio::test(start_paused = true)]
async fn everything_of_a_target_is_on_the_page() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "fast/big", LatencyKind::Stream, &[120, 120]).await;
    fail(&snapshot, "slow/org/big", Outcome::Hard(HardKind::Silent), 5);
    let html = drawn(&snapshot);
    for words in [
        "also <bdi>tiny</bdi>",
        "then <bdi>small</bdi>",
        ">98.8<",
        "100 × 1.000 − 10 × 0.12 s",
        "2 ok · 0 failed",
        r#"class="state open">open<"#,
        "next try <time",
        "7.00 s",
        "2 of 3 targets are in service. slow/org/big: open",
        r#"action="/admin/providers/slow%2Forg%2Fbig/drain""#,
        "Who would be asked now",
        "Not asked:",
        "Not reloaded since the start.",
        "Memory is switched off.",
    ] {
        assert!(html.contains(words), "{words}: {html}");
    }
    // The figures are those of streams, and `fast/big` is in both models.
    assert_eq!(html.matches(r#"data-key="fast/big""#).count(), 2);
    assert_eq!(html.matches(">First token<").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_leans_on_is_on_the_page_and_what_became_of_it() {
    let events = Events::new();
    let snapshot = snapshot(&events);
    for (part, up) in [("memory_store", false), ("redis", false), ("redis", true)] {
        events.record(Event::Part { part, up });
    }
    let mut sight = sight(&snapshot);
    let html = render(&sight).unwrap();
    assert!(!html.contains("<dt>Redis") && html.contains("<dt>Memory</dt><dd>off"), "nothing is wanted");
    (sight.past, sight.redis) = (events.past(), Some((false, 1)));
    sight.memory = Some((RecallCounts { found: 1234, ..RecallCounts::default() }, false));
    let html = render(&sight).unwrap();
    for words in ["Memory store: away", "Redis: away", "Redis: back", "<dt>Redis, 1 gateway</dt>", ">1,234<"]
    {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert_eq!(html.matches(r#"<span class="bad">away</span>"#).count(), 3, "{html}");
    sight.redis = Some((true, 2));
    assert!(render(&sight).unwrap().contains("<dt>Redis, 2 gateways</dt><dd>ok</dd>"));
}

#[tokio::test(start_paused = true)]
async fn a_drained_target_is_offered_to_be_resumed() {
    let snapshot = snapshot(&Events::new());
    snapshot.find("fast/small").unwrap().state.drain(true, Instant::now());
    let html = drawn(&snapshot);
    assert!(html.contains("/admin/providers/fast%2Fsmall/resume"));
    assert!(!html.contains("/admin/providers/fast%2Fsmall/drain"));
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_from_elsewhere_stays_text() {
    let events = Events::new();
    let snapshot = snapshot(&events);
    snapshot.ad_hoc(&TargetName { provider: "fast".into(), model: HOSTILE.into() }).unwrap();
    let mut failing = attempt(&snapshot.find("fast/big").unwrap(), LatencyKind::Stream);
    failing.failed(Outcome::KeyRefused, HOSTILE);
    events.record(Event::Failover {
        request: HOSTILE.into(),
        from: HOSTILE.into(),
        to: Some(HOSTILE.into()),
        reason: HOSTILE.into(),
        elapsed_ms: 1,
    });
    let mut sight = sight(&snapshot);
    sight.past = events.past();
    sight.slots.users.push(UserView {
        user: HOSTILE.into(),
        sum: CountView { in_use: 1, waiting: 2, limit: 10 },
        operations: Default::default(),
    });
    sight.requests.push(call::CallView {
        id: HOSTILE.into(),
        user: HOSTILE.into(),
        operation: "chat",
        model: HOSTILE.into(),
        target: Some(HOSTILE.into()),
        phase: call::Phase::Asking,
        attempts: 2,
        elapsed_ms: 1234,
    });
    sight.last_reload = Some(Reloaded { at: "now".into(), ok: false, messages: vec![HOSTILE.into()] });
    let html = render(&sight).unwrap();
    let body = between(&html, "<body>", "<script>");
    assert!(!body.contains("<img") && !body.contains("alert(\""), "{body}");
    assert!(body.matches("alert(").count() >= 10, "every place shows it as text");
}

#[tokio::test(start_paused = true)]
async fn long_lists_end_and_say_so() {
    let snapshot = snapshot(&Events::new());
    for number in 0..MAX_TARGETS {
        snapshot.ad_hoc(&TargetName { provider: "fast".into(), model: format!("m{number}") }).unwrap();
    }
    let mut sight = sight(&snapshot);
    for number in 0..=MAX_ROWS {
        let sum = CountView { in_use: number, waiting: 0, limit: 1000 };
        let user = format!("user-{number}");
        sight.slots.users.push(UserView { user, sum, operations: Default::default() });
    }
    let html = render(&sight).unwrap();
    assert_eq!(html.matches(r#"class="hands""#).count(), MAX_TARGETS);
    assert!(html.contains("And 1 more users.") && !html.contains("user-0<"), "the idlest is left out");
    assert!(html.contains("3 more targets are in"));
}

#[tokio::test(start_paused = true)]
async fn it_needs_nothing_from_elsewhere() {
    for html in [drawn(&snapshot(&Events::new())), sign_in().unwrap()] {
        for foreign in ["https://", "url(", "@import", " src=", " style=", " onclick=", "javascript:"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(html.contains(r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#));
        assert!(html.contains("prefers-color-scheme: dark"));
    }
}

/// Who is not signed in learns nothing, not even that there are targets.
#[test]
fn the_form_for_the_token_shows_nothing_of_the_gateway() {
    let html = sign_in().unwrap();
    let body = between(&html, "<body>", "<script>");
    assert!(body.contains(r#"type="password""#) && !body.contains("data-figure") && !body.contains("<table"));
}

/// The hashes of what a browser sees between the tags are those that the policy names.
#[tokio::test(start_paused = true)]
async fn the_policy_admits_the_style_and_the_script_and_nothing_else() {
    let policy = policy();
    for html in [drawn(&snapshot(&Events::new())), sign_in().unwrap()] {
        for (directive, from, to) in
            [("style-src", "<style>", "</style>"), ("script-src", "<script>", "</script>")]
        {
            let hash = STANDARD.encode(Sha256::digest(between(&html, from, to)));
            assert!(policy.contains(&format!("{directive} 'sha256-{hash}';")), "{directive} {policy}");
        }
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
    for part in ["connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{part}");
    }
}
