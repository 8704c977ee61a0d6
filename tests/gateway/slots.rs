//! C1–C5, promises 2 and 3: the limits of one user at once and in a minute, and that no slot is lost.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, Reply, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_answer, chat_chunks, sane, usage_chunk},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::setup::{Stage, begin, many};

/// Delay of the provider's answers.
const SLOW: Duration = Duration::from_millis(300);

async fn stage(per_user: u32, more: impl FnOnce(ConfigFile) -> ConfigFile) -> Stage {
    let set = |c: ConfigFile| {
        let each = format!("{{ chat = {per_user}, embeddings = {per_user} }}");
        more(c.set("slots", "per_user", &per_user.to_string()).set("slots", "operations", &each))
    };
    Stage::single(|c| set(c.set("resilience", "answer_timeout", "\"10s\""))).await
}

fn slow(stage: &Stage) {
    stage.a.script(|request| sane(request, "fine").head_after(SLOW));
}

fn of(stage: &Stage, user: &str) -> Client {
    stage.client.clone().header("x-user-id", user)
}

/// The user's row in `/admin/slots`; null if there is none.
async fn line(stage: &Stage, user: &str) -> Value {
    let view = stage.client.get("/admin/slots").await.json();
    let users = view["users"].as_array().unwrap();
    users.iter().find(|line| line["user"] == user).cloned().unwrap_or_default()
}

/// Starts a chat beside the test; returns its status.
fn begin_chat(client: &Client) -> JoinSet<u16> {
    let client = client.clone();
    begin(async move { client.chat(&ask("m")).await.code() })
}

async fn end<T: 'static>(mut begun: JoinSet<T>) -> T {
    begun.join_next().await.unwrap().unwrap()
}

async fn all_free(stage: &Stage) {
    let look = || async {
        let view = stage.client.get("/admin/slots").await.json();
        (view["users"] == json!([]) && view["total"]["in_use"] == 0).then_some(())
    };
    eventually("no slot is held", Duration::from_secs(5), look).await;
}

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.code(), reply.error_code().as_str()), (status, code), "{reply:?}");
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    let millis: u64 = reply.header("retry-after-ms").parse().unwrap();
    assert!((1..=60).contains(&seconds) && millis > 0 && millis <= seconds * 1000, "{reply:?}");
    assert!(!reply.header("x-request-id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_never_has_more_than_its_limit_upstream() {
    let stage = stage(3, |c| c.set("slots", "queue", "500").set("slots", "queue_timeout", "\"60s\"")).await;
    stage.a.script(|request| sane(request, "fine").head_after(ms(20)));
    let client = of(&stage, "greedy");
    let replies = many(300, 100, move |_| {
        let client = client.clone();
        async move { client.chat(&ask("m")).await.code() }
    });
    assert!(replies.await.iter().all(|code| *code == 200));
    assert!(stage.a.high_water() <= 3, "{}", stage.a.high_water());
    all_free(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_does_not_wait_for_the_greedy_one() {
    let stage = stage(2, |c| c.set("slots", "queue", "50")).await;
    slow(&stage);
    let greedy = of(&stage, "greedy");
    let crowd = begin(many(20, 20, move |_| {
        let greedy = greedy.clone();
        async move { greedy.chat(&ask("m")).await.code() }
    }));
    stage.a.wait_calls(2).await;
    let reply = of(&stage, "modest").chat(&ask("m")).await;
    assert_eq!(reply.code(), 200);
    let greedy = line(&stage, "greedy").await;
    assert!(greedy["waiting"].as_u64().unwrap() > 0, "answered before the greedy one's: {greedy}");
    assert!(end(crowd).await.iter().all(|code| *code == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_asks_nobody() {
    let stage = stage(1, |c| c.set("slots", "queue", "2")).await;
    // Long enough for the checks below.
    stage.a.script(|request| sane(request, "fine").head_after(ms(1000)));
    let client = of(&stage, "u");
    let crowd = begin({
        let client = client.clone();
        many(3, 3, move |_| {
            let client = client.clone();
            async move { client.chat(&ask("m")).await }
        })
    });
    let full = || async { (line(&stage, "u").await["waiting"] == 2).then_some(()) };
    eventually("two wait", Duration::from_secs(2), full).await;
    let view = line(&stage, "u").await;
    assert_eq!(view["operations"]["chat"], json!({"in_use": 1, "waiting": 2, "limit": 1}), "{view}");
    refused(&client.chat(&ask("m")).await, 429, "queue_full");
    assert_ne!(line(&stage, "u").await["waiting"], 0, "it did not wait for them");
    let replies = end(crowd).await;
    assert!(replies.iter().all(|reply| reply.code() == 200));
    let mut waits: Vec<u64> =
        replies.iter().map(|reply| reply.header("x-concierge-queue-ms").parse().unwrap()).collect();
    waits.sort_unstable();
    assert!(waits[1] >= 700 && waits[2] >= 1700, "{waits:?}");
    assert_eq!(stage.calls().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_is_told_and_never_reaches_a_provider() {
    let stage = stage(1, |c| c.set("slots", "queue_timeout", "\"400ms\"")).await;
    stage.a.next(Script::json(chat_answer("m", SIXTY)).head_after(ms(1500)));
    let client = of(&stage, "u");
    let first = begin_chat(&client);
    stage.a.wait_calls(1).await;
    let asked = Instant::now();
    let reply = client.chat(&ask_stream("m")).await;
    let waited = asked.elapsed();
    refused(&reply, 429, "queue_timeout");
    // And less than until the first one's end.
    assert!(waited >= ms(400) && waited < ms(1400), "{waited:?}");
    let queued: u64 = reply.header("x-concierge-queue-ms").parse().unwrap();
    assert!((400..1400).contains(&queued), "{queued}");
    assert_eq!(reply.header("x-concierge-attempts"), "0");
    assert_eq!(end(first).await, 200);
    assert_eq!(stage.calls().0, 1);
    all_free(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_gateway_is_overloaded() {
    let stage = stage(5, |c| c.set("slots", "total", "1").set("slots", "queue_timeout", "\"200ms\"")).await;
    stage.a.next(Script::json(chat_answer("m", SIXTY)).head_after(ms(1000)));
    let first = begin_chat(&of(&stage, "a"));
    stage.a.wait_calls(1).await;
    refused(&of(&stage, "b").chat(&ask("m")).await, 503, "overloaded");
    assert_eq!(end(first).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_have_slots_of_their_own() {
    let stage = stage(1, |c| c.set("slots", "queue", "0")).await;
    slow(&stage);
    let client = of(&stage, "u");
    let chat = begin_chat(&client);
    stage.a.wait_calls(1).await;
    refused(&client.chat(&ask("m")).await, 429, "queue_full");
    let embeddings = client.post("/v1/embeddings", &json!({"model": "m", "input": "x"})).await;
    assert_eq!(embeddings.code(), 200, "{embeddings:?}");
    assert_eq!(end(chat).await, 200);
}

/// C1 and S6: in the queue, before the head, in the middle of a stream.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_at_any_moment_leave_no_slot_behind() {
    let stage = stage(2, |c| c.set("slots", "queue", "100")).await;
    stage.a.script(|_| Script::sse(chat_chunks("m", SIXTY)).head_after(ms(5)).every(ms(2)));
    let client = of(&stage, "u");
    many(300, 30, move |n| {
        let client = client.clone();
        async move {
            let patience = Duration::from_millis((n as u64 * 7919) % 120);
            drop(timeout(patience, client.stream(&ask_stream("m"))).await);
        }
    })
    .await;
    all_free(&stage).await;
    stage.a.heal();
    assert_eq!(of(&stage, "u").chat(&ask("m")).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_held_to_the_last_byte() {
    let stage = stage(1, |c| c.set("slots", "queue", "0")).await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).every(ms(40)));
    let client = of(&stage, "u");
    let mut open = client.open_stream(&ask_stream("m")).await;
    open.until("three").await;
    refused(&client.chat(&ask("m")).await, 429, "queue_full");
    open.hear().await;
    all_free(&stage).await;
    assert_eq!(client.chat(&ask("m")).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_limit() {
    let stage = stage(1, |c| c.set("slots", "queue", "0")).await;
    stage.a.next(Script::json(chat_answer("m", SIXTY)).head_after(ms(1500)));
    let client = of(&stage, "u");
    let first = begin_chat(&client);
    stage.a.wait_calls(1).await;
    refused(&client.chat(&ask("m")).await, 429, "queue_full");
    stage.gw.write_config(ConfigFile::single(&stage.a).set("slots", "per_user", "2").toml());
    let look = || async { (line(&stage, "u").await["limit"] == 2).then_some(()) };
    eventually("the new limit", Duration::from_secs(5), look).await;
    assert_eq!(client.chat(&ask("m")).await.code(), 200);
    assert_eq!(end(first).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_priority_leaves_the_queue_first() {
    let keys = |c: ConfigFile| {
        c.key("u", "key-of-the-plain-one-1", "").key("u", "key-of-the-urgent-one-1", "priority = 5")
    };
    let stage = stage(1, keys).await;
    slow(&stage);
    let plain = stage.client.clone().key("key-of-the-plain-one-1");
    let urgent = stage.client.clone().key("key-of-the-urgent-one-1");
    let ask_as = |client: &Client, name: &str| {
        let (client, body) = (client.clone(), json!({"model": "m", "name": name, "messages": []}));
        begin(async move { client.chat(&body).await.code() })
    };
    let mut running = vec![ask_as(&plain, "first")];
    stage.a.wait_calls(1).await;
    for (client, name) in [(&plain, "second"), (&plain, "third"), (&urgent, "urgent")] {
        running.push(ask_as(client, name));
        sleep(ms(30)).await;
    }
    for one in running {
        assert_eq!(end(one).await, 200);
    }
    let order: Vec<String> =
        stage.a.calls().iter().map(|call| call.request.json()["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(order, ["first", "urgent", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_per_minute_are_exact_and_told() {
    let stage = stage(100, |c| c.set("limits", "requests_per_minute", "20")).await;
    let client = of(&stage, "u");
    let begun = Instant::now();
    let replies = many(60, 30, {
        let client = client.clone();
        move |_| {
            let client = client.clone();
            async move { client.chat(&ask("m")).await }
        }
    })
    .await;
    let (good, bad): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.code() == 200);
    let came_back = begun.elapsed().as_secs() / 3 + 1;
    assert!((20..=20 + came_back as usize).contains(&good.len()), "{}", good.len());
    for reply in &bad {
        refused(reply, 429, "rate_limit_exceeded");
        assert_eq!(reply.header("x-ratelimit-remaining-requests"), "0");
    }
    assert!(replies.iter().all(|reply| reply.header("x-ratelimit-limit-requests") == "20"));
    assert!(good.iter().any(|reply| reply.header("x-ratelimit-remaining-requests") == "19"));
    assert!(good.iter().all(|reply| reply.header("x-ratelimit-limit-tokens").is_empty()));
    let other = of(&stage, "other").chat(&ask("m")).await;
    assert_eq!((other.code(), other.header("x-ratelimit-remaining-requests")), (200, "19"));
    assert_eq!(other.header("x-ratelimit-reset-requests"), "3s");
}

fn tokens_left(reply: &Reply) -> u64 {
    reply.header("x-ratelimit-remaining-tokens").parse().unwrap()
}

/// The tokens remaining, from a request that reserves next to nothing and costs nothing.
async fn find_left(stage: &Stage, user: &str) -> u64 {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": ""}]});
    stage.a.next(Script::json(
        json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}})
        .to_string(),
    ));
    tokens_left(&of(stage, user).chat(&body).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_settled_with_what_was_really_used() {
    let stage = stage(100, |c| c.set("limits", "tokens_per_minute", "1000")).await;
    let body = json!({"model": "m", "max_tokens": 800, "messages": [{"role": "user", "content": "hi"}]});
    let streamed = json!({"model": "m", "max_tokens": 800, "stream": true,
        "messages": [{"role": "user", "content": "hi"}]});
    for (user, body) in [("whole", &body), ("streamed", &streamed)] {
        let first = of(&stage, user).chat(body).await;
        assert_eq!(first.code(), 200, "{first:?}");
        assert!(tokens_left(&first) < 200, "reserved: {first:?}");
        let left = find_left(&stage, user).await;
        assert!((900..1000).contains(&left), "{user}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_requests_do_not_overspend_and_cancelled_ones_hold_nothing() {
    let stage = stage(100, |c| c.set("limits", "tokens_per_minute", "1000")).await;
    // Longer than it takes to send all of them: an answer would release what it did not use.
    stage.a.script(|request| sane(request, "fine").head_after(ms(2000)));
    let body = json!({"model": "m", "max_tokens": 180, "messages": [{"role": "user", "content": "hi"}]});
    let client = of(&stage, "u");
    let replies = many(64, 64, {
        let (client, body) = (client.clone(), body.clone());
        move |_| {
            let (client, body) = (client.clone(), body.clone());
            async move { client.chat(&body).await }
        }
    })
    .await;
    let good = replies.iter().filter(|reply| reply.code() == 200).count();
    assert!((1..=5).contains(&good), "{good}");
    for reply in replies.iter().filter(|reply| reply.code() != 200) {
        refused(reply, 429, "token_limit_exceeded");
    }
    let gone = of(&stage, "gone");
    many(100, 5, move |_| {
        let (gone, body) = (gone.clone(), body.clone());
        async move { drop(timeout(ms(30), gone.chat(&body)).await) }
    })
    .await;
    all_free(&stage).await;
    stage.a.heal();
    let left = find_left(&stage, "gone").await;
    assert!(left > 980, "{left}");
}

/// Leaving before the provider reports usage does not make an answer free.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_left_costs_what_was_heard() {
    let stage = stage(100, |c| c.set("limits", "tokens_per_minute", "1000")).await;
    let mut script = chat_chunks("m", SIXTY);
    script.push(usage_chunk("m", SIXTY));
    stage.a.next(Script::sse(script).every(ms(10)));
    let mut open = of(&stage, "u").open_stream(&ask_stream("m")).await;
    open.until("twenty").await;
    drop(open);
    all_free(&stage).await;
    let left = find_left(&stage, "u").await;
    assert!((880..=985).contains(&left), "{left}");
}
