//! P5 and section 4 of the contract: allow-lists in both directions; credentials are never forwarded.

use concierge_testkit::{
    Script, ms,
    openai::{ask, ask_stream, chat_answer},
};
use serde_json::json;

use super::setup::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn only_what_describes_the_request_travels_upstream() {
    let stage = Stage::single(|c| c).await;
    let mut client = stage.client.clone().key("client-secret-1");
    for (name, value) in [
        ("x-api-key", "client-secret-2"),
        ("api-key", "client-secret-3"),
        ("cookie", "session=client-secret-4"),
        ("proxy-authorization", "Basic client-secret-5"),
        ("x-openwebui-user-jwt", "client-secret-6"),
        ("x-user-id", "alice-secret"),
        ("x-openwebui-user-email", "alice@secret"),
        ("x-concierge-memory", "off"),
        ("x-concierge-timeout", "30s"),
        ("x-forwarded-for", "10.1.2.3"),
        ("x-stainless-lang", "python"),
        ("connection", "x-hop"),
        ("x-hop", "hop-secret"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("openai-organization", "org-secret"),
    ] {
        client = client.header(name, value);
    }
    let reply = client.chat(&ask("m")).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    let call = stage.a.only_call();
    assert_eq!(call.header("authorization"), Some("Bearer sk-a-secret"), "our key, once");
    let all = format!("{:?}", call.headers).to_lowercase();
    for word in [
        "client-secret",
        "alice",
        "hop-secret",
        "org-secret",
        "10.1.2.3",
        "x-concierge",
        "stainless",
        "cookie",
    ] {
        assert!(!all.contains(word), "`{word}` travelled: {all}");
    }
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("authorization")).count(), 1);
    assert_eq!(call.header("host"), Some(stage.a.addr().to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_describes_the_answer_travels_back() {
    let stage = Stage::single(|c| c).await;
    let answer = Script::json(chat_answer("m", "x"))
        .header("set-cookie", "upstream-secret=1")
        .header("server", "upstream-secret")
        .header("x-goog-api-key", "upstream-secret")
        .header("x-ratelimit-limit-requests", "7777")
        .header("x-ratelimit-remaining-tokens", "7777")
        .header("x-request-id", "req_upstream_1")
        .header("strict-transport-security", "upstream-secret")
        .header("access-control-allow-origin", "*")
        .header("retry-after", "7777")
        .header("x-should-retry", "upstream-secret")
        .header("x-concierge-target", "upstream-secret")
        .header("connection", "x-hop")
        .header("x-hop", "upstream-secret");
    stage.a.next(answer);
    let reply = stage.chat().await;
    let all = format!("{:?}", reply.headers);
    assert!(!all.contains("upstream-secret") && !all.contains("7777"), "{all}");
    assert_eq!(reply.header("x-upstream-request-id"), "req_upstream_1");
    assert_ne!(reply.header("x-request-id"), "req_upstream_1");
    assert!(!reply.headers.contains_key("access-control-allow-origin"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxied_answer_tells_who_and_how() {
    let stage = Stage::pair().await;
    for streamed in [false, true] {
        stage.a.next(Script::status(500, "{}"));
        let body = if streamed { ask_stream("m") } else { ask("m") };
        let open = stage.client.open_stream(&body).await;
        assert_eq!((open.header("x-concierge-target"), open.header("x-concierge-attempts")), ("b/m", "2"));
        for name in ["x-concierge-queue-ms", "x-concierge-overhead-ms"] {
            let value: f64 =
                open.header(name).parse().unwrap_or_else(|_| panic!("{name}: {:?}", open.headers));
            assert!((0.0..1000.0).contains(&value), "{name}: {value}");
        }
        assert!(!open.header("x-request-id").is_empty());
    }
}

/// The overhead header does not include the provider's time.
#[tokio::test(flavor = "multi_thread")]
async fn overhead_is_ours_alone() {
    let stage = Stage::single(|c| c).await;
    stage.a.next(Script::json(chat_answer("m", "x")).head_after(ms(600)));
    let reply = stage.chat().await;
    let overhead: f64 = reply.header("x-concierge-overhead-ms").parse().unwrap();
    assert!(overhead < 500.0, "{overhead} ms for an answer that took the provider 600 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sane_request_id_is_kept_and_an_odd_one_replaced() {
    let stage = Stage::single(|c| c).await;
    let with = |id: &str| stage.client.clone().header("x-request-id", id);
    assert_eq!(with("req-42_a.B").chat(&ask("m")).await.header("x-request-id"), "req-42_a.B");
    let long = "x".repeat(4000);
    for odd in ["with space", "<script>", long.as_str()] {
        let reply = with(odd).get("/v1/models").await;
        assert!(!reply.header("x-request-id").is_empty(), "{odd}");
        assert_ne!(reply.header("x-request-id"), odd);
    }
    let two = [stage.chat().await, stage.chat().await];
    assert_ne!(two[0].header("x-request-id"), two[1].header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id() {
    let stage = Stage::single(|c| c).await;
    for path in
        ["/v1/models", "/v1/nothing", "/healthz", "/livez", "/readyz", "/metrics", "/admin/providers", "/x"]
    {
        let reply = stage.client.get(path).await;
        assert!(!reply.header("x-request-id").is_empty(), "{path}: {reply:?}");
    }
    let bad = stage.client.post_bytes("/v1/chat/completions", "{").await;
    assert!(!bad.header("x-request-id").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_deadline_is_kept() {
    let stage = Stage::single(|c| c.set("resilience", "answer_timeout", "\"20s\"")).await;
    stage.a.always(Script::silent());
    let start = tokio::time::Instant::now();
    let reply = stage.client.clone().header("x-concierge-timeout", "700ms").chat(&ask("m")).await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (504, "upstream_timeout"), "{reply:?}");
    assert!(start.elapsed() > ms(600) && start.elapsed() < ms(10_000), "{:?}", start.elapsed());
    stage.a.wait_peer_closed(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ids_cannot_inject_headers() {
    let stage = Stage::single(|c| c).await;
    for evil in ["m\r\nx-evil: 1", "a/m\r\n\r\nGET /evil HTTP/1.1", "a/\u{0}", "a/../../evil", "a/m?x=1#y"] {
        let reply = stage.client.chat(&ask(evil)).await;
        assert!(!reply.headers.contains_key("x-evil"), "{reply:?}");
        assert!(reply.code() != 500, "{evil:?}: {reply:?}");
    }
    assert!(stage.a.calls().iter().all(|c| c.path == "/v1/chat/completions" && c.header("x-evil").is_none()));
    let user = json!({"model": "m", "user": "u\r\nx-evil: 1", "messages": []});
    assert_eq!(stage.client.chat(&user).await.code(), 200);
    assert!(stage.a.calls().iter().all(|c| c.header("x-evil").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_own_headers_and_key_header_are_sent() {
    let stage = Stage::on(|a, _| {
        let more = "headers = { \"x-team\" = \"blue\" }\napi_key_header = \"api-key\"";
        concierge_testkit::ConfigFile::quick().provider_at("a", &a.base_url(), more).model("m", &["a/m"])
    })
    .await;
    assert_eq!(stage.chat().await.code(), 200);
    let call = stage.a.only_call();
    assert_eq!((call.header("x-team"), call.header("api-key")), (Some("blue"), Some("sk-a-secret")));
    assert_eq!(call.header("authorization"), None);
}
