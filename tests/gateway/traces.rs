//! Traces by OTLP: a span per request and per attempt, linked to each other and to the client's trace, and
//! propagated to the provider; an unreachable collector costs nothing but its spans.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider, Script, ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks_with_usage},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message;
use tokio::time::Instant;

use super::{
    metrics::scrape,
    setup::{Stage, begin},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

async fn stage(collector: &FakeProvider) -> Stage {
    collector.always(Script::status(200, ""));
    let endpoint = format!("\"http://{}\"", collector.addr());
    Stage::with(|c: ConfigFile| c.set("telemetry", "otlp_endpoint", &endpoint)).await
}

/// Every span the collector has received, once there are `enough` of them.
async fn spans(collector: &FakeProvider, enough: usize) -> Vec<Span> {
    let look = |calls: &[concierge_testkit::Call]| {
        let bodies = calls.iter().filter(|call| call.path == "/v1/traces").map(|call| call.body.clone());
        let sent = bodies.map(|body| ExportTraceServiceRequest::decode(body).expect("protobuf"));
        let resources = sent.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
        (spans.len() >= enough).then_some(spans)
    };
    collector.wait_for("spans", look).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute as text.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn get(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_else(|| panic!("no {key} in {span:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_attempts_are_one_trace() {
    let collector = FakeProvider::start().await;
    let stage = stage(&collector).await;
    stage.a.next(Script::status(500, "{}"));
    stage.b.next(Script::sse(chat_chunks_with_usage("m", SIXTY)));
    let client = stage.client.clone().header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    client.header("tracestate", "vendor=1").stream(&ask_stream("m")).await;
    let spans = spans(&collector, 4).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let request = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!((request.name.as_str(), hex(&request.parent_span_id).as_str()), ("chat m", PARENT));
    assert_eq!(get(request, "gen_ai.request.model"), "m");
    assert_eq!(get(request, "http.response.status_code"), "200");
    assert_eq!(
        (get(request, "concierge.attempts"), get(request, "concierge.target")),
        ("2".into(), "b/m".into())
    );
    let of = |provider: &str| {
        let is =
            |span: &&Span| attribute(&span.attributes, "gen_ai.provider.name").as_deref() == Some(provider);
        spans.iter().find(is).unwrap()
    };
    let (failed, answered) = (of("a"), of("b"));
    for attempt in [failed, answered] {
        assert_eq!((attempt.kind(), &attempt.parent_span_id), (SpanKind::Client, &request.span_id));
        assert_eq!(get(attempt, "gen_ai.operation.name"), "chat");
        assert_eq!(get(attempt, "server.address"), "127.0.0.1");
    }
    assert_eq!(
        (get(failed, "error.type").as_str(), failed.status.clone().unwrap().code()),
        ("status", StatusCode::Error)
    );
    assert_eq!(
        (get(answered, "gen_ai.usage.input_tokens"), get(answered, "gen_ai.usage.output_tokens")),
        ("7".into(), "60".into())
    );
    assert_eq!(get(answered, "gen_ai.response.model"), "m");
    let told = stage.b.only_call();
    assert_eq!(told.header("traceparent").unwrap(), format!("00-{TRACE}-{}-01", hex(&answered.span_id)));
    assert_eq!(told.header("tracestate"), Some("vendor=1"));
    assert!(spans.iter().any(|span| span.name == "queue" && span.parent_span_id == request.span_id));
    assert!(stage.gw.logs().contains(&format!("trace={TRACE}")), "the log names the trace");
}

/// A request that waited for a slot in vain has a trace with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_slot_is_a_trace_as_well() {
    let collector = FakeProvider::start().await;
    collector.always(Script::status(200, ""));
    let endpoint = format!("\"http://{}\"", collector.addr());
    let stage = Stage::single(|c| {
        let one = c.set("telemetry", "otlp_endpoint", &endpoint).set("slots", "queue_timeout", "\"50ms\"");
        one.set("slots", "operations", "{ chat = 1 }").set("resilience", "answer_timeout", "\"60s\"")
    })
    .await;
    stage.a.always(Script::silent());
    let held = stage.client.clone();
    let _held = begin(async move { held.chat(&ask("m")).await });
    stage.a.wait_calls(1).await;
    assert_eq!(stage.chat().await.error_code(), "queue_timeout");
    // Of the request with the slot only its wait has ended.
    let spans = spans(&collector, 3).await;
    let request = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert_eq!(
        (get(request, "error.type").as_str(), get(request, "http.response.status_code").as_str()),
        ("queue_timeout", "429")
    );
    let in_vain = |span: &&Span| span.name == "queue" && span.parent_span_id == request.span_id;
    let queue = spans.iter().find(in_vain).unwrap();
    assert!(queue.end_time_unix_nano - queue.start_time_unix_nano >= 50_000_000, "{queue:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_parent_is_no_parent() {
    let collector = FakeProvider::start().await;
    let stage = stage(&collector).await;
    let bad = format!("00-{}-{PARENT}-01", TRACE.to_uppercase());
    let reply = stage.client.clone().header("traceparent", &bad).chat(&ask("m")).await;
    assert_eq!(reply.code(), 200);
    let spans = spans(&collector, 3).await;
    let request = spans.iter().find(|span| span.kind() == SpanKind::Server).unwrap();
    assert!(request.parent_span_id.is_empty() && hex(&request.trace_id) != TRACE);
    assert!(stage.a.only_call().header("traceparent").unwrap().contains(&hex(&request.trace_id)));
}

/// A request that is not sampled is not exported, and the decision is propagated.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_sent() {
    let collector = FakeProvider::start().await;
    let stage = stage(&collector).await;
    let client = stage.client.clone().header("traceparent", &format!("00-{TRACE}-{PARENT}-00"));
    client.chat(&ask("m")).await;
    assert!(stage.a.only_call().header("traceparent").unwrap().ends_with("-00"));
    stage.chat().await;
    assert!(spans(&collector, 3).await.iter().all(|span| hex(&span.trace_id) != TRACE));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_clients_trace_passes_by() {
    let stage = Stage::pair().await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    stage.client.clone().header("traceparent", &parent).header("tracestate", "v=1").chat(&ask("m")).await;
    let call = stage.a.only_call();
    assert_eq!((call.header("traceparent"), call.header("tracestate")), (Some(&*parent), Some("v=1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_the_end() {
    let collector = FakeProvider::start().await;
    let mut stage = stage(&collector).await;
    stage.chat().await;
    stage.gw.signal("TERM");
    assert!(stage.gw.wait_exit(ms(10_000)).await.success());
    assert!(spans(&collector, 3).await.len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_collector_costs_its_spans_alone() {
    let collector = FakeProvider::start().await;
    let mut stage = stage(&collector).await;
    collector.always(Script::silent());
    // More spans than the queue holds, so that some are dropped.
    let client = stage.client.clone();
    let replies = super::setup::many(2500, 16, move |_| {
        let client = client.clone();
        async move { client.chat(&ask("m")).await.code() }
    })
    .await;
    assert!(replies.iter().all(|code| *code == 200));
    assert!(scrape(&stage.client).await["concierge_spans_dropped_total"] > 0.0);
    let begun = Instant::now();
    stage.gw.signal("TERM");
    assert!(stage.gw.wait_exit(ms(15_000)).await.success());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
