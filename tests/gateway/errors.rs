//! Section 6 of the contract: every error in OpenAI's shape, with the status, type and code of the table.

use concierge_testkit::{
    Reply, Script,
    openai::{ask, error_body},
};
use http::Method;
use serde_json::json;

use super::setup::Stage;

fn check(reply: &Reply, status: u16, kind: &str, code: &str) {
    let body = reply.json();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("no error object: {body}"));
    let found = (reply.code(), error["type"].as_str(), error["code"].as_str());
    assert_eq!(found, (status, Some(kind), Some(code)), "{body}");
    assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    assert!(error.contains_key("param"), "{body}");
    assert!(!reply.header("x-request-id").is_empty(), "{:?}", reply.headers);
    assert!(reply.header("content-type").starts_with("application/json"), "{:?}", reply.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_a_400() {
    let stage = Stage::single(|c| c).await;
    let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (body, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("null", "invalid_type"),
        ("[]", "invalid_type"),
        ("\"m\"", "invalid_type"),
        (r#"{"model":"m","messages":[}"#, "invalid_json"),
        (r#"{"model":"m"} trailing"#, "invalid_json"),
        (r#"{"messages":[]}"#, "missing_field"),
        (r#"{"model":7,"messages":[]}"#, "invalid_type"),
        (r#"{"model":null,"messages":[]}"#, "missing_field"),
        (r#"{"model":"m","messages":[],"stream":"yes"}"#, "invalid_type"),
        (r#"{"model":"m","model":"n","messages":[]}"#, "invalid_json"),
    ] {
        let reply = stage.client.post_bytes("/v1/chat/completions", body).await;
        assert_eq!(reply.code(), 400, "{body:?}: {reply:?}");
        let got = reply.error_code();
        assert!(got == code || (code == "invalid_type" && got == "invalid_json"), "{body:?}: {got}");
        check(&reply, 400, "invalid_request_error", &got);
    }
    for body in [&b"{\"model\":\"m\",\"messages\":[],\"x\":\"\xff\"}"[..], b"\0\0\0", &b"\xef\xbb\xbf"[..]] {
        let reply = stage.client.post_bytes("/v1/chat/completions", body.to_vec()).await;
        check(&reply, 400, "invalid_request_error", "invalid_json");
    }
    let reply = stage.client.post_bytes("/v1/chat/completions", deep).await;
    assert!(matches!(reply.code(), 200 | 400), "{:?}", reply.status);
    assert_eq!(stage.chat().await.code(), 200, "it still lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model_is_named_as_the_parameter() {
    let stage = Stage::single(|c| c).await;
    let reply = stage.client.chat(&json!({"messages": []})).await;
    check(&reply, 400, "invalid_request_error", "missing_field");
    assert_eq!(reply.json()["error"]["param"], "model");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_models_routes_and_methods_are_told_apart() {
    let stage = Stage::single(|c| c).await;
    let reply = stage.client.chat(&ask("no-such-model")).await;
    check(&reply, 404, "invalid_request_error", "model_not_found");
    let reply = stage.client.chat(&ask("nobody/m")).await;
    check(&reply, 404, "invalid_request_error", "model_not_found");
    let reply = stage.client.get("/v1/models/no-such-model").await;
    check(&reply, 404, "invalid_request_error", "model_not_found");
    for path in ["/", "/v2/chat/completions", "/favicon.ico", "/v1"] {
        check(&stage.client.get(path).await, 404, "invalid_request_error", "route_not_found");
    }
    for (method, path) in
        [(Method::GET, "/v1/chat/completions"), (Method::DELETE, "/v1/models"), (Method::POST, "/livez")]
    {
        let reply = stage.client.send(method, path, "".into()).await;
        check(&reply, 405, "invalid_request_error", "method_not_allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_media_type_is_a_415() {
    let stage = Stage::single(|c| c).await;
    for kind in ["application/xml", "image/png"] {
        let client = stage.client.clone().header("content-type", kind);
        let reply = client.post_bytes("/v1/chat/completions", ask("m").to_string()).await;
        check(&reply, 415, "invalid_request_error", "unsupported_media_type");
    }
    let client = stage.client.clone().header("content-type", "Application/JSON; charset=UTF-8");
    assert_eq!(client.post_bytes("/v1/chat/completions", ask("m").to_string()).await.code(), 200);
}

/// R9: the client's own faults are relayed unchanged, once, and count against no target.
#[tokio::test(flavor = "multi_thread")]
async fn the_clients_fault_is_passed_on_as_the_provider_said_it() {
    let stage = Stage::pair().await;
    let policy = error_body(
        "Your request was rejected by our safety system",
        "invalid_request_error",
        Some("content_policy_violation"),
    );
    let odd = r#"{ "object":"error", "message":"extra_forbidden: user" , "type":"invalid_request_error","code":null }"#;
    for (status, body) in [
        (400, error_body("'temperature' must be <= 2", "invalid_request_error", Some("invalid_value"))),
        (400, policy),
        (404, error_body("no such assistant", "invalid_request_error", None)),
        (415, error_body("no", "invalid_request_error", None)),
        (422, odd.to_owned()),
    ] {
        for body_asked in [ask("m"), concierge_testkit::openai::ask_stream("m")] {
            stage.a.clear();
            stage.a.next(Script::status(status, body.clone()));
            let reply = stage.client.chat(&body_asked).await;
            assert_eq!((reply.code(), String::from_utf8_lossy(&reply.body)), (status, body.as_str().into()));
            assert_eq!(stage.a.calls().len(), 1, "{status}");
        }
    }
    assert_eq!(stage.b.calls().len(), 0, "no other target is asked");
    let a = stage.gw.target("a/m").await;
    assert_eq!(
        (&a["state"], &a["failure_count"], &a["success_rate"]),
        (&json!("closed"), &json!(0), &json!(1.0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_fits_nowhere_is_the_providers_own_4xx() {
    let stage = Stage::pair().await;
    let code = Some("context_length_exceeded");
    let body = error_body("maximum context length is 8192 tokens", "invalid_request_error", code);
    stage.a.always(Script::status(400, body.clone()));
    stage.b.always(Script::status(400, body));
    let reply = stage.chat().await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (400, "context_length_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_last_target_have_their_codes() {
    let stage = Stage::single(super::setup::patient).await;
    for (script, status, code) in [
        (Script::status(500, "{}"), 502, "upstream_error"),
        (Script::status(503, "<html>"), 502, "upstream_error"),
        (Script::reset(), 502, "upstream_error"),
        (Script::json("<html>"), 502, "upstream_invalid_response"),
        (Script::json(""), 502, "upstream_invalid_response"),
        (Script::raw("garbage\r\n\r\n"), 502, "upstream_"),
        (Script::silent(), 504, "upstream_timeout"),
    ] {
        stage.a.always(script.clone());
        let reply = stage.chat().await;
        let got = reply.error_code();
        let matches = got == code || (code.ends_with('_') && got.starts_with(code));
        assert!(reply.code() == status && matches, "{script:?}: {reply:?}");
        check(&reply, status, "upstream_error", &got);
        assert_eq!(reply.header("x-should-retry"), "false");
        assert!(reply.header("retry-after").is_empty(), "not a time anybody promised");
    }
}

/// The client must see which provider failed, but never its HTML page.
#[tokio::test(flavor = "multi_thread")]
async fn a_providers_page_never_becomes_the_clients_error() {
    let stage = Stage::single(|c| c).await;
    let page = format!("<html><script>alert(1)</script>{}</html>", "x".repeat(100_000));
    stage.a.always(Script::status(502, page));
    let reply = stage.chat().await;
    check(&reply, 502, "upstream_error", "upstream_error");
    assert!(reply.body.len() < 8192, "{} bytes of error", reply.body.len());
}
