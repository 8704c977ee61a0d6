//! Tests of the test kit: a client gets exactly what a script contains, and the log is true.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::*;
use crate::{
    answer::Ended,
    client::Client,
    fake_h2::H2Provider,
    ms,
    openai::{ask, ask_stream},
    script::{End, Framing},
};

fn client(fake: &FakeProvider) -> Client {
    Client::new(&format!("http://{}", fake.addr()))
}

#[tokio::test]
async fn a_sane_provider_answers_what_is_asked() {
    let fake = FakeProvider::saying("a b c").await;
    let reply = client(&fake).chat(&ask("m")).await;
    assert_eq!((reply.code(), reply.text().as_str()), (200, "a b c"));
    let mut body = ask_stream("m");
    assert_eq!(client(&fake).stream(&body).await.usage(), None);
    body["stream_options"] = json!({"include_usage": true});
    let heard = client(&fake).stream(&body).await;
    assert_eq!((heard.text().as_str(), heard.done(), heard.ended), ("a b c", true, Ended::Clean));
    assert_eq!(heard.usage().unwrap()["completion_tokens"], 3);
    assert_eq!(client(&fake).get("/v1/models").await.json()["data"][0]["id"], "m");
    assert_eq!((fake.calls().len(), fake.all_calls().len()), (3, 4));
    assert!(
        fake.calls().iter().all(|call| call.whole && call.answered.is_some() && call.peer_closed.is_none())
    );
}

#[tokio::test]
async fn every_end_is_seen_as_it_is() {
    let fake = FakeProvider::saying("a b c").await;
    let whole = Script::sse(openai::chat_chunks("m", "a b c"));
    for (script, ended) in [
        (whole.clone(), Ended::Clean),
        (whole.clone().framing(Framing::Close), Ended::Clean),
        (whole.clone().stop_after(3, End::Fin), Ended::Broken),
        (whole.clone().stop_after(3, End::Reset), Ended::Broken),
        (whole.clone().framing(Framing::Close).stop_after(3, End::Fin), Ended::Clean),
        (whole.clone().dribble(1, ms(0)), Ended::Clean),
        (Script::json("{}").framing(Framing::Length(5)).cut_body(2, End::Fin), Ended::Broken),
    ] {
        fake.next(script.clone());
        let heard = client(&fake).stream(&ask_stream("m")).await;
        assert_eq!(heard.ended, ended, "{script:?}");
    }
    for script in [Script::reset(), Script::raw("nonsense"), whole.cut(20, End::Fin)] {
        fake.next(script);
        let answer = client(&fake).try_open(Method::POST, "/v1/chat/completions", Bytes::from("{}")).await;
        assert!(answer.is_err());
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_logged() {
    let fake = FakeProvider::start().await;
    fake.next(Script::silent());
    let body = Bytes::from(ask("m").to_string());
    let asked = client(&fake);
    tokio::select! {
        _ = asked.try_open(Method::POST, "/v1/chat/completions", body) => panic!("it is silent"),
        () = fake.wait_calls(1) => {}
    }
    fake.wait_peer_closed(0).await;
    fake.next(Script::sse(openai::chat_chunks("m", openai::SIXTY)).every(ms(20)));
    let mut open = asked.open_stream(&ask_stream("m")).await;
    open.until("two").await;
    assert_eq!(fake.in_flight(), 1);
    drop(open);
    fake.wait_peer_closed(1).await;
}

#[tokio::test]
async fn a_refusing_provider_refuses_and_comes_back() {
    let fake = FakeProvider::start().await;
    fake.refuse().await;
    let body = Bytes::from(ask("m").to_string());
    let refused = client(&fake).try_open(Method::POST, "/v1/chat/completions", body).await;
    assert!(refused.err().unwrap().contains("refused"));
    fake.accept_again().await;
    assert_eq!(client(&fake).chat(&ask("m")).await.code(), 200);
}

#[tokio::test]
async fn tls_and_http2_providers_are_reached() {
    let authority = Authority::new();
    let fake = FakeProvider::start_tls("over tls", &authority).await;
    let plain = Client::new(&format!("https://{}", fake.addr())).tls(authority.connector(&[b"http/1.1"]));
    assert_eq!(plain.chat(&ask("m")).await.text(), "over tls");
    let provider = H2Provider::start(&authority, ms(1)).await;
    let url = provider.base_url().replace("localhost", "127.0.0.1");
    let h2 = Client::new(url.trim_end_matches("/v1")).tls(authority.connector(&[b"h2"])).http2();
    assert_eq!(h2.stream(&ask_stream("m")).await.text(), openai::SIXTY);
    assert_eq!((provider.connections(), provider.requests()), (1, 1));
}

#[tokio::test]
async fn a_black_hole_swallows_connections() {
    let hole = BlackHole::start().await;
    let connect = timeout(ms(300), TcpStream::connect(hole.addr)).await;
    assert!(connect.is_err(), "it must neither accept nor refuse");
}
