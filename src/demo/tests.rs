//! The simulated providers on real ports, and the configuration in front of them.

use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use super::*;

async fn demo() -> Loaded {
    start(&DemoSettings { listen: "127.0.0.1:0".parse().unwrap() }, &Tasks::new()).await.unwrap().loaded
}

fn url(loaded: &Loaded, provider: usize, route: &str) -> String {
    loaded.config.providers[provider].url_of(route).to_string()
}

async fn post(url: String, body: Value) -> (StatusCode, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let request = http::Request::post(url).body(Full::from(body.to_string())).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn its_configuration_is_good_and_has_what_is_promised() {
    let Loaded { config, warnings } = demo().await;
    assert_eq!(warnings, []);
    let names: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["fast", "slow", "flaky"]);
    assert_eq!(config.models[0].alias, ["gpt-4o", "gpt-4o-mini"]);
    assert!(config.models.iter().all(|model| model.targets.len() == 3));
    assert!(config.memory.enabled);
}

#[tokio::test]
async fn it_does_not_listen_to_other_machines() {
    let public = DemoSettings { listen: "0.0.0.0:8080".parse().unwrap() };
    let problem = start(&public, &Tasks::new()).await.err().unwrap();
    assert!(problem.contains("use 127.0.0.1:8080"), "{problem}");
}

#[tokio::test]
async fn a_whole_and_a_streamed_chat_say_the_same() {
    let loaded = demo().await;
    let ask = |stream: bool| json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": stream});
    let (status, whole) = post(url(&loaded, 0, "/chat/completions"), ask(false)).await;
    assert_eq!(status, 200);
    let whole: Value = serde_json::from_str(&whole).unwrap();

    let (status, stream) = post(url(&loaded, 2, "/chat/completions"), ask(true)).await;
    assert_eq!(status, 200);
    assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
    let chunks = stream.lines().filter_map(|line| line.strip_prefix("data: {"));
    let said: String = chunks
        .map(|chunk| serde_json::from_str::<Value>(&format!("{{{chunk}")).unwrap())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(said, whole["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn an_unknown_route_is_refused_in_openais_shape() {
    let loaded = demo().await;
    let (status, body) = post(url(&loaded, 0, "/nonsense"), json!({})).await;
    assert_eq!(status, 404);
    assert!(serde_json::from_str::<Value>(&body).unwrap()["error"]["message"].is_string());
}
