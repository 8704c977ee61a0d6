//! TLS and HTTP/2, on both sides.

use std::{sync::Arc, time::Duration};

use concierge_testkit::{
    Client, ConfigFile, End, FakeProvider, Script, eventually,
    fake_h2::H2Provider,
    ms,
    openai::{SIXTY, ask, ask_stream, chat_chunks},
    tls::Authority,
};

use super::setup::{Stage, launch, many};

fn tls_listener(config: ConfigFile, authority: &Authority) -> ConfigFile {
    let path = |p: std::path::PathBuf| format!("\"{}\"", p.display());
    config.set("server", "tls_cert", &path(authority.cert_file())).set(
        "server",
        "tls_key",
        &path(authority.key_file()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_serves_https_and_http2_over_it() {
    let authority = Authority::new();
    let stage = Stage::single(|c| tls_listener(c, &authority)).await;
    assert!(stage.gw.url().starts_with("https://"), "{}", stage.gw.url());
    let h1 = stage.client.clone().tls(authority.connector(&[b"http/1.1"]));
    assert_eq!(h1.chat(&ask("m")).await.text(), SIXTY);
    let h2 = stage.client.clone().tls(authority.connector(&[b"h2"])).http2();
    let heard = h2.stream(&ask_stream("m")).await;
    assert!(heard.done() && heard.text() == SIXTY);
    let plain = stage.client.raw("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", ms(1000)).await;
    assert!(!plain.starts_with(b"HTTP/1.1 200"), "plain HTTP on a TLS port");
    assert_eq!(h1.get("/livez").await.code(), 200, "and it lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_spoken_with_prior_knowledge() {
    let stage = Stage::pair().await;
    let h2 = stage.client.clone().http2();
    assert_eq!(h2.chat(&ask("m")).await.text(), SIXTY);
    stage.a.next(Script::status(500, "{}"));
    let heard = h2.stream(&ask_stream("m")).await;
    assert_eq!((heard.text().as_str(), heard.header("x-concierge-target")), (SIXTY, "b/m"));
    stage.a.next(Script::sse(chat_chunks("m", SIXTY)).every(ms(30)));
    let mut open = h2.open_stream(&ask_stream("m")).await;
    open.until("two").await;
    drop(open);
    let gone = |calls: &[concierge_testkit::Call]| calls.last()?.peer_closed;
    stage.a.wait_for("the upstream of an h2 client that left is closed", gone).await;
}

async fn behind_tls(authority: &Authority, url: &str) -> concierge_testkit::Gateway {
    let config = ConfigFile::quick().provider_at("a", url, "").model("m", &["a/m"]);
    let roots = authority.root_file().display().to_string();
    launch().env("SSL_CERT_FILE", &roots).start(config.toml()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_over_http2_is_multiplexed_and_cancelled() {
    let authority = Authority::new();
    let provider = H2Provider::start(&authority, ms(10)).await;
    let gw = Arc::new(behind_tls(&authority, &provider.base_url()).await);
    assert_eq!(
        gw.client().chat(&ask("m")).await.code(),
        200,
        "one request alone finds out that it is HTTP/2"
    );
    let texts = many(20, 20, |_| {
        let client = gw.client();
        async move { client.stream(&ask_stream("m")).await.text() }
    });
    assert!(texts.await.iter().all(|text| text == SIXTY));
    assert!(provider.connections() <= 4, "{} connections for 20 streams", provider.connections());
    let mut open = gw.client().open_stream(&ask_stream("m")).await;
    open.until("two").await;
    drop(open);
    let closed = || async { (provider.open_bodies() == 0).then_some(()) };
    eventually("the cancelled stream is reset", ms(2000), closed).await;
    assert_eq!(gw.client().chat(&ask("m")).await.code(), 200, "the connection is still good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_tls_stream_is_never_complete() {
    let authority = Authority::new();
    let a = FakeProvider::start_tls(SIXTY, &authority).await;
    let gw = behind_tls(&authority, &a.base_url()).await;
    assert_eq!(gw.client().chat(&ask("m")).await.text(), SIXTY);
    for framing in [concierge_testkit::script::Framing::Chunked, concierge_testkit::script::Framing::Close] {
        a.next(Script::sse(chat_chunks("m", SIXTY)).framing(framing).stop_after(11, End::Fin));
        let heard = gw.client().stream(&ask_stream("m")).await;
        assert!(!heard.looks_complete() || heard.text() == SIXTY, "{framing:?}: {heard:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_nobody_vouches_for_is_refused() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    let a = FakeProvider::start_tls(SIXTY, &stranger).await;
    let gw = behind_tls(&trusted, &a.base_url()).await;
    let reply = gw.client().chat(&ask("m")).await;
    assert_eq!((reply.code(), reply.error_code().as_str()), (502, "upstream_error"), "{reply:?}");
    assert!(a.all_calls().is_empty(), "the key was shown to a stranger");
    assert_eq!(gw.target("a/m").await["failures"]["connect"], 1);
}

/// A proxy of the environment must not see the keys unless it was configured.
#[tokio::test(flavor = "multi_thread")]
async fn the_environments_proxy_is_not_used() {
    let (a, proxy) = (FakeProvider::start().await, FakeProvider::start().await);
    let url = format!("http://{}", proxy.addr());
    let launch = launch().env("HTTP_PROXY", &url).env("http_proxy", &url).env("ALL_PROXY", &url);
    let gw = launch.start(ConfigFile::single(&a).toml()).await;
    assert_eq!(gw.client().chat(&ask("m")).await.code(), 200);
    assert!(proxy.all_calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_keep_its_connection() {
    let stage = Stage::single(|c| c).await;
    let body = ask("m").to_string();
    let one = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let said = Client::new(stage.gw.url()).raw(one.repeat(3), Duration::from_secs(1)).await;
    let said = String::from_utf8_lossy(&said);
    assert_eq!(said.matches("HTTP/1.1 200").count(), 3, "{said}");
}
