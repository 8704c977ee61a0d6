//! A fallback is another model: before it is used, a transient failure is retried once and a short
//! `retry-after` is waited out; a silent target is never tried twice.

use concierge_testkit::{
    ConfigFile, FakeProvider, Script, ms,
    openai::{SIXTY, ask, ask_stream, error_body},
};
use tokio::time::Instant;

use super::setup::Stage;

/// Model `m` on `a/m`, with the fallback `spare` on `b/spare`.
fn with_fallback(a: &FakeProvider, b: &FakeProvider) -> ConfigFile {
    ConfigFile::quick()
        .provider("a", a)
        .provider("b", b)
        .model_with("m", &["a/m"], "fallbacks = [\"spare\"]")
        .model("spare", &["b/spare"])
}

fn failing() -> Script {
    Script::status(500, error_body("boom", "server_error", None))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_500_is_tried_once_more_on_the_asked_model() {
    let stage = Stage::on(with_fallback).await;
    for script in [failing(), Script::reset()] {
        stage.a.clear();
        stage.a.next(script);
        let reply = stage.chat().await;
        assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "a/m"));
        assert_eq!((reply.header("x-concierge-attempts"), stage.calls()), ("2", (2, 0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twice_is_enough_then_the_fallback_answers() {
    let stage = Stage::on(with_fallback).await;
    stage.a.always(failing());
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "b/spare"));
    assert_eq!((reply.header("x-concierge-attempts"), stage.calls()), ("3", (2, 1)));
    assert_eq!(stage.b.only_call().model(), "spare");
    assert_eq!(reply.json()["model"], "spare", "a reply's model is the model that answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_target_is_never_asked_twice() {
    let stage = Stage::on(with_fallback).await;
    stage.a.always(Script::silent());
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((heard.text().as_str(), heard.header("x-concierge-target")), (SIXTY, "b/spare"));
    assert_eq!(stage.calls(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_not_tried_again() {
    let stage = Stage::on(with_fallback).await;
    stage.a.always(Script::status(401, error_body("no", "invalid_request_error", None)));
    assert_eq!(stage.chat().await.header("x-concierge-target"), "b/spare");
    assert_eq!(stage.calls(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_within_patience_is_waited_out() {
    let config =
        |a: &FakeProvider, b: &FakeProvider| with_fallback(a, b).set("resilience", "patience", "\"3s\"");
    let stage = Stage::on(config).await;
    stage
        .a
        .next(Script::status(429, error_body("slow", "rate_limit_error", None)).header("retry-after", "1"));
    let start = Instant::now();
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "a/m"), "the model that was asked");
    assert!(start.elapsed() > ms(950), "not before its time: {:?}", start.elapsed());
    assert_eq!(stage.calls(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_retry_after_goes_to_the_fallback_at_once() {
    let stage = Stage::on(with_fallback).await;
    stage
        .a
        .next(Script::status(429, error_body("slow", "rate_limit_error", None)).header("retry-after", "20"));
    let start = Instant::now();
    assert_eq!(stage.chat().await.header("x-concierge-target"), "b/spare");
    assert!(start.elapsed() < ms(5000), "{:?}", start.elapsed());
    assert_eq!(stage.chat().await.header("x-concierge-attempts"), "1", "and it is not asked while it rests");
}

#[tokio::test(flavor = "multi_thread")]
async fn equals_come_before_fallbacks() {
    let config = |a: &FakeProvider, b: &FakeProvider| {
        ConfigFile::quick()
            .provider("a", a)
            .provider("b", b)
            .model_with("m", &["a/one", "a/two"], "fallbacks = [\"spare\"]")
            .model("spare", &["b/spare"])
    };
    let stage = Stage::on(config).await;
    stage.a.for_model("one", |_| failing());
    let reply = stage.chat().await;
    assert_eq!((reply.header("x-concierge-target"), reply.header("x-concierge-attempts")), ("a/two", "2"));
    let asked: Vec<_> = stage.a.calls().iter().map(|c| c.model()).collect();
    assert_eq!(asked, ["one", "two"], "another target of the model at once, the same one not again");
}

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_are_used_in_order_and_bounded_by_attempts() {
    let config = |a: &FakeProvider, b: &FakeProvider| {
        ConfigFile::quick()
            .provider("a", a)
            .provider("b", b)
            .set("resilience", "max_attempts", "4")
            .model_with("m", &["a/m"], "fallbacks = [\"first\", \"second\"]")
            .model("first", &["a/first"])
            .model("second", &["b/second"])
    };
    let stage = Stage::on(config).await;
    stage.a.always(failing());
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.header("x-concierge-target")), (200, "b/second"), "{reply:?}");
    let asked: Vec<_> = stage.a.calls().iter().map(|c| c.model()).collect();
    assert!(asked.contains(&"m".into()) && asked.contains(&"first".into()), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_on_the_same_host_does_not_suffer_for_its_neighbour() {
    let config = |a: &FakeProvider, _: &FakeProvider| {
        ConfigFile::quick()
            .provider("a", a)
            .model_with("m", &["a/m"], "fallbacks = [\"spare\"]")
            .model("spare", &["a/spare"])
    };
    let stage = Stage::on(config).await;
    stage.a.for_model("m", |_| failing());
    for _ in 0..10 {
        assert_eq!(stage.chat().await.header("x-concierge-target"), "a/spare");
    }
    assert_eq!(stage.gw.target("a/spare").await["failure_count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_too_long_goes_only_where_it_may_fit() {
    let config = |a: &FakeProvider, b: &FakeProvider| {
        ConfigFile::quick()
            .provider("a", a)
            .provider("b", b)
            .model_with("m", &["a/m"], "context_window = 8000\nfallbacks = [\"large\"]")
            .model_with("large", &["b/large"], "context_window = 128000")
            .model_with("n", &["a/n"], "context_window = 8000\nfallbacks = [\"small\"]")
            .model_with("small", &["b/small"], "context_window = 4000")
    };
    let stage = Stage::on(config).await;
    let code = Some("context_length_exceeded");
    let body =
        error_body("This model's maximum context length is 8000 tokens", "invalid_request_error", code);
    stage.a.always(Script::status(400, body.clone()));
    assert_eq!(stage.chat().await.header("x-concierge-target"), "b/large");
    let reply = stage.client.chat(&ask("n")).await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (400, "context_length_exceeded"), "{reply:?}");
    assert_eq!(stage.b.calls().len(), 1, "the smaller one was not asked");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "it is not the target's fault");
}
