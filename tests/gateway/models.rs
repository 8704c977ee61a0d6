//! Which models can be requested: names, aliases, slashes, ad-hoc targets and pins.

use concierge_testkit::{ConfigFile, FakeProvider, Script, openai::ask};
use serde_json::json;

use super::setup::Stage;

fn config(a: &FakeProvider, b: &FakeProvider) -> ConfigFile {
    ConfigFile::quick()
        .provider("a", a)
        .provider("b", b)
        .model_with("m", &["a/m", "b/m"], "alias = [\"gpt-4o\", \"vendor/large\"]")
        .model("meta-llama/Llama-3.3-70B", &["b/llama"])
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_in_openais_shape() {
    let stage = Stage::on(config).await;
    for prefix in ["/v1", "/openai/v1"] {
        let list = stage.client.get(&format!("{prefix}/models")).await.json();
        assert_eq!(list["object"], "list");
        let mut ids: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["gpt-4o", "m", "meta-llama/Llama-3.3-70B", "vendor/large"]);
        for model in list["data"].as_array().unwrap() {
            assert_eq!(model["object"], "model");
            assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_is_shown_by_its_id_slashes_and_all() {
    let stage = Stage::on(config).await;
    for path in ["m", "gpt-4o", "meta-llama/Llama-3.3-70B", "meta-llama%2FLlama-3.3-70B"] {
        let reply = stage.client.get(&format!("/v1/models/{path}")).await;
        assert_eq!(
            (reply.code(), reply.json()["object"].as_str()),
            (200, Some("model")),
            "{path}: {reply:?}"
        );
        assert_eq!(reply.json()["id"], path.replace("%2F", "/"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_aliases_and_direct_targets_reach_their_provider() {
    let stage = Stage::on(config).await;
    for (asked, target, upstream) in [
        ("m", "a/m", "m"),
        ("gpt-4o", "a/m", "m"),
        ("vendor/large", "a/m", "m"),
        ("meta-llama/Llama-3.3-70B", "b/llama", "llama"),
        ("b/llama", "b/llama", "llama"),
        ("b/any/model:v2", "b/any/model:v2", "any/model:v2"),
    ] {
        let reply = stage.client.chat(&ask(asked)).await;
        assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, target), "{asked}: {reply:?}");
        let provider = if target.starts_with('a') { &stage.a } else { &stage.b };
        assert_eq!(provider.calls().last().unwrap().model(), upstream, "{asked}");
    }
    let escaped = r#"{"model":"gpt\u002d4o","messages":[]}"#;
    assert_eq!(stage.client.post_bytes("/v1/chat/completions", escaped).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn vendor_prefixes_are_understood() {
    let stage = Stage::on(config).await;
    let reply = stage.client.post("/openai/v1/chat/completions", &ask("m")).await;
    assert_eq!(reply.code(), 200);
    assert_eq!(stage.a.only_call().path, "/v1/chat/completions");
    let reply = stage.client.post("/openai/v1/embeddings", &json!({"model": "m", "input": "x"})).await;
    assert_eq!(reply.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_chooses_the_target_and_gives_up_failover() {
    let stage = Stage::on(config).await;
    let pinned = stage.client.clone().header("x-concierge-target", "b/m");
    let reply = pinned.chat(&ask("m")).await;
    assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "b/m"));
    stage.b.always(Script::status(500, "{}"));
    let reply = pinned.chat(&ask("m")).await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (502, "upstream_error"));
    assert_eq!(stage.a.calls().len(), 0, "no failover from a pin");
    let unknown = stage.client.clone().header("x-concierge-target", "nobody/m").chat(&ask("m")).await;
    assert!(matches!(unknown.code(), 400 | 404), "{unknown:?}");
    assert!(!unknown.error_code().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_with_a_query_keeps_it() {
    let stage = Stage::on(|a, _| {
        let url = format!("{}?api-version=2024-10-21", a.base_url());
        ConfigFile::quick().provider_at("a", &url, "").model("m", &["a/m"])
    })
    .await;
    stage.chat().await;
    assert_eq!(stage.a.only_call().path, "/v1/chat/completions?api-version=2024-10-21");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_provider_takes_its_targets_along() {
    let table = "[[providers]]\nname = \"c\"\nbase_url = \"http://127.0.0.1:1/v1\"\napi_key = \"${NO_SUCH_KEY_HERE}\"";
    let stage = Stage::on(|a, b| {
        config(a, b).table(table).model("only-c", &["c/x"]).model("also-c", &["c/x", "a/x"])
    })
    .await;
    let list = stage.client.get("/v1/models").await.json().to_string();
    assert!(!list.contains("only-c") && list.contains("also-c"), "{list}");
    assert_eq!(stage.client.chat(&ask("also-c")).await.header("x-concierge-target"), "a/x");
    assert_eq!(stage.client.chat(&ask("only-c")).await.code(), 404);
    let warned = stage.gw.wait_log("NO_SUCH_KEY_HERE").await;
    assert!(warned.contains('c'), "{warned}");
}
