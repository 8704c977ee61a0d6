//! Requests and tokens a minute, over two gateways: exact, settled, and reported in headers.

use concierge_testkit::{
    Client, ConfigFile, Reply, Script, eventually, ms,
    openai::{ask, sane},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use super::{redis::Several, setup::many};

fn roomy(config: ConfigFile) -> ConfigFile {
    config.set("slots", "operations", "{ chat = 100 }").set("slots", "queue", "100")
}

fn left(reply: &Reply, what: &str) -> u64 {
    let name = format!("x-ratelimit-remaining-{what}");
    reply.header(&name).parse().unwrap_or_else(|_| panic!("{name}: {reply:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_over_both_gateways() {
    let change = |config| roomy(config).set("limits", "requests_per_minute", "20");
    let Some(several) = Several::start(2, "closed", change).await else { return };
    let clients = [several.of(0, "u"), several.of(1, "u")];
    let begun = Instant::now();
    let replies = many(60, 30, |n| {
        let client = clients[n % 2].clone();
        async move { client.chat(&ask("m")).await }
    })
    .await;
    let came_back = begun.elapsed().as_secs() as usize / 3 + 1;
    let (good, bad): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.code() == 200);
    assert!((20..=20 + came_back).contains(&good.len()), "{}", good.len());
    for reply in bad {
        assert_eq!((reply.code(), reply.error_code().as_str()), (429, "rate_limit_exceeded"), "{reply:?}");
        let millis: u64 = reply.header("retry-after-ms").parse().unwrap();
        assert!((1..=3000).contains(&millis), "{millis}");
    }
    let mut told: Vec<u64> = good.iter().map(|reply| left(reply, "requests")).collect();
    told.sort_unstable();
    assert_eq!((told[0], told.last()), (0, Some(&19)), "{told:?}");
    // Other users are not affected; what is not counted reports the same everywhere.
    let other = several.of(1, "other").chat(&ask("m")).await;
    assert_eq!((other.code(), left(&other, "requests")), (200, 19));
    let models = several.of(0, "other").get("/v1/models").await;
    assert_eq!((models.code(), left(&models, "requests")), (200, 19));
    assert_eq!(
        models.header("x-ratelimit-reset-requests").trim_end_matches('s').parse::<f64>().unwrap().ceil(),
        3.0
    );
    let held = several.of(0, "u").get("/v1/models").await;
    assert_eq!((held.code(), left(&held, "requests") <= 1), (200, true), "asking is not counted");
}

/// The tokens remaining, from a request that reserves next to nothing and costs nothing.
async fn find_left(several: &Several, client: &Client) -> u64 {
    several.provider.next(Script::json(
        json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})
        .to_string(),
    ));
    left(&client.chat(&of_size(1)).await, "tokens")
}

fn of_size(max_tokens: u32) -> Value {
    json!({"model": "m", "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_held_back_and_settled_over_both() {
    let change = |config| roomy(config).set("limits", "tokens_per_minute", "1000");
    let Some(several) = Several::start(2, "closed", change).await else { return };
    let (ann, there) = (several.of(0, "ann"), several.of(1, "ann"));
    let first = ann.chat(&of_size(800)).await;
    assert_eq!(first.code(), 200, "{first:?}");
    assert!(left(&first, "tokens") < 200, "held back: {first:?}");
    // Settled after the answer, so soon and not at once.
    eventually(
        "what was not used is given back, to the other gateway too",
        Duration::from_secs(5),
        || async { (900..1000).contains(&find_left(&several, &there).await).then_some(()) },
    )
    .await;
    several.provider.script(|request| sane(request, "fine").head_after(ms(2000)));
    let clients = [several.of(0, "bob"), several.of(1, "bob")];
    let replies = many(40, 40, |n| {
        let client = clients[n % 2].clone();
        async move { client.chat(&of_size(180)).await }
    })
    .await;
    let good = replies.iter().filter(|reply| reply.code() == 200).count();
    assert!((1..=5).contains(&good), "{good} × 180 of 1000 at once");
    let refused = replies.iter().find(|reply| reply.code() != 200).unwrap();
    assert_eq!((refused.code(), refused.error_code().as_str()), (429, "token_limit_exceeded"), "{refused:?}");
    several.provider.heal();
}

/// A client that leaves releases its reservation.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_requests_hold_no_tokens() {
    let change = |config| roomy(config).set("limits", "tokens_per_minute", "1000");
    let Some(several) = Several::start(2, "closed", change).await else { return };
    several.provider.script(|request| sane(request, "fine").head_after(ms(2000)));
    let clients = [several.of(0, "u"), several.of(1, "u")];
    many(60, 5, |n| {
        let client = clients[n % 2].clone();
        async move { drop(tokio::time::timeout(ms(n as u64 % 40), client.chat(&of_size(180))).await) }
    })
    .await;
    several.all_free(Duration::from_secs(10)).await;
    several.provider.heal();
    eventually("everything is given back", Duration::from_secs(5), || async {
        (find_left(&several, &clients[0]).await > 980).then_some(())
    })
    .await;
}
