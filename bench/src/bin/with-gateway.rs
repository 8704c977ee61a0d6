//! `with-gateway COMMAND…`: runs a command with BASE_URL, API_KEY and LIMITED_API_KEY of a gateway in front of a
//! fake provider whose behaviour is chosen by model name; its exit code is the command's.
//!
//! For the tests with the official SDKs. The breaker is off: each check looks at one behaviour alone. With WITH_REDIS in
//! its environment the gateway counts in a Redis of its own, if this machine has one.

use std::process::ExitCode;

use concierge_bench::setup;
use concierge_testkit::{ConfigFile, End, FakeProvider, Request, Script, openai, redis::RedisServer};
use serde_json::{Value, json};
use tokio::process::Command;

/// What every healthy model says: letters outside ASCII and outside the basic plane, to be cut by nobody.
const ANSWER: &str = "Hello there, 世界! 👋🏽 Done.";
/// Arguments of every tool call, and the answer in JSON mode.
const PLACE: &str = r#"{"city": "Zürich"}"#;
/// 0, 1/8, … 7/8 as little-endian 32-bit floats.
const EIGHTHS: &str = "AAAAAAAAAD4AAIA+AADAPgAAAD8AACA/AABAPwAAYD8=";
const KEY: &str = "sk-sdk-tests-0123456789";
const LIMITED_KEY: &str = "sk-sdk-limited-0123456789";

/// Models with a behaviour of their own; each is one target of its own.
const MODELS: [&str; 13] = [
    "chat",
    "embed",
    "bad-request",
    "rate-limited",
    "broken",
    "key-refused",
    "html-200",
    "error-200",
    "empty-200",
    "truncated-200",
    "cut-reset",
    "cut-clean",
    "cut-responses",
];

#[tokio::main]
async fn main() -> ExitCode {
    let mut command = std::env::args_os().skip(1);
    let Some(program) = command.next() else {
        eprintln!("usage: with-gateway COMMAND…");
        return ExitCode::from(2);
    };
    let provider = FakeProvider::saying(ANSWER).await;
    provider.script(answer);
    let redis = if std::env::var_os("WITH_REDIS").is_some() { RedisServer::start().await } else { None };
    let mut config = config(&provider);
    if let Some(redis) = &redis {
        config = config.set("redis", "url", &format!("{:?}", redis.url()));
    }
    let gateway = setup::launch().start(config.toml()).await;
    let mut child = Command::new(program);
    child.args(command).env("BASE_URL", format!("{}/v1", gateway.url()));
    child.env("API_KEY", KEY).env("LIMITED_API_KEY", LIMITED_KEY);
    let status = child.status().await;
    let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    if code != Some(0) {
        eprintln!("The gateway printed:\n{}", gateway.logs());
    }
    ExitCode::from(code.unwrap_or(1))
}

fn config(provider: &FakeProvider) -> ConfigFile {
    let file = ConfigFile::new()
        .set("breaker", "consecutive_failures", "1000000")
        .set("breaker", "success_rate", "0")
        .provider("fake", provider)
        .key("tester", KEY, "")
        .key("limited", LIMITED_KEY, "models = [\"embed\"]")
        .model("org/family/chat-7b", &["fake/chat"])
        .model_with("first-fails", &["fake/broken-first", "fake/chat"], "strategy = \"priority\"");
    MODELS.iter().fold(file, |file, model| file.model(model, &[&format!("fake/{model}")]))
}

/// The provider, by model.
fn answer(request: &Request) -> Script {
    let refuse = |status, kind, code| Script::status(status, openai::error_body("refused", kind, Some(code)));
    match request.model().as_str() {
        "embed" => embeddings(request),
        "bad-request" => bad_request(),
        "rate-limited" => refuse(429, "rate_limit_error", "rate_limit_exceeded")
            .header("retry-after", "30")
            .header("x-ratelimit-limit-requests", "10")
            .header("x-ratelimit-remaining-requests", "0")
            .header("x-ratelimit-reset-requests", "30s"),
        "broken" | "broken-first" => refuse(500, "server_error", "internal"),
        "key-refused" => refuse(401, "invalid_request_error", "invalid_api_key"),
        "html-200" => Script::new(200).header("content-type", "text/html").body("<html>Bad gateway</html>"),
        "error-200" => Script::json(openai::error_body("overloaded", "server_error", None)),
        "empty-200" => Script::json(""),
        "truncated-200" => Script::json(openai::chat_answer("x", ANSWER).split_at(120).0.to_owned()),
        "cut-reset" | "cut-responses" => openai::sane(request, ANSWER).stop_after(3, End::Reset),
        "cut-clean" => Script::sse(openai::chat_chunks("x", ANSWER).into_iter().take(3)),
        _ => chat(request),
    }
}

fn bad_request() -> Script {
    let error = json!({"message": "this model does not support 7", "type": "invalid_request_error",
        "param": "temperature", "code": "unsupported_value"});
    Script::status(400, json!({ "error": error }).to_string())
}

/// Tool calls and JSON where they are asked for, else what a sane provider does.
fn chat(request: &Request) -> Script {
    let body = request.json();
    let model = request.model();
    if body["tools"].is_array() && request.streams() {
        let (head, tail) = PLACE.split_at(9);
        return Script::sse(openai::tool_chunks(&model, "get_weather", &[head, tail]));
    }
    if body["tools"].is_array() {
        return Script::json(tool_answer(&model));
    }
    let wants_json = body["response_format"]["type"].as_str().is_some_and(|kind| kind.starts_with("json"));
    openai::sane(request, if wants_json { PLACE } else { ANSWER })
}

fn tool_answer(model: &str) -> String {
    let function = json!({"name": "get_weather", "arguments": PLACE});
    let call = json!({"id": "call_1", "type": "function", "function": function});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": openai::usage("one")})
    .to_string()
}

/// A vector per input, in the encoding that was asked for.
fn embeddings(request: &Request) -> Script {
    let body = request.json();
    let vector = match body["encoding_format"].as_str() {
        Some("base64") => json!(EIGHTHS),
        _ => (0..8).map(|n| json!(f64::from(n) / 8.0)).collect(),
    };
    let count = body["input"].as_array().map_or(1, Vec::len);
    let item = |index| json!({"object": "embedding", "index": index, "embedding": vector});
    let data: Value = (0..count).map(item).collect();
    let usage = json!({"prompt_tokens": 2, "total_tokens": 2});
    Script::json(json!({"object": "list", "data": data, "model": "embed", "usage": usage}).to_string())
}
