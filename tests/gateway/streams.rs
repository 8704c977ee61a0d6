//! Streams: silence and stalls, keep-alive, usage, tool calls, order and latency.

use std::time::Duration;

use concierge_testkit::{
    End, Script, ms,
    openai::{self, SIXTY, ask_stream, chat_chunk, chat_chunks, chat_chunks_with_usage, event, usage_chunk},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::setup::Stage;

/// S2: after content, silence for `stall_timeout` is an error, and comments do not prolong it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_after_content_ends_in_an_error() {
    let stage = Stage::single(|c| c.set("resilience", "rescue", "\"error\"")).await;
    let begun = || Script::sse(chat_chunks("m", SIXTY)).stop_after(11, End::Hang);
    for script in [begun(), begun().then_repeat(": still here\n\n", ms(100))] {
        stage.a.next(script);
        let start = Instant::now();
        let heard = stage.client.stream(&ask_stream("m")).await;
        let took = start.elapsed();
        assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{heard:?}");
        assert!(!heard.done());
        assert_eq!(heard.text().split_whitespace().count(), 10, "every word that came");
        assert!(took > ms(900) && took < ms(5000), "{took:?}");
    }
    stage.a.wait_peer_closed(1).await;
}

/// S2: before content, a silent target has `first_token_timeout`, whatever it sends besides content.
#[tokio::test(flavor = "multi_thread")]
async fn silence_before_content_lasts_one_timeout() {
    let stage = Stage::pair().await;
    let comments = Script::sse(Vec::<String>::new()).then_repeat(":\n\n", ms(50));
    for script in [Script::silent(), Script::sse(["x"]).cut_body(0, End::Hang), comments] {
        stage.a.next(script);
        let start = Instant::now();
        let heard = stage.client.stream(&ask_stream("m")).await;
        let took = start.elapsed();
        assert_eq!((heard.text().as_str(), heard.header("x-concierge-attempts")), (SIXTY, "2"));
        assert!(took > ms(900) && took < ms(5000), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_is_bridged_by_keep_alive_comments() {
    let long = |c: concierge_testkit::ConfigFile| c.set("resilience", "first_token_timeout", "\"30s\"");
    let stage = Stage::single(long).await;
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).first_after(ms(16_500)));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert!(heard.done(), "{heard:?}");
    assert!(!heard.comments().is_empty(), "a sign of life in 16 s");
    assert!(heard.comments().iter().all(|c| c == "keep-alive"), "{:?}", heard.comments());
    let before = String::from_utf8_lossy(&heard.body).split("data:").next().unwrap().to_owned();
    assert!(before.starts_with(": keep-alive\n\n"), "{before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn provider_comments_pings_and_blank_data_are_left_out() {
    let stage = Stage::single(|c| c).await;
    let mut events: Vec<String> = Vec::new();
    for event in chat_chunks("m", SIXTY) {
        events.extend(
            [": OPENROUTER PROCESSING\n\n", "event: ping\n\n", "data:\n\n", "\n\n"].map(String::from),
        );
        events.push("event: ping\ndata: {\"type\":\"ping\"}\n\n".into());
        events.push(event);
    }
    stage.a.next(Script::sse(events));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.text(), SIXTY);
    assert!(heard.comments().iter().all(|c| c == "keep-alive"), "{:?}", heard.comments());
    let expect: Vec<_> = chat_chunks("m", SIXTY);
    let got: Vec<_> = heard.events.iter().map(|e| format!("data: {}\n\n", e.data.clone().unwrap())).collect();
    assert_eq!(got, expect, "the chunks and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_is_not_held_back() {
    let patient = |c: concierge_testkit::ConfigFile| {
        c.set("resilience", "first_token_timeout", "\"10s\"").set("resilience", "stall_timeout", "\"10s\"")
    };
    let stage = Stage::single(patient).await;
    stage.a.next(Script::sse(chat_chunks("m", "first second third")).every(ms(1500)));
    let start = Instant::now();
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert!(heard.done());
    let first = heard.arrivals.first().unwrap().0 - start;
    assert!(first < ms(2800), "the first word came after 1.5 s, the client had it after {first:?}");
    assert!(heard.arrivals.len() >= 4, "each event as it comes: {:?}", heard.arrivals);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_headers_of_a_stream() {
    let stage = Stage::single(|c| c).await;
    let heard = stage.client.clone().header("accept-encoding", "gzip, br").stream(&ask_stream("m")).await;
    assert!(heard.header("content-type").starts_with("text/event-stream"), "{heard:?}");
    assert_eq!((heard.header("cache-control"), heard.header("x-accel-buffering")), ("no-cache", "no"));
    assert_eq!(heard.header("content-encoding"), "");
    let call = stage.a.only_call();
    let asked = call.header("accept-encoding").unwrap_or("identity");
    assert_eq!(asked, "identity", "compressed events would be held back");
}

/// S8: a provider's usage chunk reaches the clients that asked for it, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn usage_comes_only_when_asked_for() {
    let stage = Stage::single(|c| c).await;
    stage.a.script(|_| Script::sse(chat_chunks_with_usage("m", SIXTY)));
    let quiet = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((quiet.usage(), quiet.text().as_str(), quiet.done()), (None, SIXTY, true));
    assert!(
        quiet.chunks().iter().all(|c| c["choices"].as_array().is_some_and(|c| !c.is_empty())),
        "{quiet:?}"
    );
    for asked in [json!({"include_usage": false}), Value::Null] {
        let mut body = ask_stream("m");
        body["stream_options"] = asked;
        assert_eq!(stage.client.stream(&body).await.usage(), None);
    }
    let mut body = ask_stream("m");
    body["stream_options"] = json!({"include_usage": true});
    let told = stage.client.stream(&body).await;
    assert_eq!(told.usage().unwrap()["completion_tokens"], 60);
    assert_eq!(told.chunks().iter().filter(|c| c["usage"].is_object()).count(), 1);
}

/// S8: unusual shapes of usage are relayed to clients that asked for it; the answer is complete in each.
#[tokio::test(flavor = "multi_thread")]
async fn odd_usage_is_relayed_as_it_is() {
    let stage = Stage::single(|c| c).await;
    let chunk = |extra: Value| {
        let choice = json!({"index": 0, "delta": {"content": "word "}, "finish_reason": null});
        let mut chunk = json!({"choices": [choice]});
        chunk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        event(&chunk)
    };
    let stop = || chat_chunk("m", json!({}), Some("stop"));
    let done = || openai::DONE.to_owned();
    let used = json!({"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
    let null = json!({"usage": null});
    for events in [
        vec![chunk(null.clone()), stop(), usage_chunk("m", "word"), done()],
        vec![chunk(used.clone()), chunk(used.clone()), stop(), done()],
        vec![chunk(null), stop(), done()],
        vec![chunk(used), stop(), usage_chunk("m", "a"), usage_chunk("m", "b"), done()],
        vec![chunk(json!({"x_groq": {"usage": {"total_tokens": 3}}})), stop(), done()],
    ] {
        let expect: Vec<Value> =
            events.iter().filter_map(|e| serde_json::from_str(e[6..].trim()).ok()).collect();
        stage.a.next(Script::sse(events));
        let mut body = ask_stream("m");
        body["stream_options"] = json!({"include_usage": true});
        let heard = stage.client.stream(&body).await;
        assert_eq!(heard.chunks(), expect);
        assert!(heard.done());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_finished_without_done_is_complete() {
    let stage = Stage::single(|c| c).await;
    let mut events = chat_chunks("m", SIXTY);
    events.pop();
    stage.a.next(Script::sse(events));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((heard.text().as_str(), heard.error()), (SIXTY, None), "finish_reason said it was all");
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_calls_are_relayed_and_never_spliced() {
    let stage = Stage::pair().await;
    let events = openai::tool_chunks("m", "weather", &["{\"city\":", "\"Ber", "lin\"}"]);
    stage.a.next(Script::sse(events.clone()));
    let whole = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((whole.tool_arguments().as_str(), whole.done()), ("{\"city\":\"Berlin\"}", true));
    stage.a.next(Script::sse(events.clone()).stop_after(3, End::Reset));
    stage.b.always(Script::sse(events));
    let cut = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(cut.error().unwrap()["code"], "stream_interrupted", "{cut:?}");
    assert_eq!((cut.tool_arguments().as_str(), cut.done()), ("{\"city\":\"Ber", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_choices_and_schemas_are_never_spliced() {
    let stage = Stage::pair().await;
    let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
    for extra in [json!({"n": 2}), json!({"response_format": schema})] {
        stage.a.next(Script::sse(chat_chunks("m", SIXTY)).stop_after(5, End::Fin));
        let mut body = ask_stream("m");
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let heard = stage.client.stream(&body).await;
        assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{extra}: {heard:?}");
        assert!(!heard.done());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_a_stream_reaches_the_client_once() {
    let stage = Stage::single(|c| c.set("resilience", "rescue", "\"error\"")).await;
    let mut events = chat_chunks("m", SIXTY);
    events.truncate(4);
    events.push(event(&json!({"error": {"message": "GPU on fire", "type": "server_error", "code": 500}})));
    events.push(openai::DONE.into());
    stage.a.next(Script::sse(events));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!(heard.error().unwrap()["code"], "stream_interrupted", "{heard:?}");
    assert_eq!(heard.chunks().iter().filter(|c| !c["error"].is_null()).count(), 1);
    assert!(!heard.done(), "no [DONE] after an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_time_bounds_a_stream_that_never_ends() {
    let stage = Stage::single(|c| c.set("resilience", "total_timeout", "\"2s\"")).await;
    let word = chat_chunk("m", json!({"content": "more "}), None);
    stage.a.next(Script::sse([word.clone()]).then_repeat(word, ms(100)));
    let start = Instant::now();
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert!(heard.error().is_some() && !heard.done(), "{heard:?}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    stage.a.wait_peer_closed(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_streaming_routes_fail_over_and_arrive_whole() {
    let stage = Stage::pair().await;
    for path in ["/v1/completions", "/v1/responses"] {
        for _ in 0..2 {
            stage.a.next(Script::status(500, "{}"));
            let body = json!({"model": "m", "stream": true, "prompt": "p", "input": "p"}).to_string();
            let open = stage.client.open(http::Method::POST, path, body.into()).await;
            let heard = open.hear().await;
            let said: String = heard
                .chunks()
                .iter()
                .filter_map(|c| c["delta"].as_str().or(c["choices"][0]["text"].as_str()).map(str::to_owned))
                .collect();
            assert_eq!((said.as_str(), heard.header("x-concierge-target")), (SIXTY, "b/m"), "{path}");
        }
    }
    let reply = stage.client.post("/v1/embeddings", &json!({"model": "m", "input": "p"})).await;
    assert_eq!(reply.json()["data"][0]["embedding"][1], -0.5);
}

/// S7, small: a client that does not read slows the provider down and does not fill our memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_not_buffered_for() {
    let stage = Stage::single(|c| c.set("resilience", "stall_timeout", "\"20s\"")).await;
    let piece = chat_chunk("m", json!({"content": "x".repeat(60_000)}), None);
    let answer = |pieces: usize| {
        let end = [chat_chunk("m", json!({}), Some("stop")), openai::DONE.into()];
        Script::sse(vec![piece.clone(); pieces].into_iter().chain(end).collect::<Vec<_>>())
    };
    // One-time costs of the first such stream, code among them, must not count here.
    stage.a.next(answer(50));
    stage.client.stream(&ask_stream("m")).await;
    let before = stage.gw.rss();
    stage.a.next(answer(500));
    let open = stage.client.open_stream(&ask_stream("m")).await;
    tokio::time::sleep(ms(1500)).await;
    let grown = stage.gw.rss().saturating_sub(before) >> 20;
    let heard = open.hear().await;
    assert!(heard.done() && heard.text().len() == 30_000_000, "it all arrives when it is read");
    assert!(grown < 12, "{grown} MiB for one reader that slept");
}

/// A Responses stream that ends without `response.completed` is cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_response_is_never_complete() {
    let stage = Stage::single(|c| c.set("resilience", "rescue", "\"error\"")).await;
    let all = openai::response_events("m", SIXTY);
    stage.a.next(Script::sse(all[..all.len() - 1].to_vec()));
    let body = json!({"model": "m", "stream": true, "input": "p"}).to_string();
    let heard = stage.client.open(http::Method::POST, "/v1/responses", body.into()).await.hear().await;
    let failed = |e: &Value| e["type"] == "error" || e["type"] == "response.failed" || !e["error"].is_null();
    assert!(heard.chunks().iter().any(failed), "{heard:?}");
    assert!(!heard.chunks().iter().any(|e| e["type"] == "response.completed"));
}
