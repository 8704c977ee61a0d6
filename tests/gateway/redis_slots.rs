//! C7 and promise 3 over several gateways: the limit of one user, fair turns, and that no slot is lost.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, Reply, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks, sane},
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::{redis::Several, setup::many};

/// Long enough for all waiting requests, on a busy machine.
const LONG: &str = "\"60s\"";

fn slots(config: ConfigFile, per_user: u32, queue: u32) -> ConfigFile {
    config
        .set("slots", "per_user", &per_user.to_string())
        .set("slots", "operations", &format!("{{ chat = {per_user} }}"))
        .set("slots", "queue", &queue.to_string())
        .set("slots", "queue_timeout", LONG)
}

/// Answers after `pause`.
fn takes(several: &Several, pause: Duration) {
    several.provider.script(move |request| sane(request, "fine").head_after(pause));
}

/// A chat beside the test.
fn begin(client: &Client) -> JoinSet<Reply> {
    let client = client.clone();
    let mut set = JoinSet::new();
    set.spawn(async move { client.chat(&ask("m")).await });
    set
}

async fn end(mut begun: JoinSet<Reply>) -> Reply {
    begun.join_next().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_never_has_more_than_its_limit_over_three_gateways() {
    let Some(several) = Several::start(3, "closed", |config| slots(config, 3, 500)).await else { return };
    takes(&several, ms(20));
    let clients: Vec<Client> = (0..3).map(|gateway| several.of(gateway, "greedy")).collect();
    let replies = many(300, 90, |n| {
        let client = clients[n % 3].clone();
        async move { client.chat(&ask("m")).await.code() }
    });
    assert!(replies.await.iter().all(|code| *code == 200));
    let most = several.provider.high_water();
    assert!((2..=3).contains(&most), "{most}");
    several.all_free(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_is_one_over_all_gateways() {
    let change = |config| slots(config, 3, 500).set("slots", "total", "4");
    let Some(several) = Several::start(3, "closed", change).await else { return };
    takes(&several, ms(20));
    let clients: Vec<Client> = (0..9).map(|n| several.of(n % 3, &format!("user {}", n / 3))).collect();
    let replies = many(180, 60, |n| {
        let client = clients[n % 9].clone();
        async move { client.chat(&ask("m")).await.code() }
    });
    assert!(replies.await.iter().all(|code| *code == 200));
    assert!(several.provider.high_water() <= 4, "{}", several.provider.high_water());
    several.all_free(Duration::from_secs(5)).await;
}

/// One gateway with a long queue alternates with another that has a request or two.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_take_turns() {
    let Some(several) = Several::start(2, "closed", |config| slots(config, 2, 500)).await else { return };
    takes(&several, ms(100));
    let greedy = several.of(0, "u");
    let mut crowd: JoinSet<Reply> = JoinSet::new();
    for _ in 0..40 {
        let client = greedy.clone();
        crowd.spawn(async move { client.chat(&ask("m")).await });
    }
    several.provider.wait_calls(2).await;
    let modest = several.of(1, "u");
    assert_eq!(modest.chat(&ask("m")).await.code(), 200);
    // Those that run, and two of its own gateway that are ahead of it in Redis: not the thirty behind them.
    let before = several.provider.calls().len();
    assert!(before <= 15, "{before} of 41 went first");
    while let Some(reply) = crowd.join_next().await {
        assert_eq!(reply.unwrap().code(), 200);
    }
    assert!(several.provider.high_water() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_mean_the_same_over_gateways() {
    let change =
        |config| slots(config, 1, 1).set("slots", "queue_timeout", "\"8s\"").set("slots", "total", "2");
    let Some(several) = Several::start(2, "closed", change).await else { return };
    takes(&several, Duration::from_secs(300));
    let running = begin(&several.of(0, "u"));
    several.provider.wait_calls(1).await;
    // The place for one waiter is taken by a request that has a slot of its gateway but no lease.
    let mut waiting = begin(&several.of(1, "u"));
    eventually("one waits", Duration::from_secs(10), || async {
        (several.redis.say("KEYS concierge:u:*:chat:waiting").await == "*1").then_some(())
    })
    .await;
    let full = several.of(1, "u").chat(&ask("m")).await;
    assert_eq!((full.code(), full.error_code().as_str()), (429, "queue_full"), "{full:?}");
    assert!(waiting.try_join_next().is_none(), "at once, not when the place became free");
    let view = several.of(1, "u").get("/admin/slots").await.json();
    let line = &view["users"][0]["operations"]["chat"];
    assert_eq!(line, &json!({"in_use": 0, "waiting": 1, "limit": 1}), "{view}");
    let late = end(waiting).await;
    assert_eq!((late.code(), late.error_code().as_str()), (429, "queue_timeout"), "{late:?}");
    assert!(late.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    // Another user has a slot left, and then all gateways together have none.
    let other = begin(&several.of(1, "v"));
    several.provider.wait_calls(2).await;
    let third = several.of(0, "w").chat(&ask("m")).await;
    assert_eq!((third.code(), third.error_code().as_str()), (503, "overloaded"), "{third:?}");
    drop((running, other));
    several.all_free(Duration::from_secs(10)).await;
}

/// C1 over gateways: before the reply of Redis, while waiting there, before the head, in the middle of a stream.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_at_any_moment_leave_no_lease_behind() {
    let Some(several) = Several::start(2, "closed", |config| slots(config, 2, 100)).await else { return };
    several.provider.script(|_| Script::sse(chat_chunks("m", SIXTY)).head_after(ms(5)).every(ms(2)));
    let clients = [several.of(0, "u"), several.of(1, "u")];
    many(300, 30, |n| {
        let client = clients[n % 2].clone();
        async move {
            let patience = Duration::from_millis((n as u64 * 7919) % 120);
            drop(timeout(patience, client.stream(&ask_stream("m"))).await);
        }
    })
    .await;
    several.all_free(Duration::from_secs(10)).await;
    several.provider.heal();
    assert_eq!(several.of(0, "u").chat(&ask("m")).await.code(), 200);
}

/// The slots of a killed gateway are free within 30 s, and not before its requests have ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_loses_its_slots_in_time() {
    let Some(several) = Several::start(3, "closed", |config| slots(config, 2, 50)).await else { return };
    takes(&several, Duration::from_secs(300));
    let mut lost: JoinSet<()> = JoinSet::new();
    for _ in 0..2 {
        let client = several.of(0, "u");
        lost.spawn(async move { drop(timeout(Duration::from_secs(2), client.chat(&ask("m"))).await) });
    }
    several.provider.wait_calls(2).await;
    takes(&several, ms(20));
    // At the last moment before it would renew, or just after: either way within thirty seconds.
    several.gateways[0].signal("KILL");
    let clients = [several.of(1, "u"), several.of(2, "u")];
    let replies = many(20, 20, |n| {
        let client = clients[n % 2].clone();
        async move { timeout(Duration::from_secs(40), client.chat(&ask("m"))).await.map(|reply| reply.code()) }
    });
    assert!(replies.await.iter().all(|code| *code == Ok(200)));
    assert!(several.provider.high_water() <= 2, "{}", several.provider.high_water());
    several.all_free(Duration::from_secs(5)).await;
    drop(lost);
}
