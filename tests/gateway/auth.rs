//! Keys, allow-lists, and the open mode.

use concierge_testkit::{ConfigFile, openai::ask};

use super::setup::Stage;

const ALICE: &str = "alice-key-0123456789";
const BOB: &str = "bob-key-012345678901";
/// `sha256sum` of `carol-key-0123456789`.
const CAROL_SHA: &str = "CAROL";

fn keyed(config: ConfigFile) -> ConfigFile {
    config.model("n", &["b/n"]).key("alice", ALICE, "").key("bob", BOB, "models = [\"n\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_wanted_in_either_header() {
    let stage = Stage::with(keyed).await;
    let missing = stage.chat().await;
    assert_eq!((missing.code(), missing.error_code().as_str()), (401, "missing_api_key"));
    assert_eq!(missing.json()["error"]["type"], "invalid_request_error");
    let wrong = stage.client.clone().key("sk-not-a-key-4711").chat(&ask("m")).await;
    assert_eq!((wrong.code(), wrong.error_code().as_str()), (401, "invalid_api_key"));
    assert!(!String::from_utf8_lossy(&wrong.body).contains("4711"), "the key is never echoed");
    for client in [stage.client.clone().key(ALICE), stage.client.clone().header("x-api-key", ALICE)] {
        assert_eq!(client.chat(&ask("m")).await.code(), 200);
    }
    let wrong = stage.client.clone().header("x-api-key", "nope").chat(&ask("m")).await;
    assert_eq!((wrong.code(), wrong.error_code().as_str()), (401, "invalid_api_key"));
    assert_eq!(stage.calls().0, 2, "strangers reach no provider");
}

#[tokio::test(flavor = "multi_thread")]
async fn almost_a_key_is_no_key() {
    let stage = Stage::with(keyed).await;
    let upper = ALICE.to_uppercase();
    let longer = format!("{ALICE}0");
    for near in [&ALICE[..19], longer.as_str(), upper.as_str(), "", " "] {
        let reply =
            stage.client.clone().header("authorization", &format!("Bearer {near}")).chat(&ask("m")).await;
        assert_eq!(reply.code(), 401, "{near:?}");
    }
    let basic = stage.client.clone().header("authorization", &format!("Basic {ALICE}")).chat(&ask("m")).await;
    assert_eq!(basic.code(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allow_list_holds_for_asking_and_for_listing() {
    let stage = Stage::with(keyed).await;
    let bob = stage.client.clone().key(BOB);
    assert_eq!(bob.chat(&ask("n")).await.code(), 200);
    for model in ["m", "a/m", "a/anything", "b/n"] {
        let refused = bob.chat(&ask(model)).await;
        assert_eq!((refused.code(), refused.error_code().as_str()), (403, "model_not_allowed"), "{model}");
        assert_eq!(refused.json()["error"]["type"], "permission_error");
    }
    let pinned = bob.clone().header("x-concierge-target", "a/m").chat(&ask("n")).await;
    assert_ne!(pinned.code(), 200, "a pin is no way round the list");
    let listed = bob.get("/v1/models").await.json();
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["n"]);
    assert_eq!(bob.get("/v1/models/m").await.code(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_written_as_its_hash() {
    let sha =
        std::process::Command::new("sh").args(["-c", "printf %s carol-key-0123456789 | sha256sum"]).output();
    let sha = String::from_utf8(sha.unwrap().stdout).unwrap()[..64].to_owned();
    let table = "[[auth.keys]]\nuser = \"carol\"\nkey_sha256 = \"CAROL\"".replace(CAROL_SHA, &sha);
    let stage = Stage::with(|c| c.table(&table)).await;
    assert_eq!(stage.client.clone().key("carol-key-0123456789").chat(&ask("m")).await.code(), 200);
    assert_eq!(stage.client.clone().key(&sha).chat(&ask("m")).await.code(), 401, "the hash is not the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_open_mode_any_key_will_do() {
    let stage = Stage::pair().await;
    for client in [stage.client.clone(), stage.client.clone().key("sk-anything")] {
        assert_eq!(client.chat(&ask("m")).await.code(), 200);
    }
}
