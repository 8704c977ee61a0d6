//! A3: at the most verbose log level no secret and no text of a prompt, an answer or a memory is in a log line, a metric,
//! a span, an error or a page; and the log names no user.

use concierge_testkit::{
    ConfigFile, End, FakeProvider, Script, eventually, ms,
    openai::{ask_stream, chat_answer, chat_chunks, error_body},
};
use serde_json::{Value, json};

use super::setup::Stage;

const TOKEN: &str = "canary-admin-token-0123456789";
const KEY: &str = "canary-client-key-0123456789";
const WRONG: &str = "canary-wrong-key-0123456789";
const JWT_SECRET: &str = "canary-jwt-secret-0123456789";
const JWT: &str = "canary.jwt.token";
const USER: &str = "canary-user";
/// Text that only the user and the provider may read.
const WORDS: [&str; 4] = ["canary-prompt", "canary-answer", "canary-memory", "canary-context"];

async fn stage(collector: &FakeProvider) -> Stage {
    collector.always(Script::status(200, ""));
    let endpoint = format!("\"http://{}\"", collector.addr());
    Stage::with(|c: ConfigFile| {
        c.set("telemetry", "log", "\"trace\"")
            .set("telemetry", "otlp_endpoint", &endpoint)
            .set("admin", "token", &format!("\"{TOKEN}\""))
            .set("auth", "jwt_secret", &format!("\"{JWT_SECRET}\""))
            .key(USER, KEY, "act_for_users = true")
    })
    .await
}

fn prompt(stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "canary-prompt canary-memory?"}]})
}

/// Sends a request on every path, over both versions of HTTP; returns the errors received.
async fn live(stage: &Stage) -> String {
    let user = stage.client.clone().header("x-user-id", USER);
    let mut errors = String::new();
    for client in [user.clone(), user.http2()] {
        let known = client.clone().key(KEY);
        known.post("/v1/memories", &json!({"text": "canary-memory"})).await;
        known.send("PUT".parse().unwrap(), "/v1/context", r#"{"note":"canary-context"}"#.into()).await;
        stage.a.next(Script::json(chat_answer("m", "canary-answer")));
        assert_eq!(known.chat(&prompt(false)).await.code(), 200);
        stage
            .a
            .next(Script::sse(chat_chunks("m", "canary-answer, and more of it")).stop_after(4, End::Reset));
        known.stream(&prompt(true)).await;
        let quote = error_body("cannot say canary-prompt", "invalid_request_error", Some("bad"));
        stage.a.next(Script::status(400, quote));
        // The client gets the provider's message: it is about its own request.
        assert_eq!(known.chat(&prompt(false)).await.code(), 400);
        for (client, body) in [(client.clone(), prompt(false)), (client.clone().key(WRONG), prompt(true))] {
            errors.push_str(&format!("{:?}", client.chat(&body).await));
        }
        let forged = known.clone().header("x-openwebui-user-jwt", JWT);
        errors.push_str(&format!("{:?}", forged.chat(&prompt(false)).await));
        errors.push_str(&format!("{:?}", known.post_bytes("/v1/chat/completions", "canary-prompt").await));
        stage.a.next(Script::status(401, error_body("Incorrect API key: sk-a-secret", "x", None)));
        stage.b.next(Script::status(500, error_body("sk-b-secret is tired", "x", None)));
        known.chat(&ask_stream("m")).await;
        stage.client.clone().key(TOKEN).post("/admin/providers/a/reset", &Value::Null).await;
    }
    errors
}

async fn pages(stage: &Stage) -> String {
    let operator = stage.client.clone().key(TOKEN);
    let mut seen = String::new();
    for path in [
        "/admin",
        "/admin/providers",
        "/admin/providers/summary",
        "/admin/config",
        "/metrics",
        "/admin/requests",
        "/admin/memory",
        "/admin/explain?model=m",
        "/admin/openapi.json",
    ] {
        let reply = operator.get(path).await;
        assert_eq!(reply.code(), 200, "{path}");
        seen.push_str(&format!("{path} {:?} {}\n", reply.headers, String::from_utf8_lossy(&reply.body)));
    }
    seen
}

fn nowhere(place: &str, seen: &str, secrets: &[&str]) {
    for secret in secrets {
        let line = seen.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_anywhere() {
    let collector = FakeProvider::start().await;
    let stage = stage(&collector).await;
    let errors = live(&stage).await;
    let pages = pages(&stage).await;
    // All spans in one export, or a second's worth in each.
    let sent = || async { (!collector.calls().is_empty()).then_some(()) };
    eventually("spans", ms(20_000), sent).await;
    let spans: String =
        collector.calls().iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    let logs = stage.gw.logs();
    assert!(logs.contains("TRACE") && spans.contains("gen_ai"), "it was as loud as it can be");
    let keys = ["sk-a-secret", "sk-b-secret", TOKEN, KEY, WRONG, JWT_SECRET, JWT];
    for (place, seen) in
        [("the log", &logs), ("the spans", &spans), ("the pages", &pages), ("an error", &errors)]
    {
        nowhere(place, seen, &keys);
    }
    for (place, seen) in [("the log", &logs), ("the spans", &spans), ("the pages", &pages)] {
        nowhere(place, seen, &WORDS);
    }
    nowhere("the log", &logs, &[USER]);
    nowhere("the spans", &spans, &[USER]);
}
