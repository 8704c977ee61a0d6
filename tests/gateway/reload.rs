//! R14 and promise 6: a new configuration under load; a bad one changes nothing.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks},
};
use serde_json::json;

use super::setup::{Load, Stage, errors, gateway};

const FIVE: Duration = Duration::from_secs(5);

async fn offers(stage: &Stage, model: &str, want: bool) {
    let look = || async {
        let reply = stage.client.get(&format!("/v1/models/{model}")).await;
        ((reply.code() == 200) == want).then_some(())
    };
    eventually(&format!("{model} is offered: {want}"), FIVE, look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_file_is_taken_over() {
    let stage = Stage::pair().await;
    stage.gw.write_config(ConfigFile::pair(&stage.a, &stage.b).model("new", &["b/new"]).toml());
    offers(&stage, "new", true).await;
    assert_eq!(stage.client.chat(&ask("new")).await.header("x-concierge-target"), "b/new");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_and_the_route_reload_too() {
    let stage = Stage::pair().await;
    let with = |model: &str| ConfigFile::pair(&stage.a, &stage.b).model(model, &["b/x"]).toml();
    std::fs::write(stage.gw.dir().join("config.toml"), with("by-hup")).unwrap();
    stage.gw.signal("HUP");
    offers(&stage, "by-hup", true).await;
    std::fs::write(stage.gw.dir().join("config.toml"), with("by-route")).unwrap();
    let reply = stage.client.post("/admin/reload", &json!({})).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    assert_eq!(stage.client.chat(&ask("by-route")).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_and_the_old_one_serves_on() {
    let stage = Stage::pair().await;
    for (bad, word) in [
        ("this is not toml [".to_owned(), "config.toml"),
        (ConfigFile::pair(&stage.a, &stage.b).set("resilience", "max_atempts", "3").toml(), "max_attempts"),
        (ConfigFile::pair(&stage.a, &stage.b).model("x", &["nobody/x"]).toml(), "nobody"),
        (String::new(), ""),
    ] {
        stage.gw.write_config(&bad);
        let reply = stage.client.post("/admin/reload", &json!({})).await;
        if !bad.is_empty() {
            assert!(reply.code() >= 400 && reply.code() < 500, "{reply:?}");
            assert!(String::from_utf8_lossy(&reply.body).contains(word), "the reasons: {reply:?}");
            assert_eq!(stage.chat().await.code(), 200);
            offers(&stage, "m", true).await;
        }
    }
    std::fs::remove_file(stage.gw.dir().join("config.toml")).unwrap();
    stage.gw.signal("HUP");
    tokio::time::sleep(ms(300)).await;
    assert_eq!(stage.client.get("/livez").await.code(), 200);
}

fn open_for_long(config: ConfigFile) -> ConfigFile {
    config.set("breaker", "open_min", "\"20s\"").set("breaker", "open_max", "\"20s\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_breakers_and_counts_survive() {
    let stage = Stage::with(open_for_long).await;
    stage.a.always(Script::status(500, "{}"));
    for _ in 0..6 {
        stage.chat().await;
    }
    let before = stage.gw.target("a/m").await;
    let config = open_for_long(ConfigFile::pair(&stage.a, &stage.b)).model("new", &["b/new"]);
    stage.gw.write_config(config.toml());
    offers(&stage, "new", true).await;
    let after = stage.gw.target("a/m").await;
    for field in ["state", "failure_count", "total_calls"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(stage.gw.target("b/m").await["success_count"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_provider_is_not_asked_again_and_its_streams_finish() {
    let stage = Stage::pair().await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).every(ms(25)));
    let mut open = stage.client.open_stream(&ask_stream("m")).await;
    open.until("two").await;
    let only_b = ConfigFile::quick().provider("b", &stage.b).model("m", &["b/m"]).model("new", &["b/new"]);
    stage.gw.write_config(only_b.toml());
    offers(&stage, "new", true).await;
    stage.a.clear();
    for _ in 0..10 {
        assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");
    }
    assert_eq!(stage.a.calls().len(), 0);
    let rest = open.hear().await;
    assert!(rest.done() && rest.error().is_none(), "a running stream keeps what it began with: {rest:?}");
}

/// A hundred reloads under load: no error, and at the end the last file is in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_cost_nothing() {
    let stage = Stage::pair().await;
    let load = Load::start(&stage.client, 6, ms(2));
    for n in 0..100 {
        let config = ConfigFile::pair(&stage.a, &stage.b).model(&format!("v{n}"), &["b/x"]);
        stage.gw.write_config(config.toml());
        if n % 2 == 0 {
            stage.gw.signal("HUP");
        } else {
            assert_eq!(stage.client.post("/admin/reload", &json!({})).await.code(), 200);
        }
    }
    offers(&stage, "v99", true).await;
    offers(&stage, "v98", false).await;
    let samples = load.stop().await;
    assert!(errors(&samples).is_empty(), "{:?}", errors(&samples));
    assert!(samples.len() > 50, "there was load: {}", samples.len());
}

/// R14: with every provider down it starts all the same, and requests get a clear error.
#[tokio::test(flavor = "multi_thread")]
async fn it_starts_with_every_provider_dead() {
    let a = FakeProvider::start().await;
    a.refuse().await;
    let config = ConfigFile::single(&a).set("resilience", "total_timeout", "\"3s\"");
    let gw = gateway(&config).await;
    let reply = gw.client().chat(&ask("m")).await;
    assert!(matches!(reply.code(), 502 | 503), "{reply:?}");
    assert_eq!(gw.client().get("/livez").await.code(), 200);
    a.accept_again().await;
    let back = || async { (gw.client().chat(&ask("m")).await.code() == 200).then_some(()) };
    eventually("it serves when the provider does", FIVE, back).await;
}
