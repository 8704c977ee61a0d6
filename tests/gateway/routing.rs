//! Live scores under load: R11, shares, strategies.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Gateway, Script, eventually, ms,
    openai::{SIXTY, chat_answer, sane},
};

use super::setup::{Load, Stage, errors};

fn scored(config: ConfigFile) -> ConfigFile {
    config.set("routing", "strategy", "\"score\"").set("routing", "half_life", "\"12s\"")
}

async fn share(gw: &Gateway, id: &str) -> f64 {
    gw.target(id).await["share"].as_f64().unwrap()
}

fn answering_after(pause: Duration) -> Script {
    Script::json(chat_answer("m", SIXTY)).head_after(pause)
}

/// R11: a target becomes ten times slower, and its traffic moves within seconds; it recovers, and traffic returns.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_leaves_a_slow_target_and_returns() {
    let stage = Stage::with(|c| scored(c).set("resilience", "answer_timeout", "\"5s\"")).await;
    stage.a.always(answering_after(ms(50)));
    stage.b.always(answering_after(ms(50)));
    let load = Load::start(&stage.client, 8, ms(10));
    let even = || async { (stage.a.calls().len() > 50 && stage.b.calls().len() > 50).then_some(()) };
    eventually("equals share the load", Duration::from_secs(10), even).await;
    stage.a.always(answering_after(ms(500)));
    let left = || async { (share(&stage.gw, "a/m").await <= 0.1).then_some(()) };
    eventually("a's share falls to a tenth", Duration::from_secs(10), left).await;
    stage.a.always(answering_after(ms(50)));
    let back = || async { (share(&stage.gw, "a/m").await >= 0.4).then_some(()) };
    eventually("a's share comes back", Duration::from_secs(60), back).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
}

/// The published score follows the formula, on the published numbers.
#[tokio::test(flavor = "multi_thread")]
async fn the_score_is_what_it_says() {
    let stage = Stage::with(scored).await;
    stage.b.script(|r| sane(r, SIXTY).head_after(ms(150)));
    let load = Load::start(&stage.client, 4, ms(5));
    tokio::time::sleep(ms(1500)).await;
    load.stop().await;
    let targets = stage.gw.admin_providers().await;
    let number = |t: &serde_json::Value, key: &str| t[key].as_f64().unwrap_or_else(|| panic!("{key} in {t}"));
    for target in &targets {
        let formula = 100.0 * number(target, "success_rate") - 10.0 * number(target, "avg_latency");
        assert!((formula - number(target, "score")).abs() < 0.2, "{target}");
        let counted = target["success_count"].as_u64().unwrap() + target["failure_count"].as_u64().unwrap();
        assert_eq!(target["total_calls"].as_u64().unwrap(), counted, "{target}");
        assert_eq!(target["in_flight"], 0);
    }
    let shares: f64 = targets.iter().map(|t| number(t, "share")).sum();
    assert!((shares - 1.0).abs() < 0.01, "shares of one model add up: {shares}");
    assert!(number(&targets[0], "score") >= number(&targets[1], "score"), "best first");
}

/// R2 with a long timeout: silence is noticed while it lasts, long before anything times out.
#[tokio::test(flavor = "multi_thread")]
async fn new_requests_avoid_a_silent_target_before_any_timeout() {
    let slow = |c: ConfigFile| {
        // All lanes are one user, and most of them will hang.
        let c = scored(c).set("slots", "per_user", "100");
        c.set("resilience", "answer_timeout", "\"30s\"").set("resilience", "first_token_timeout", "\"30s\"")
    };
    let stage = Stage::with(slow).await;
    let load = Load::start(&stage.client, 20, ms(20));
    stage.a.wait_calls(50).await;
    stage.a.always(Script::silent());
    tokio::time::sleep(ms(2000)).await;
    stage.a.clear();
    stage.b.clear();
    // Most of the first lanes hang by now; these are new ones.
    let fresh = Load::start(&stage.client, 20, ms(20));
    tokio::time::sleep(ms(1500)).await;
    let (a, b) = stage.calls();
    assert!(a * 20 <= b, "{a} new requests to the silent target, {b} to the other");
    assert!(b > 50, "the rest goes on: {b}");
    let silent = stage.gw.target("a/m").await;
    assert!(silent["score"].as_f64().unwrap() < 85.0, "the silence shows: {silent}");
    drop((load, fresh));
}

/// R12: a target goes up and down every 400 ms, without client errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_target_is_not_noticed() {
    let stage = Stage::with(scored).await;
    let load = Load::start(&stage.client, 6, ms(10));
    for _ in 0..5 {
        stage.a.refuse().await;
        tokio::time::sleep(ms(400)).await;
        stage.a.accept_again().await;
        tokio::time::sleep(ms(400)).await;
    }
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    let slowest = samples.iter().map(|s| s.took).max().unwrap();
    assert!(slowest < ms(3000), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equals_share_and_the_share_is_the_truth() {
    let stage = Stage::with(scored).await;
    stage.a.always(answering_after(ms(20)));
    stage.b.always(answering_after(ms(20)));
    let load = Load::start(&stage.client, 4, ms(0));
    tokio::time::sleep(ms(3000)).await;
    let total = load.stop().await.len();
    let (a, _) = stage.calls();
    assert!(a * 5 > total && a * 5 < total * 4, "{a} of {total} went to a");
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_and_turns_are_kept() {
    let config = |a: &FakeProvider, b: &FakeProvider| {
        ConfigFile::quick()
            .provider("a", a)
            .provider("b", b)
            .model_with("m", &["a/m", "b/m"], "strategy = \"weighted\"\nweights = [3, 1]")
            .model_with("turns", &["a/m", "b/m"], "strategy = \"round_robin\"")
    };
    let stage = Stage::on(config).await;
    for _ in 0..200 {
        assert_eq!(stage.chat().await.code(), 200);
    }
    let (a, b) = stage.calls();
    assert!(a > 115 && b > 20, "3 : 1 became {a} : {b}");
    stage.a.clear();
    stage.b.clear();
    for _ in 0..20 {
        stage.client.chat(&concierge_testkit::openai::ask("turns")).await;
    }
    assert_eq!(stage.calls(), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn temperature_zero_is_always_the_best() {
    let cold = |c: ConfigFile| scored(c).set("routing", "temperature", "0.0");
    let stage = Stage::with(cold).await;
    stage.b.always(answering_after(ms(300)));
    for _ in 0..15 {
        stage.chat().await;
    }
    stage.a.clear();
    stage.b.clear();
    for _ in 0..20 {
        assert_eq!(stage.chat().await.header("x-concierge-target"), "a/m");
    }
}
