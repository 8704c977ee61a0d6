//! Every attempt logs its usage once: complete, partial or unknown. Nothing is lost or counted twice.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, End, Script, eventually, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks, chat_chunks_with_usage},
};
use serde_json::Value;

use super::setup::Stage;

async fn stage() -> Stage {
    Stage::with(|c: ConfigFile| c.set("telemetry", "log_format", "\"json\"")).await
}

fn named(stage: &Stage, id: &str) -> Client {
    stage.client.clone().header("x-request-id", id)
}

/// The `usage` events of this request in the log, one per attempt that answered; at least `n`.
async fn lines(stage: &Stage, id: &str, n: usize) -> Vec<Value> {
    let look = || async {
        let logs = stage.gw.logs();
        let parsed = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told = parsed.filter(|line| line.to_string().contains(id) && line["message"] == "usage");
        let told: Vec<_> = told.collect();
        (told.len() >= n).then_some(told)
    };
    eventually(&format!("{n} lines with usage of {id}"), Duration::from_secs(3), look).await
}

/// Tokens of the prompt and of the answer, over these lines.
fn tokens<'a>(lines: impl IntoIterator<Item = &'a Value>) -> u64 {
    let both =
        |line: &Value| line["prompt_tokens"].as_u64().unwrap() + line["completion_tokens"].as_u64().unwrap();
    lines.into_iter().map(both).sum()
}

fn complete(lines: &[Value]) -> u64 {
    tokens(lines.iter().filter(|line| line["usage"] == "complete"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_is_complete_once() {
    let stage = stage().await;
    for (id, streamed) in [("ledger-whole", false), ("ledger-stream", true)] {
        let client = named(&stage, id);
        if streamed {
            stage.a.next(Script::sse(chat_chunks_with_usage("m", SIXTY)));
            client.stream(&ask_stream("m")).await;
        } else {
            client.chat(&ask("m")).await;
        }
        let told = lines(&stage, id, 1).await;
        assert_eq!((told.len(), complete(&told)), (1, 67), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_usage_is_unknown() {
    let stage = stage().await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)));
    named(&stage, "ledger-none").stream(&ask_stream("m")).await;
    let told = lines(&stage, "ledger-none", 1).await;
    assert_eq!(told[0]["usage"], "unknown", "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_is_not_complete() {
    let stage = stage().await;
    stage.a.next(Script::sse(chat_chunks_with_usage("m", SIXTY)).every(ms(20)));
    let mut open = named(&stage, "ledger-left").open_stream(&ask_stream("m")).await;
    open.until("three").await;
    drop(open);
    let told = lines(&stage, "ledger-left", 1).await;
    assert!(told.len() == 1 && told[0]["usage"] != "complete", "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescued_answer_has_a_line_for_each_attempt_that_answered() {
    let stage = stage().await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).stop_after(21, End::Reset));
    stage.b.always(Script::sse(chat_chunks_with_usage("m", SIXTY)));
    let heard = named(&stage, "ledger-rescue").stream(&ask_stream("m")).await;
    assert_eq!(heard.text(), SIXTY);
    let told = lines(&stage, "ledger-rescue", 2).await;
    assert_eq!(complete(&told), 67, "b's, once: {told:#?}");
    assert!(told.iter().any(|l| l["usage"] != "complete" && l.to_string().contains("a/m")), "{told:#?}");
}

/// The text of an error counts as no tokens.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_adds_no_tokens() {
    let stage = stage().await;
    stage.a.next(Script::status(500, r#"{"error":{"message":"x"},"usage":{"total_tokens":999}}"#));
    named(&stage, "ledger-failed").chat(&ask("m")).await;
    let told = lines(&stage, "ledger-failed", 2).await;
    assert_eq!(tokens(&told), 67, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_log_is_json_to_the_last_line() {
    let stage = stage().await;
    stage.chat().await;
    stage.a.next(Script::status(500, "\u{1b}[31m<html>\"\n"));
    stage.chat().await;
    lines(&stage, "", 2).await;
    for line in stage.gw.logs().lines().filter(|line| !line.contains(stage.gw.addr())) {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}
