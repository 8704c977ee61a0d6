//! The log: one line for each request, however it ends, with everything an operator needs at three in the morning.

use concierge_testkit::{
    ConfigFile, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks_with_usage},
};
use serde_json::{Value, json};

use super::setup::{Stage, begin};

async fn stage(more: impl FnOnce(ConfigFile) -> ConfigFile) -> Stage {
    let told =
        |c: ConfigFile| c.set("telemetry", "log_format", "\"json\"").set("telemetry", "log", "\"info\"");
    // A request to a hanging provider stays there.
    Stage::with(|c| more(told(c).set("resilience", "answer_timeout", "\"60s\""))).await
}

/// Every line about this request but those of attempts; waits until there is one.
async fn lines_of(stage: &Stage, request: &str) -> Vec<Value> {
    let look = || async {
        let logs = stage.gw.logs();
        let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = |line: &Value| {
            line["request"] == request
                && ["request", "refused"].contains(&line["message"].as_str().unwrap_or(""))
        };
        let lines: Vec<Value> = lines.filter(own).collect();
        (!lines.is_empty()).then_some(lines)
    };
    eventually("a line", ms(10_000), look).await
}

/// The only line about this request.
async fn line_of(stage: &Stage, request: &str) -> Value {
    let mut lines = lines_of(stage, request).await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

fn is_pseudonym(user: &Value) -> bool {
    user.as_str().is_some_and(|user| user.len() >= 8 && user.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_line_with_everything_in_it() {
    let stage = stage(|c| c).await;
    stage.a.next(Script::status(500, "{}"));
    stage.b.next(Script::sse(chat_chunks_with_usage("m", SIXTY)));
    let client = stage.client.clone().header("x-user-id", "ann").header("x-request-id", "find-me");
    client.stream(&ask_stream("m")).await;
    let line = line_of(&stage, "find-me").await;
    assert_eq!(
        (&line["level"], &line["operation"], &line["model"]),
        (&json!("INFO"), &json!("chat"), &json!("m"))
    );
    assert_eq!(
        (&line["target_id"], &line["attempts"], &line["status"]),
        (&json!("b/m"), &json!(2), &json!(200))
    );
    assert_eq!(line["tokens"], 67);
    let (first, total) = (line["first_token_ms"].as_u64().unwrap(), line["total_ms"].as_u64().unwrap());
    assert!(first <= total && line["queue_ms"].is_u64(), "{line:#}");
    assert!(line["memory"].as_str().unwrap().starts_with("skipped"), "{line:#}");
    assert!(is_pseudonym(&line["user"]) && line["timestamp"].is_string(), "{line:#}");
    assert!(line.get("error").is_none(), "{line:#}");
    // The same user again, and another.
    let same = stage.client.clone().header("x-user-id", "ann").header("x-request-id", "again");
    let other = stage.client.clone().header("x-user-id", "bob").header("x-request-id", "another");
    same.chat(&ask("m")).await;
    other.chat(&ask("m")).await;
    assert_eq!(line_of(&stage, "again").await["user"], line["user"]);
    assert_ne!(line_of(&stage, "another").await["user"], line["user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_a_line_as_well() {
    let stage = stage(|c| c).await;
    stage.a.always(Script::silent());
    let client = stage.client.clone().header("x-request-id", "gone");
    let asked = begin(async move { client.chat(&ask("m")).await });
    stage.a.wait_calls(1).await;
    drop(asked);
    let line = line_of(&stage, "gone").await;
    assert_eq!(
        (&line["status"], &line["error"], &line["target_id"]),
        (&json!(499), &json!("cancelled"), &json!("a/m"))
    );
}

/// A refusal is logged with the user and the reason: no slot, over a limit, an unknown model.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_who_and_why() {
    let slots = |c: ConfigFile| {
        let one = c.set("slots", "per_user", "1").set("slots", "queue_timeout", "\"50ms\"");
        one.set("slots", "operations", "{ chat = 1 }").set("limits", "requests_per_minute", "3")
    };
    let stage = stage(slots).await;
    stage.a.always(Script::silent());
    let ann = stage.client.clone().header("x-user-id", "ann");
    let held = ann.clone();
    let _held = begin(async move { held.chat(&ask("m")).await });
    stage.a.wait_calls(1).await;
    assert_eq!(
        ann.clone().header("x-request-id", "waited").chat(&ask("m")).await.error_code(),
        "queue_timeout"
    );
    let waited = line_of(&stage, "waited").await;
    assert_eq!((&waited["error"], &waited["status"]), (&json!("queue_timeout"), &json!(429)));
    assert_eq!(
        (&waited["attempts"], &waited["model"], &waited["target_id"]),
        (&json!(0), &json!("m"), &json!("-"))
    );
    assert!(is_pseudonym(&waited["user"]) && waited["queue_ms"].as_u64().unwrap() >= 50, "{waited:#}");
    assert_eq!(ann.clone().header("x-request-id", "unknown").chat(&ask("nobody")).await.code(), 404);
    assert_eq!(line_of(&stage, "unknown").await["error"], "model_not_found");
    ann.chat(&ask("m")).await;
    assert_eq!(
        ann.clone().header("x-request-id", "many").chat(&ask("m")).await.error_code(),
        "rate_limit_exceeded"
    );
    let many = line_of(&stage, "many").await;
    assert_eq!((&many["error"], &many["user"]), (&json!("rate_limit_exceeded"), &waited["user"]));
}
