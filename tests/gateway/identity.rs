//! The user of a request, as `/admin/requests` shows it: what a caller may claim, and what is ignored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use concierge_testkit::{Client, ConfigFile, Script, eventually, ms, openai::ask};
use ring::hmac;
use serde_json::{Value, json};

use super::setup::Stage;

const SECRET: &str = "open-webui-secret-0123456789";

/// Sends a request to `a`, which stays silent, and returns the user that is shown.
async fn shown(stage: &Stage, client: &Client, operator: &Client, more: Value) -> String {
    let idle = || async {
        let running = operator.get("/admin/requests").await.json();
        running["requests"].as_array().unwrap().is_empty().then_some(())
    };
    eventually("the request before this has gone", ms(2000), idle).await;
    stage.a.clear();
    stage.a.next(Script::silent());
    let mut body = ask("m");
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let look = async {
        stage.a.wait_calls(1).await;
        operator.get("/admin/requests").await.json()["requests"][0]["user"].as_str().map(str::to_owned)
    };
    tokio::select! {
        reply = client.chat(&body) => panic!("it is silent: {reply:?}"),
        user = look => user.expect("one request runs"),
    }
}

fn token(claims: &Value, secret: &str) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

fn patient(config: ConfigFile) -> ConfigFile {
    config.set("resilience", "answer_timeout", "\"20s\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_open_mode_claims_count_in_order() {
    let stage = Stage::single(patient).await;
    let plain = &stage.client;
    let with = |name: &str, value: &str| stage.client.clone().header(name, value);
    let all = json!({"user": "u", "safety_identifier": "s", "metadata": {"user_id": "meta"}});
    for (client, body, user) in [
        (with("x-user-id", "header"), all.clone(), "header"),
        (with("x-openwebui-user-id", "webui"), all.clone(), "webui"),
        (plain.clone(), all, "u"),
        (plain.clone(), json!({"safety_identifier": "s", "metadata": {"user_id": "meta"}}), "s"),
        (plain.clone(), json!({"metadata": {"user_id": "meta"}}), "meta"),
        (plain.clone(), json!({}), "anonymous"),
        (plain.clone(), json!({"user": ""}), "anonymous"),
    ] {
        assert_eq!(shown(&stage, &client, plain, body.clone()).await, user, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_user_cannot_be_talked_away() {
    let keyed = |c: ConfigFile| {
        let app = "act_for_users = true";
        patient(c).key("alice", "alice-key-0123456789", "").key("app", "app-key-0123456789ab", app)
    };
    let stage = Stage::single(keyed).await;
    let operator = stage.client.clone();
    let claims = json!({"user": "bob", "safety_identifier": "bob", "metadata": {"user_id": "bob"}});
    let alice = stage.client.clone().key("alice-key-0123456789").header("x-user-id", "bob");
    assert_eq!(shown(&stage, &alice, &operator, claims.clone()).await, "alice");
    let app = stage.client.clone().key("app-key-0123456789ab");
    assert_eq!(shown(&stage, &app, &operator, claims).await, "bob", "a trusted app may");
    assert_eq!(shown(&stage, &app.clone().header("x-user-id", "carol"), &operator, json!({})).await, "carol");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_user_counts_and_a_forged_one_never_falls_back() {
    let signed = |c: ConfigFile| patient(c).set("auth", "jwt_secret", &format!("\"{SECRET}\""));
    let stage = Stage::single(signed).await;
    let with = |token: &str| {
        stage.client.clone().header("x-openwebui-user-jwt", token).header("x-user-id", "mallory")
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = token(&json!({"sub": "webui-user", "iss": "open-webui", "exp": now + 300}), SECRET);
    assert_eq!(shown(&stage, &with(&good), &stage.client, json!({})).await, "webui-user");
    let none = good.split('.').take(2).collect::<Vec<_>>().join(".") + ".";
    for bad in [
        token(&json!({"sub": "admin", "exp": now + 300}), "another secret"),
        token(&json!({"sub": "late", "exp": now - 3600}), SECRET),
        none,
        "nonsense".to_owned(),
    ] {
        let reply = with(&bad).chat(&ask("m")).await;
        assert_eq!(reply.code(), 401, "{bad}: {reply:?}");
    }
}
