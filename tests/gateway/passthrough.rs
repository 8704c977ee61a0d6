//! Requests and answers are relayed byte for byte, but for the model's name, in both directions.

use bytes::Bytes;
use concierge_testkit::{
    Script,
    openai::{SIXTY, ask_stream, chat_answer, chat_chunks, long_prompt},
};
use serde_json::{Value, json};

use super::setup::Stage;

/// Requests that a parser and printer would change; `"MODEL"` stands for the model's JSON value.
const REQUESTS: &[&str] = &[
    r#"{"model":MODEL,"messages":[{"role":"user","content":"hi"}]}"#,
    "{ \"messages\" : [ {\"content\":\"hi\" , \"role\":\"user\"} ] ,\n\t\"model\" : MODEL }\n",
    r#"{"temperature":0.10,"seed":12345678901234567890123,"top_p":1.0,"big":1e400,"small":-0.0,"e":1E-7,"model":MODEL,"messages":[]}"#,
    r#"{"model":MODEL,"messages":[{"role":"user","content":"h\u00e9 é \ud83d\ude00 😀 \/ \u2028"}],"zz":null,"a":{"z":1,"a":2}}"#,
    r#"{"model":MODEL,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"model":{"type":"string"}}}}}]}"#,
    r#"{"model":MODEL,"user":"u-1","safety_identifier":"s","metadata":{"user_id":"x","model":"not this one"},"logit_bias":{"50256":-100},"top_k":40,"service_tier":"flex","prompt_cache_key":"k","messages":[{"role":"user","content":"model"}]}"#,
    r#"{"extra":{"dup":1,"dup":2},"stream":false,"n":1,"model":MODEL,"messages":[{"role":"user","content":"\\u0000 \u0000 \"model\":\"m\""}]}"#,
];

/// The request as the provider should see it: its own name for the model, nothing else changed.
fn named(template: &str, model: &str) -> String {
    template.replace("MODEL", &format!("\"{model}\""))
}

async fn stage() -> Stage {
    Stage::on(|a, b| {
        let quick = concierge_testkit::ConfigFile::quick().provider("a", a).provider("b", b);
        quick.model("m", &["a/vendor/large-model:v1", "b/other"])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_as_they_were_sent() {
    let stage = stage().await;
    for template in REQUESTS {
        stage.a.clear();
        let reply = stage.client.post_bytes("/v1/chat/completions", named(template, "m")).await;
        assert_eq!(reply.code(), 200, "{template}: {reply:?}");
        let got = stage.a.only_call().request.body;
        assert_eq!(String::from_utf8_lossy(&got), named(template, "vendor/large-model:v1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_as_they_were_sent_after_a_failover_too() {
    let stage = stage().await;
    for template in REQUESTS {
        stage.b.clear();
        stage.a.next(Script::status(500, "{}"));
        assert_eq!(stage.client.post_bytes("/v1/chat/completions", named(template, "m")).await.code(), 200);
        assert_eq!(String::from_utf8_lossy(&stage.b.only_call().body), named(template, "other"));
        stage.client.post("/admin/providers/a/reset", &json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_request_that_asks_for_usage_arrives_as_it_was_sent() {
    let stage = stage().await;
    let template = r#"{"stream_options":{"include_usage":true,"x":1},"stream":true,"model":MODEL,"messages":[],"seed":1.50}"#;
    stage.client.post_bytes("/v1/chat/completions", named(template, "m")).await;
    let got = stage.a.only_call().request.body;
    assert_eq!(String::from_utf8_lossy(&got), named(template, "vendor/large-model:v1"));
}

/// The request for usage is the only thing the gateway may add, for its accounting; everything else is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_request_keeps_every_field() {
    let stage = stage().await;
    let mut body = ask_stream("m");
    body["top_k"] = 40.into();
    body["metadata"] = json!({"b": 1, "a": 2});
    stage.client.stream(&body).await;
    let mut got = stage.a.only_call().json();
    got.as_object_mut().unwrap().remove("stream_options");
    body["model"] = "vendor/large-model:v1".into();
    assert_eq!(got, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_arrive_as_they_were_sent() {
    let stage = stage().await;
    for answer in [
        chat_answer("whatever-0613", SIXTY),
        "\n\n {\"choices\" : [ {\"message\":{\"role\":\"assistant\",\"content\":\"\\u00e9\\ud83d\\ude00\"},\
         \"x\":1.50,\"finish_reason\":\"stop\",\"index\":0} ],\"model\":\"z\",\"big\":123456789012345678901234567890}\n"
            .to_owned(),
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"length"}],"usage":null,"x_groq":{"id":"r"},"dup":1,"dup":2}"#.to_owned(),
    ] {
        stage.a.next(Script::json(answer.clone()));
        let reply = stage.chat().await;
        assert_eq!((reply.code(), String::from_utf8_lossy(&reply.body)), (200, answer.into()));
        assert_eq!(reply.header("content-type"), "application/json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_chunks_arrive_as_they_were_sent() {
    let stage = stage().await;
    let odd = [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null}],"p":"abc","x":1.50}"#,
        r#"{ "choices" : [ {"delta" : {"content":"\u00e9 é \ud83d\ude00 😀"} , "index":0} ], "big":12345678901234567890123}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":null}}],"dup":1,"dup":2}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"x"},"content_filter_results":{"z":1,"a":2}}],"service_tier":"default"}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"obfuscation":"zzz"}"#,
        "[DONE]",
    ];
    stage.a.next(Script::sse(odd.iter().map(|data| format!("data: {data}\n\n"))));
    let heard = stage.client.stream(&ask_stream("m")).await;
    let got: Vec<_> = heard.events.iter().filter_map(|e| e.data.as_deref()).collect();
    assert_eq!(got, odd);
}

/// A large body, with an image, is forwarded whole, and so is its answer.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways() {
    let stage = stage().await;
    let text = long_prompt(4 << 20);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}], "seed": 7}).to_string();
    stage.a.next(Script::json(chat_answer("z", &text)));
    let reply = stage.client.post_bytes("/v1/chat/completions", body.clone()).await;
    assert_eq!((reply.code(), reply.text() == text), (200, true));
    let got: Value = stage.a.only_call().json();
    assert!(got["messages"][0]["content"] == text.as_str(), "the prompt changed on its way");
    assert_eq!(stage.a.only_call().body.len(), body.len() - 1 + "vendor/large-model:v1".len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_arrives_whole() {
    let stage = stage().await;
    let text = long_prompt(300_000);
    stage.a.next(Script::sse(chat_chunks("z", &text)));
    let heard = stage.client.stream(&ask_stream("m")).await;
    let got = heard.text();
    let until = got.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    assert!(
        got == text,
        "{} of {} bytes, the first {until} right; {:?}",
        got.len(),
        text.len(),
        heard.error()
    );
}

/// Other routes: the body's `model` decides, in JSON and in a form, and binary answers stay binary.
#[tokio::test(flavor = "multi_thread")]
async fn other_routes_are_proxied_by_their_model() {
    let stage = stage().await;
    let speech = json!({"model": "m", "input": "hello", "voice": "alloy"});
    let reply = stage.client.post("/v1/audio/speech", &speech).await;
    assert_eq!((reply.code(), &reply.body), (200, &Bytes::from_static(b"\xff\xfbnoise")));
    assert_eq!(reply.header("content-type"), "audio/mpeg");
    assert_eq!(stage.a.only_call().model(), "vendor/large-model:v1");
    assert_eq!(stage.a.only_call().path, "/v1/audio/speech");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_form_is_routed_by_its_model_part() {
    let stage = stage().await;
    let form = |model: &str| {
        let mut form = b"--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\nRIFF\x00\xff\r\nname=\"model\"\r\n--XyZ\r\n"
            .to_vec();
        form.extend_from_slice(b"Content-Disposition: form-data; name=\"model\"\r\n\r\n");
        form.extend_from_slice(model.as_bytes());
        form.extend_from_slice(
            b"\r\n--XyZ\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nde\r\n--XyZ--\r\n",
        );
        form
    };
    stage.a.next(Script::status(500, "{}"));
    let client = stage.client.clone().header("content-type", "multipart/form-data; boundary=XyZ");
    let reply = client.post_bytes("/v1/audio/transcriptions", form("m")).await;
    assert_eq!((reply.code(), reply.json()["text"].as_str()), (200, Some("heard")), "{reply:?}");
    assert_eq!(stage.a.only_call().body, form("vendor/large-model:v1"));
    let second = stage.b.only_call();
    assert_eq!(second.body, form("other"), "with failover before the first byte");
    assert_eq!(second.header("content-type"), Some("multipart/form-data; boundary=XyZ"));
}
