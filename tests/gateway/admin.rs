//! The admin routes: access, what they show, and what they never show.

use std::time::Duration;

use concierge_testkit::{
    Client, ConfigFile, Script, eventually, ms,
    openai::{ask, ask_stream},
};
use http::Method;
use serde_json::json;

use super::setup::{Stage, gateway};

const TOKEN: &str = "operator-token-0123456789";

const ROUTES: &[(&str, &str)] = &[
    ("GET", "/admin"),
    ("GET", "/admin/providers"),
    ("GET", "/admin/providers/summary"),
    ("POST", "/admin/providers/a%2Fm/drain"),
    ("POST", "/admin/providers/a%2Fm/resume"),
    ("POST", "/admin/providers/a%2Fm/reset"),
    ("GET", "/admin/requests"),
    ("GET", "/admin/slots"),
    ("GET", "/admin/config"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/events"),
    ("GET", "/admin/explain?model=m"),
    ("GET", "/admin/openapi.json"),
];

/// This machine's own address that is not loopback, if it has one.
fn outside_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_every_admin_route_wants_the_token() {
    let stage = Stage::single(|c| {
        c.set("server", "listen", "\"0.0.0.0:0\"").set("admin", "token", &format!("\"{TOKEN}\"")).key(
            "alice",
            "alice-key-0123456789",
            "",
        )
    })
    .await;
    let host = outside_address().unwrap_or_else(|| "127.0.0.1".into());
    let port = stage.gw.addr().rsplit(':').next().unwrap();
    let anybody = Client::new(&format!("http://{host}:{port}"));
    let wrong = anybody.clone().key("operator-token-0123456780");
    let user = anybody.clone().key("alice-key-0123456789");
    let bare = anybody.clone().header("x-api-key", "alice-key-0123456789");
    let in_cookie = anybody.clone().header("cookie", &format!("token={TOKEN}"));
    for (method, path) in ROUTES {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for client in [&anybody, &wrong, &user, &bare, &in_cookie] {
            let reply = client.send(method.clone(), path, "".into()).await;
            assert!(matches!(reply.code(), 401 | 403), "{method} {path}: {reply:?}");
        }
        let joint = if path.contains('?') { '&' } else { '?' };
        let reply = anybody.send(method.clone(), &format!("{path}{joint}token={TOKEN}"), "".into()).await;
        assert!(matches!(reply.code(), 401 | 403), "a token in the address is a token in every log: {path}");
    }
    let reply = user.get("/admin/providers").await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (403, "admin_only"));
    assert_eq!(anybody.key(TOKEN).get("/admin/providers").await.code(), 200);
    assert_eq!(user.chat(&ask("m")).await.code(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_the_operator_needs_no_token() {
    let stage = Stage::single(|c| c).await;
    for path in ["/admin", "/admin/providers", "/admin/config", "/admin/requests"] {
        assert_eq!(stage.client.get(path).await.code(), 200, "{path}");
    }
}

/// A browser without the token gets a form for it, and nothing of the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_a_browser_gets_a_form_and_nothing_of_the_gateway() {
    let stage = Stage::with(|c| c.set("admin", "token", &format!("\"{TOKEN}\""))).await;
    // Through a proxy the request is not local any more.
    let browser = stage.client.clone().header("accept", "text/html").header("x-forwarded-for", "192.0.2.1");
    let form = browser.get("/admin").await;
    assert_eq!(form.code(), 401);
    assert!(form.header("content-security-policy").contains("frame-ancestors 'none'"), "{form:?}");
    let html = String::from_utf8_lossy(&form.body);
    assert!(html.contains("type=\"password\"") && !html.contains("a/m") && !html.contains(TOKEN));
    let page = browser.key(TOKEN).get("/admin").await;
    assert_eq!(page.code(), 200);
    assert!(String::from_utf8_lossy(&page.body).contains("a/m"));
}

/// An explanation matches what then happens; a failover without a watcher is on the page all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_who_is_asked_and_the_page_who_failed() {
    let stage = Stage::pair().await;
    let explained = stage.client.get("/admin/explain?model=m").await.json();
    let order: Vec<_> = explained["order"].as_array().unwrap().iter().map(|step| &step["target"]).collect();
    assert_eq!(order, ["a/m", "b/m"], "{explained:#}");
    stage.a.next(Script::status(500, "{}"));
    let reply = stage.client.chat(&ask("m")).await;
    assert_eq!(reply.header("x-concierge-target"), order[1].as_str().unwrap());
    let page = stage.client.clone().header("accept", "text/html").get("/admin").await;
    assert!(String::from_utf8_lossy(&page.body).contains("a/m → b/m"));

    stage.client.post_bytes("/admin/providers/a%2Fm/drain", "").await;
    let explained = stage.client.get("/admin/explain?model=m").await.json();
    assert_eq!(explained["order"][0]["target"], "b/m", "{explained:#}");
    assert_eq!(explained["not_asked"][0]["reason"], "Drained by an operator.", "{explained:#}");
    assert_eq!(stage.chat().await.header("x-concierge-target"), "b/m");

    let unknown = stage.client.get("/admin/explain?model=mm").await;
    assert_eq!((unknown.code(), unknown.error_code().as_str()), (404, "model_not_found"));
}

/// A page of another site must not be able to drain targets through the operator's browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_give_orders() {
    let stage = Stage::single(|c| c).await;
    let foreign =
        stage.client.clone().header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
    let reply = foreign.post_bytes("/admin/providers/a%2Fm/drain", "").await;
    assert!(matches!(reply.code(), 401 | 403), "{reply:?}");
    assert_eq!(stage.gw.target("a/m").await["state"], "closed");
    let rebound = stage.client.clone().header("host", "evil.example").get("/admin/providers").await;
    assert!(!rebound.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_shows_every_promised_field() {
    let stage = Stage::pair().await;
    stage.chat().await;
    let target = stage.gw.target("a/m").await;
    for (field, good) in [
        ("id", target["id"] == "a/m"),
        ("provider", target["provider"] == "a"),
        ("model", target["model"] == "m"),
        ("state", target["state"] == "closed"),
        ("score", target["score"].is_number()),
        ("success_rate", target["success_rate"] == 1.0),
        ("avg_latency", target["avg_latency"].is_number()),
        ("share", target["share"].is_number()),
        ("success_count", target["success_count"] == 1),
        ("failure_count", target["failure_count"] == 0),
        ("total_calls", target["total_calls"] == 1),
        ("total_latency", target["total_latency"].as_f64().is_some_and(|s| s > 0.0 && s < 5.0)),
        ("last_used", target["last_used"].as_str().is_some_and(|t| t.contains('T'))),
        ("in_flight", target["in_flight"] == 0),
        ("retry_at", target.get("retry_at").is_some_and(|v| v.is_null())),
        ("first_token_timeout", target["first_token_timeout"] == 1.0),
        ("reason", target["reason"].is_string()),
    ] {
        assert!(good, "{field} in {target:#}");
    }
    for p in ["p50", "p95", "p99", "tokens_per_second"] {
        assert!(target["latency"].get(p).is_some(), "latency.{p} in {target:#}");
    }
    for kind in ["connect", "timeout", "status_5xx", "rate_limited", "stream_broken", "auth", "malformed"] {
        assert_eq!(target["failures"][kind], 0, "failures.{kind} in {target:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_is_in_words_for_people() {
    let stage = Stage::pair().await;
    stage.chat().await;
    let summary = stage.client.get("/admin/providers/summary").await.json();
    let a = &summary["a/m"];
    assert_eq!((&a["success_rate"], &a["total_calls"]), (&json!("100.00%"), &json!(1)), "{summary}");
    assert!(a["avg_latency"].as_str().is_some_and(|s| s.ends_with('s')), "{summary}");
    assert!(a["score"].as_str().is_some_and(|s| s.parse::<f64>().is_ok()), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_and_a_program_json() {
    let stage = Stage::pair().await;
    let browser = stage.client.clone().header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = browser.get("/admin/providers").await;
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    let json = stage.client.clone().header("accept", "application/json").get("/admin/providers").await;
    assert!(json.header("content-type").starts_with("application/json"));
    assert!(stage.client.get("/admin").await.header("content-type").starts_with("text/html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn running_requests_are_shown_and_leave() {
    let stage = Stage::single(|c| c).await;
    stage.a.next(Script::silent());
    let client = stage.client.clone().header("x-request-id", "find-me");
    let body = ask_stream("m");
    let asked = tokio::time::timeout(ms(800), async { client.stream(&body).await });
    let look = async {
        stage.a.wait_calls(1).await;
        stage.client.get("/admin/requests").await.json()
    };
    let (_, shown) = tokio::join!(asked, look);
    let text = shown.to_string();
    for part in [
        "find-me",
        "a/m",
        "\"phase\"",
        "\"attempts\"",
        "\"elapsed_ms\"",
        "\"operation\"",
        "\"user\"",
        "\"model\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let gone = || async {
        let text = stage.client.get("/admin/requests").await;
        (!String::from_utf8_lossy(&text.body).contains("find-me")).then_some(())
    };
    eventually("it leaves the list", Duration::from_secs(2), gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_of_failovers_as_they_happen() {
    let stage = Stage::pair().await;
    let mut events = stage.client.open(Method::GET, "/admin/events", "".into()).await;
    assert!(events.header("content-type").starts_with("text/event-stream"));
    stage.a.next(Script::status(500, "{}"));
    stage.chat().await;
    let told = events.until("failover").await;
    assert!(told.contains("a/m"), "{told}");
}

/// Secrets are in no log line, error, metric, admin page or header.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_nowhere() {
    let config = |c: ConfigFile| {
        c.set("telemetry", "log", "\"trace\"").set("admin", "token", &format!("\"{TOKEN}\"")).key(
            "alice",
            "alice-key-0123456789",
            "",
        )
    };
    let stage = Stage::with(config).await;
    let alice = stage.client.clone().key("alice-key-0123456789");
    let operator = stage.client.clone().key(TOKEN);
    alice.chat(&ask("m")).await;
    stage.client.clone().key("wrong-key-0123456789").chat(&ask("m")).await;
    let echo = r#"{"error":{"message":"Incorrect API key provided: sk-a-secret"}}"#;
    stage.a.always(Script::status(401, echo));
    stage.b.always(Script::status(500, echo.replace("sk-a", "sk-b")));
    let mut seen = String::new();
    let failed = alice.chat(&ask("m")).await;
    seen.push_str(&format!("{failed:?}{}", String::from_utf8_lossy(&failed.body)));
    for path in [
        "/admin",
        "/admin/providers",
        "/admin/config",
        "/admin/requests",
        "/admin/explain?model=m",
        "/v1/models",
    ] {
        let reply = operator.get(path).await;
        seen.push_str(&format!("{path} {:?} {}\n", reply.headers, String::from_utf8_lossy(&reply.body)));
    }
    seen.push_str(&stage.gw.logs());
    for secret in ["sk-a-secret", "sk-b-secret", "alice-key-0123456789", TOKEN, "wrong-key-0123456789"] {
        let at =
            seen.find(secret).map(|i| seen[i.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert_eq!(at, None, "{secret} is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_configuration_is_shown() {
    let stage = Stage::pair().await;
    let text = stage.client.get("/admin/config").await.json().to_string();
    for part in ["\"first_token_timeout\"", "\"1s\"", "\"a/m\"", "priority"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_needs_no_provider() {
    let gw = gateway(&ConfigFile::new()).await;
    assert_eq!(gw.client().get("/livez").await.code(), 200);
    assert_eq!(gw.client().get("/healthz").await.code(), 200);
    assert_eq!(gw.client().get("/readyz").await.code(), 503, "no target can serve");
    assert_eq!(gw.client().get("/v1/models").await.json()["data"], json!([]));
}
