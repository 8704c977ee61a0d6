//! The page is valid, harmless and readable.

use std::time::Duration;

use super::{
    super::{
        support::{fail, snapshot, succeed},
        view::rows,
    },
    *,
};
use crate::{
    config::TargetName,
    events::Events,
    upstream::{
        outcome::{HardKind, Outcome},
        score::Kind,
    },
};

#[tokio::test(start_paused = true)]
async fn hostile_names_stay_text() {
    let snapshot = snapshot(&Events::new());
    let hostile = r#"<script>alert("1")</script>'&amp;"#;
    snapshot.direct(&TargetName { provider: "fast".into(), model: hostile.into() }).unwrap();
    let html = render(&rows(&snapshot, Moment::current()), Moment::current());
    assert!(!html.to_lowercase().contains("<script") && !html.contains(hostile));
    assert!(html.contains("fast/&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;amp;"));
}

#[tokio::test(start_paused = true)]
async fn hostile_words_of_a_provider_stay_text() {
    let snapshot = snapshot(&Events::new());
    let target = snapshot.find("fast/big").unwrap();
    let mut attempt = super::super::support::attempt(&target, Kind::Stream);
    attempt.failed(Outcome::KeyRefused, "<img src=x onerror=alert(1)>");
    let html = render(&rows(&snapshot, Moment::current()), Moment::current());
    assert!(!html.contains("<img") && html.contains("&lt;img src=x onerror=alert(1)&gt;"));
}

#[tokio::test(start_paused = true)]
async fn everything_of_a_target_is_on_the_page() {
    let snapshot = snapshot(&Events::new());
    succeed(&snapshot, "fast/big", Kind::Stream, &[120, 120]).await;
    fail(&snapshot, "slow/org/big", Outcome::Hard(HardKind::Silent), 5);
    let html = render(&rows(&snapshot, Moment::current()), Moment::current());
    for words in
        ["fast/big", "chat, small", "98.8", "120 ms", "p95", "2 ok · 0 failed", "Next try in", "never"]
    {
        assert!(html.contains(words), "{words}: {html}");
    }
    assert!(html.contains(r#"<span class="state open">open</span>"#));
    assert!(html.contains("2 of 3 targets in service"));
}

#[test]
fn it_refreshes_itself_fits_a_phone_and_needs_nothing_from_elsewhere() {
    let html = render(&[], Moment::current());
    assert!(html.contains(r#"<meta http-equiv="refresh" content="3">"#));
    assert!(html.contains(r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#));
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("No target is configured."));
    for foreign in ["http://", "https://", "url(", "@import", "src=", " style=", " onclick="] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}

/// The hash of what a browser sees between the tags is the one that the policy names.
#[test]
fn the_policy_admits_the_style_sheet_and_nothing_else() {
    let html = render(&[], Moment::current());
    let (_, rest) = html.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let hash = STANDARD.encode(Sha256::digest(style));
    let policy = policy();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(policy.contains(&format!("'sha256-{hash}'")) && !policy.contains("unsafe"));
}

#[test]
fn times_are_told_as_people_do() {
    let now = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let tell = |offset: i64| {
        let span = Duration::from_millis(offset.unsigned_abs());
        relative(&rfc3339(if offset < 0 { now - span } else { now + span }), now)
    };
    assert_eq!(tell(-400), "just now");
    assert_eq!(tell(-12_000), "12 s ago");
    assert_eq!(tell(-600_000), "10 min ago");
    assert_eq!(tell(-90_000_000), "25 h ago");
    assert_eq!(tell(-400_000_000), "4 d ago");
    assert_eq!(tell(1_500), "in 2 s");
    assert_eq!(relative("never", now), "never");
}
