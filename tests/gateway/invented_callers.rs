//! C6 and A4: thousands of invented keys, models and users leave nothing behind, and the refusal of a wrong key reveals
//! nothing.

use concierge_testkit::{Client, ConfigFile, Reply, ms, openai::ask};
use serde_json::json;

use super::setup::{Stage, many};

const KEY: &str = "alice-key-0123456789abcdef";
/// Batches of each kind, a hundred requests each.
const BATCHES: usize = 60;
const BATCH: usize = 100;

/// Sends all requests on one connection; returns how many got `status`, without the last one, which gets 200.
pub async fn pipeline(client: &Client, requests: impl Iterator<Item = String>, status: &str) -> usize {
    let all: String =
        requests.collect::<String>() + "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let said = client.raw(all, ms(5000)).await;
    String::from_utf8_lossy(&said).matches(&format!("HTTP/1.1 {status}")).count()
}

fn with_key(key: &str) -> String {
    format!("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n")
}

fn of_nobody_for_nothing(n: usize) -> String {
    let body = json!({"model": format!("invented-{n}"), "messages": []}).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    format!("{head}\r\nx-user-id: nobody-{n}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Sends them twice, and checks what the second time has added. `status` is how their status lines begin.
async fn keeps_nothing(stage: &Stage, request: impl Fn(usize) -> String, status: &str) {
    let mut before = 0;
    for batch in 0..2 * BATCHES {
        if batch == BATCHES {
            before = stage.gw.rss();
        }
        let requests = (0..BATCH).map(|n| request(batch * BATCH + n));
        assert_eq!(pipeline(&stage.client, requests, status).await, BATCH);
    }
    let grown = stage.gw.rss().saturating_sub(before) >> 10;
    assert!(grown < 2048, "{grown} KiB");
    for (path, list) in [("/admin/slots", "users"), ("/admin/requests", "requests")] {
        assert_eq!(stage.client.get(path).await.json()[list], json!([]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_keys_leave_nothing_behind() {
    let stage = Stage::single(|c| c.key("alice", KEY, "")).await;
    // 401, or 429 when there were too many.
    keeps_nothing(&stage, |n| with_key(&format!("invented-{n:020}")), "4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_slowed_and_locks_nobody_out() {
    let token = "the-operators-token-0123";
    let keyed = |c: ConfigFile| c.key("alice", KEY, "").set("admin", "token", &format!("\"{token}\""));
    let stage = Stage::single(keyed).await;
    let (wrong, right) = (stage.client.clone().key("sk-wrong"), stage.client.clone().key(KEY));
    let mut replies = many(60, 4, {
        let wrong = wrong.clone();
        move |_| {
            let wrong = wrong.clone();
            async move { wrong.get("/v1/models").await }
        }
    })
    .await;
    replies.retain(|reply| reply.error_code() != "invalid_api_key");
    assert!((1..=30).contains(&replies.len()), "{}", replies.len());
    replies.push(wrong.get("/admin/slots").await);
    for reply in replies {
        assert_eq!((reply.code(), reply.error_code().as_str()), (429, "rate_limit_exceeded"), "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), "false", "the key will not become right");
        assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(right.chat(&ask("m")).await.code(), 200, "a right key passes");
    assert_eq!(stage.client.clone().key(token).get("/admin/slots").await.code(), 200);
    assert_eq!(stage.chat().await.error_code(), "missing_api_key", "which is no guess");
    let told = stage.gw.logs().matches("refused").count();
    assert!(told <= 45, "{told} lines: who guesses does not fill the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_models_and_users_leave_nothing_behind() {
    let stage = Stage::single(|c| c.set("limits", "requests_per_minute", "60")).await;
    keeps_nothing(&stage, of_nobody_for_nothing, "404").await;
    assert_eq!(stage.calls().0, 0);
}

/// The response without the request's own id and the date.
fn without_its_own(reply: &Reply) -> String {
    let mut headers = reply.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    format!("{} {headers:?} {}", reply.status, String::from_utf8_lossy(&reply.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_key_gets_the_same_answer() {
    let stage = Stage::single(|c| c.key("alice", KEY, "")).await;
    let client = stage.client.clone().header("x-request-id", "same");
    let wrong: Vec<String> = (0..KEY.len())
        .map(|right| format!("{}{}", &KEY[..right], "Z".repeat(KEY.len() - right)))
        .chain([format!("{KEY}x"), "x".into(), "x".repeat(4000)])
        .collect();
    let replies = many(wrong.len(), 4, move |n| {
        let client = client.clone().key(&wrong[n]);
        async move { without_its_own(&client.chat(&ask("m")).await) }
    })
    .await;
    assert!(replies[0].starts_with("401"), "{}", replies[0]);
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:#?}");
    assert_eq!(stage.calls().0, 0);
}
