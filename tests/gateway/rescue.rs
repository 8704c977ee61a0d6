//! An answer that breaks after content was sent is continued from another target, or ends with an error.

use concierge_testkit::{
    ConfigFile, End, FakeProvider, Heard, Request, Script,
    openai::{self, SIXTY, ask_stream, chat_chunks, words},
};
use serde_json::{Value, json};

use super::setup::{Stage, gateway};

/// Twenty words, then `end`.
fn broken(end: End) -> Script {
    Script::sse(chat_chunks("m", SIXTY)).stop_after(21, end)
}

fn twenty() -> String {
    words(SIXTY).take(20).collect()
}

/// A target that continues a prefill, and refuses to start anew.
fn continues(request: &Request) -> Script {
    let Some(said) = request.prefill() else { return Script::status(500, "{}") };
    match SIXTY.strip_prefix(said.as_str()) {
        Some(rest) => Script::sse(chat_chunks("m", rest)),
        None => {
            Script::status(400, openai::error_body("what prefill is this?", "invalid_request_error", None))
        }
    }
}

/// `a` breaks after twenty words; `b` has this prefill ability.
async fn prefilled(ability: &str) -> (FakeProvider, FakeProvider, Heard) {
    let (a, b) = (FakeProvider::start().await, FakeProvider::start().await);
    let config = ConfigFile::quick()
        .provider("a", &a)
        .provider_at("b", &b.base_url(), &format!("prefill = \"{ability}\""))
        .model("m", &["a/m", "b/m"]);
    let gw = gateway(&config).await;
    a.next(broken(End::Reset));
    b.script(continues);
    let heard = gw.client().stream(&ask_stream("m")).await;
    (a, b, heard)
}

fn whole(heard: &Heard) {
    assert_eq!(heard.text(), SIXTY, "{heard:?}");
    assert!(heard.looks_complete() && heard.done());
    let finishes = heard.chunks().iter().filter(|c| c["choices"][0]["finish_reason"].is_string()).count();
    assert_eq!(finishes, 1, "one end");
    assert_eq!(heard.events.iter().filter(|e| e.data.as_deref() == Some("[DONE]")).count(), 1);
}

fn last_message(call: &Request) -> Value {
    call.json()["messages"].as_array().unwrap().last().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_prefill_goes_on_where_it_broke() {
    let (a, b, heard) = prefilled("assistant").await;
    whole(&heard);
    assert_eq!((a.calls().len(), b.calls().len()), (1, 1));
    assert_eq!(last_message(&b.only_call()), json!({"role": "assistant", "content": twenty()}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_prefill_says_so() {
    let (_, b, heard) = prefilled("prefix").await;
    whole(&heard);
    assert_eq!(
        last_message(&b.only_call()),
        json!({"role": "assistant", "content": twenty(), "prefix": true})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vllm_prefill_says_so() {
    let (_, b, heard) = prefilled("vllm").await;
    whole(&heard);
    let body = b.only_call().json();
    assert_eq!(last_message(&b.only_call()), json!({"role": "assistant", "content": twenty()}));
    assert_eq!(
        (&body["continue_final_message"], &body["add_generation_prompt"]),
        (&json!(true), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prefill_the_same_answer_is_replayed_and_resumed() {
    for end in [End::Fin, End::Reset, End::Hang] {
        let stage = Stage::pair().await;
        stage.a.next(broken(end));
        let heard = stage.client.stream(&ask_stream("m")).await;
        whole(&heard);
        assert_eq!(stage.calls(), (1, 1), "{end:?}");
        assert_eq!(last_message(&stage.b.only_call())["role"], "user", "asked again as it was");
    }
}

/// The replay is split at other places than the first answer was: characters are compared, not events.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_in_other_pieces_is_resumed_at_the_letter() {
    let stage = Stage::pair().await;
    stage.a.next(broken(End::Fin));
    let mut events = vec![openai::chat_chunk("m", json!({"role": "assistant"}), None)];
    let letters: Vec<char> = SIXTY.chars().collect();
    for piece in letters.chunks(7) {
        events.push(openai::chat_chunk("m", json!({"content": piece.iter().collect::<String>()}), None));
    }
    events.push(openai::chat_chunk("m", json!({}), Some("stop")));
    events.push(openai::DONE.into());
    stage.b.always(Script::sse(events));
    whole(&stage.client.stream(&ask_stream("m")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_answer_is_not_spliced_on() {
    let stage = Stage::pair().await;
    stage.a.next(broken(End::Fin));
    stage.b.always(Script::sse(chat_chunks("m", "one two three quite something else")));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{heard:?}");
    assert_eq!((heard.text(), heard.done()), (twenty(), false), "what came stays, nothing is added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_answer_is_not_spliced_on() {
    let stage = Stage::pair().await;
    stage.a.next(broken(End::Fin));
    stage.b.always(Script::sse(chat_chunks("m", "one two three")));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{heard:?}");
    assert_eq!((heard.text(), heard.done()), (twenty(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_rescue_error_nothing_is_repeated() {
    let stage = Stage::with(|c| c.set("resilience", "rescue", "\"error\"")).await;
    for end in [End::Fin, End::Reset] {
        stage.a.next(broken(end));
        let heard = stage.client.stream(&ask_stream("m")).await;
        assert_eq!(heard.error().unwrap()["code"], "stream_interrupted");
        assert_eq!((heard.text(), heard.done()), (twenty(), false));
    }
    assert_eq!(stage.calls(), (2, 0), "the upstream was asked once per request");
    assert_eq!(stage.gw.target("a/m").await["failures"]["stream_broken"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_that_breaks_too_ends_in_an_error_or_a_whole_answer() {
    let stage = Stage::pair().await;
    stage.a.always(broken(End::Reset));
    stage.b.always(Script::sse(chat_chunks("m", SIXTY)).stop_after(31, End::Reset));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{heard:?}");
    assert!(!heard.done());
    assert!(SIXTY.starts_with(&heard.text()) && heard.text().len() >= twenty().len(), "{}", heard.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_by_a_fallback_model_keeps_the_usage_right() {
    let stage = Stage::pair().await;
    stage.a.next(broken(End::Reset));
    let mut body = ask_stream("m");
    body["stream_options"] = json!({"include_usage": true});
    let heard = stage.client.stream(&body).await;
    whole(&heard);
    assert!(heard.usage().is_some(), "it was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_target_is_never_rescued_by_another() {
    let stage = Stage::pair().await;
    stage.a.next(broken(End::Reset));
    let heard = stage.client.clone().header("x-concierge-target", "a/m").stream(&ask_stream("m")).await;
    assert_eq!(stage.b.calls().len(), 0);
    assert!(heard.error().is_some() || heard.text() == SIXTY, "{heard:?}");
}
