//! C7: Redis down at the start and later, hung, flapping, emptied: with `local` no client notices, with `closed` no
//! limit is exceeded, and nothing needs a restart. Never a 401.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, FakeProvider, RedisServer, eventually, ms,
    openai::{ask, sane},
};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    redis::{RECOVERY, Several, is, metric, on},
    setup::{Load, Sample, errors, gateway, many},
};

/// The limit of the user in these tests, and the number of gateways.
const LIMIT: usize = 4;
const GATEWAYS: usize = 3;

async fn several(on_error: &str) -> Option<Several> {
    let change = |config: ConfigFile| {
        config.set("slots", "operations", &format!("{{ chat = {LIMIT} }}")).set("slots", "queue", "500").set(
            "slots",
            "queue_timeout",
            "\"60s\"",
        )
    };
    let several = Several::start(GATEWAYS, on_error, change).await?;
    several.provider.script(|request| sane(request, "fine").head_after(ms(20)));
    Some(several)
}

/// One user on all gateways, with more than the limit.
fn load(several: &Several) -> Vec<Load> {
    (0..GATEWAYS).map(|n| Load::start(&several.of(n, "u"), 2 * LIMIT, ms(5))).collect()
}

async fn stop(load: Vec<Load>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for one in load {
        samples.extend(one.stop().await);
    }
    samples
}

/// With `closed` the only error is the one refusal.
fn only_unavailable(samples: &[Sample]) {
    let odd: Vec<_> = samples
        .iter()
        .filter(|s| s.status != 200 && (s.status, s.code.as_str()) != (503, "limits_unavailable"))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}

async fn answers_again(client: &Client) {
    eventually("it answers again", RECOVERY, || async {
        let reply = timeout(Duration::from_secs(5), client.chat(&ask("m"))).await;
        reply.is_ok_and(|reply| reply.code() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_local_nobody_notices_and_the_bound_holds() {
    let Some(mut several) = several("local").await else { return };
    let load = load(&several);
    sleep(ms(500)).await;
    several.redis.kill();
    is(&several.gateways[0].client(), 200, "away").await;
    // Requests admitted before have ended.
    sleep(ms(500)).await;
    several.provider.clear();
    sleep(ms(1500)).await;
    let most = several.provider.high_water();
    assert!((1..=LIMIT + GATEWAYS - 1).contains(&most), "{most}");
    several.redis.start_again().await;
    several.know_each_other().await;
    sleep(ms(1000)).await;
    let samples = stop(load).await;
    assert!(samples.len() > 50 && errors(&samples).is_empty(), "{} {:?}", samples.len(), errors(&samples));
    several.all_free(RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_closed_a_restart_lets_nobody_have_more() {
    let Some(mut several) = several("closed").await else { return };
    let load = load(&several);
    for _ in 0..3 {
        sleep(ms(700)).await;
        several.redis.kill();
        is(&several.gateways[0].client(), 503, "away").await;
        let refused = several.of(0, "u").chat(&ask("m")).await;
        assert_eq!(
            (refused.code(), refused.error_code().as_str()),
            (503, "limits_unavailable"),
            "{refused:?}"
        );
        assert!(!refused.header("retry-after").is_empty());
        several.redis.start_again().await;
        answers_again(&several.of(1, "v")).await;
    }
    let samples = stop(load).await;
    only_unavailable(&samples);
    assert!(samples.iter().filter(|s| s.status == 200).count() > 30);
    // The other user's request is one more.
    assert!(several.provider.high_water() <= LIMIT + 1, "{}", several.provider.high_water());
    several.all_free(RECOVERY).await;
}

/// Long requests continue while Redis loses their leases; no other request gets their slots.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_not_forgotten_by_an_empty_redis() {
    let Some(mut several) = several("closed").await else { return };
    several.provider.script(|request| sane(request, "fine").head_after(Duration::from_secs(9)));
    let mut running: JoinSet<u16> = JoinSet::new();
    for n in 0..LIMIT {
        let client = several.of(n % GATEWAYS, "u");
        running.spawn(async move { client.chat(&ask("m")).await.code() });
    }
    several.provider.wait_calls(LIMIT).await;
    several.redis.flush().await;
    let client = several.of(2, "u");
    assert!(timeout(ms(2500), client.chat(&ask("m"))).await.is_err(), "there is no slot for it");
    several.redis.kill();
    several.redis.start_again().await;
    several.know_each_other().await;
    assert!(timeout(ms(1500), client.chat(&ask("m"))).await.is_err(), "nor now");
    assert_eq!(several.provider.calls().len(), LIMIT);
    while let Some(code) = running.join_next().await {
        assert_eq!(code.unwrap(), 200, "what runs is never ended for a count");
    }
    several.provider.heal();
    answers_again(&client).await;
    assert!(metric(&several.gateways[0].client(), "concierge_leases_restored_total").await >= 1.0);
}

/// SIGSTOP: connections are accepted and nothing is answered. One timeout per outage, not per request.
#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_costs_one_patience() {
    let Some(several) = several("local").await else { return };
    let client = several.of(0, "u");
    for _ in 0..2 {
        assert_eq!(client.chat(&ask("m")).await.code(), 200);
        several.redis.freeze();
        let begun = Instant::now();
        let replies = many(30, 1, |_| {
            let client = client.clone();
            async move { client.chat(&ask("m")).await.code() }
        });
        assert!(replies.await.iter().all(|code| *code == 200));
        // Thirty timeouts would be 7.5 s.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        is(&several.gateways[0].client(), 200, "away").await;
        several.redis.thaw();
        several.know_each_other().await;
    }
    several.all_free(RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_redis_breaks_nothing() {
    let Some(mut several) = several("local").await else { return };
    let load = load(&several);
    for round in 0..8 {
        sleep(ms(250)).await;
        match round % 4 {
            0 => several.redis.flush().await,
            1 | 3 => {
                several.redis.kill();
                sleep(ms(150)).await;
                several.redis.start_again().await;
            }
            _ => {
                several.redis.freeze();
                sleep(ms(400)).await;
                several.redis.thaw();
            }
        }
    }
    several.know_each_other().await;
    let samples = stop(load).await;
    assert!(samples.len() > 50 && errors(&samples).is_empty(), "{} {:?}", samples.len(), errors(&samples));
    several.all_free(RECOVERY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_at_the_start_is_found_when_it_comes() {
    let Some(mut redis) = RedisServer::start().await else { return };
    redis.kill();
    let provider = FakeProvider::start().await;
    let local = gateway(&on(ConfigFile::single(&provider), &redis, "local")).await;
    let closed = gateway(&on(ConfigFile::single(&provider), &redis, "closed")).await;
    let gateways = (local, closed);
    let (local, closed) = (gateways.0.client(), gateways.1.client());
    assert_eq!(local.chat(&ask("m")).await.code(), 200);
    let refused = closed.chat(&ask("m")).await;
    assert_eq!((refused.code(), refused.error_code().as_str()), (503, "limits_unavailable"));
    assert_eq!(closed.get("/v1/models").await.code(), 200, "what is not counted is not refused");
    redis.start_again().await;
    is(&local, 200, "up").await;
    answers_again(&closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_rule_and_not_the_server() {
    let Some(mut several) = several("closed").await else { return };
    let client = several.gateways[0].client();
    let other = several.config().set("redis", "url", "\"redis://127.0.0.1:1\"");
    several.gateways[0].write_config(other.toml());
    let reply = client.post("/admin/reload", &json!({})).await;
    assert_eq!(reply.code(), 400, "{reply:?}");
    assert!(String::from_utf8_lossy(&reply.body).contains("redis.url"), "{reply:?}");
    several.gateways[0].write_config(several.config().set("redis", "on_error", "\"local\"").toml());
    assert_eq!(client.post("/admin/reload", &json!({})).await.code(), 200);
    several.redis.kill();
    is(&client, 200, "away").await;
    assert_eq!(client.chat(&ask("m")).await.code(), 200);
}
