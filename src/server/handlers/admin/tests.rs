//! The admin routes, without a socket.

use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream};

use super::*;
use crate::{admin::Reloaded, app::parts::Parts, config, tasks::Tasks};

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[[providers]]
name = "one"
base_url = "http://127.0.0.1:1/v1"
api_key = "sk-very-secret"

[[providers]]
name = "two"
base_url = "http://127.0.0.1:2/v1"

[[models]]
name = "chat"
targets = ["one/org/a", "one/b", "two/a"]
"#;

struct Operator {
    parts: Parts,
    context: AdminContext,
}

fn gateway() -> Operator {
    let loaded = config::parse("config.toml", CONFIG, &|_| None).unwrap();
    let parts = Parts::new(loaded.config, None, None, None, Tasks::new()).unwrap();
    let failed = || Reloaded { at: "now".into(), ok: false, messages: vec!["bad".into()] };
    let context = parts.admin(Arc::new(ReloadHandle::new(failed)));
    Operator { parts, context }
}

async fn ask(gateway: &Operator, route: AdminRoute, accept: &'static str) -> Response<ResponseBody> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    let asked = AdminRequest { method: &Method::GET, headers: &headers, query: None };
    answer(&gateway.context, &gateway.parts.config.load(), &route, asked).await.unwrap()
}

async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await.ok().unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn get(gateway: &Operator, route: AdminRoute) -> Value {
    let response = ask(gateway, route, "*/*").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    serde_json::from_str(&text(response).await).unwrap()
}

fn states(view: &Value) -> Vec<(&str, &str)> {
    let rows = view["providers"].as_array().unwrap();
    let mut states: Vec<_> =
        rows.iter().map(|row| (row["id"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    states.sort_unstable();
    states
}

#[tokio::test]
async fn providers_are_json_for_programs_and_a_page_for_people() {
    let gateway = gateway();
    let all = get(&gateway, AdminRoute::Providers).await;
    assert_eq!(states(&all), [("one/b", "closed"), ("one/org/a", "closed"), ("two/a", "closed")]);

    let page = ask(&gateway, AdminRoute::Providers, "text/html,*/*;q=0.8").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers()["vary"], "accept, accept-encoding");
    assert_eq!(page.headers()["referrer-policy"], "same-origin");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(text(page).await.starts_with("<!doctype html>"));
}

#[tokio::test]
async fn the_summary_has_one_line_per_target() {
    let summary = get(&gateway(), AdminRoute::Summary).await;
    let line =
        json!({ "success_rate": "100.00%", "avg_latency": "0.00s", "score": "100.0", "total_calls": 0 });
    assert_eq!(summary, json!({ "one/b": line, "one/org/a": line, "two/a": line }));
}

#[tokio::test]
async fn the_hand_reaches_one_target_or_all_of_a_provider_and_answers_how_they_are() {
    let gateway = gateway();
    let one = get(&gateway, AdminRoute::Operate("one/org/a".into(), TargetAction::Drain)).await;
    assert_eq!(states(&one), [("one/org/a", "drained")]);
    let provider = get(&gateway, AdminRoute::Operate("one".into(), TargetAction::Drain)).await;
    assert_eq!(states(&provider), [("one/b", "drained"), ("one/org/a", "drained")]);
    let reset = get(&gateway, AdminRoute::Operate("one/b".into(), TargetAction::Reset)).await;
    assert_eq!(states(&reset), [("one/b", "drained")], "a reset does not resume");
    let resumed = get(&gateway, AdminRoute::Operate("one".into(), TargetAction::Resume)).await;
    assert_eq!(states(&resumed), [("one/b", "closed"), ("one/org/a", "closed")]);
}

/// Regression: a target that was first asked for by its name after the drain was served.
#[tokio::test]
async fn the_hand_on_a_provider_holds_for_targets_that_come_later() {
    let gateway = gateway();
    let hand = |id: &str, hand| get(&gateway, AdminRoute::Operate(id.into(), hand));
    let asked = |model: &str| {
        let name = config::TargetName { provider: "one".into(), model: model.into() };
        let target = gateway.parts.config.snapshot().ad_hoc(&name).unwrap().targets[0].clone();
        target.view([None; 2], Instant::now()).state.as_str()
    };
    hand("one", TargetAction::Drain).await;
    assert_eq!(asked("later"), "drained");
    hand("one/later", TargetAction::Resume).await;
    assert_eq!(asked("later"), "closed", "one of them may be taken back alone");
    let other_key = CONFIG.replace("sk-very-secret", "sk-other-secret");
    let config = config::parse("config.toml", &other_key, &|_| None).unwrap().config;
    let parts = &gateway.parts;
    let before = parts.config.snapshot();
    parts.config.replace(ActiveConfig::new(config, Some(&before), &parts.events, &parts.tasks).unwrap());
    assert_eq!(asked("latest"), "drained", "a reload is no resume");
    hand("one", TargetAction::Resume).await;
    assert_eq!(asked("new"), "closed");
}

#[tokio::test]
async fn the_hand_on_nothing_is_refused() {
    let gateway = gateway();
    for id in ["", "three", "one/", "one/c", "One", "one/org"] {
        let route = AdminRoute::Operate(id.into(), TargetAction::Drain);
        let asked = AdminRequest { method: &Method::POST, headers: &HeaderMap::new(), query: None };
        let answer = answer(&gateway.context, &gateway.parts.config.load(), &route, asked).await;
        assert_eq!(answer.err(), Some(RequestError::TargetNotFound(id.into()).into()));
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let gateway = gateway();
    gateway.context.reload.reload();
    let shown = get(&gateway, AdminRoute::Config).await;
    assert_eq!(shown["config"]["models"][0]["name"], "chat");
    assert_eq!(shown["last_reload"], json!({ "at": "now", "ok": false, "messages": ["bad"] }));
    assert!(!shown.to_string().contains("sk-very-secret"));
}

#[tokio::test]
async fn requests_in_flight_are_listed() {
    let gateway = gateway();
    assert_eq!(get(&gateway, AdminRoute::Requests).await, json!({ "requests": [] }));
}

#[tokio::test]
async fn a_refused_reload_is_an_error_with_its_reasons() {
    let outcome = json!({ "at": "now", "ok": false, "messages": ["line 1: a", "line 2: b"] });
    let response = reloaded(outcome);
    assert_eq!(response.status(), 400);
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!((&body["ok"], &body["messages"][1]), (&json!(false), &json!("line 2: b")));
    assert_eq!(body["error"]["code"], "invalid_config");
    assert_eq!(body["error"]["message"], "The configuration was not reloaded: line 1: a; line 2: b");
    assert_eq!(reloaded(json!({ "at": "now", "ok": true, "messages": [] })).status(), 200);
}

#[tokio::test]
async fn events_stream_what_the_hand_does() {
    let gateway = gateway();
    let response = ask(&gateway, AdminRoute::Events, "text/event-stream").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = BodyStream::new(response.into_body());
    let mut next = async || {
        let frame = body.next().await.unwrap().ok().unwrap();
        String::from_utf8(frame.into_data().ok().unwrap().to_vec()).unwrap()
    };
    assert!(next().await.starts_with(':'));
    get(&gateway, AdminRoute::Operate("two/a".into(), TargetAction::Drain)).await;
    let told = next().await;
    assert!(told.starts_with("event: state\ndata: {") && told.contains(r#""state":"drained""#), "{told}");
}

#[tokio::test]
async fn a_form_without_its_script_leads_back_to_the_page() {
    let gateway = gateway();
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
    let asked = AdminRequest { method: &Method::POST, headers: &headers, query: None };
    let route = AdminRoute::Operate("two/a".into(), TargetAction::Drain);
    let response = answer(&gateway.context, &gateway.parts.config.load(), &route, asked).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &HeaderValue::from_static("/admin"))
    );
    assert_eq!(states(&get(&gateway, AdminRoute::Providers).await)[2], ("two/a", "drained"));
}

fn explanation(query: &str) -> Result<Response<ResponseBody>, Refusal> {
    explained(&gateway().parts.config.snapshot(), Some(query))
}

#[tokio::test]
async fn an_explanation_needs_a_model_that_exists() {
    let Err(Refusal::Request(RequestError::ModelNotFound { model, nearest })) = explanation("model=chatt")
    else {
        panic!()
    };
    assert_eq!((model.as_str(), nearest.as_deref()), ("chatt", Some("chat")));
    for bad in ["", "stream=true", "model=chat&stream=yes", "model=chat&tokens=many", "model=chat&user=x"] {
        assert!(matches!(explanation(bad), Err(Refusal::Request(RequestError::Invalid(_)))), "{bad}");
    }
    let told = text(explanation("model=chat&stream=false&tokens=12").unwrap()).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["stream"], &told["prompt_tokens"], &told["model"]),
        (&json!(false), &json!(12), &json!("chat"))
    );
    assert_eq!(told["order"].as_array().map(Vec::len), Some(3));
}
