//! P4 and P7 over HTTP/2: requests that are wrong, floods, and clients that take nothing. A wrong request is refused,
//! or is exactly one request to the provider; what floods a connection costs that connection.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, Script, eventually, ms,
    openai::{ask_stream, chat_chunk, sane},
    raw_h2::{self, END_STREAM, Frame, RawH2, data, headers, kind, open_window},
};
use serde_json::json;
use tokio::time::Instant;

use super::stage::Stage;

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"first"}]}"#;
const WINDOW: u32 = 1 << 20;
/// Nothing more comes after this long.
const QUIET: Duration = Duration::from_millis(2000);

type Fields = Vec<(&'static str, &'static str)>;

/// What has to come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// An error status, a reset or a closed connection, and nobody was asked.
    Refused,
    /// One request that reached the provider, and its answer.
    Served,
    /// Either.
    One,
}
use Verdict::{One, Refused, Served};

/// A good head, in which the last lines may be replaced.
fn good() -> Fields {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/v1/chat/completions"),
        ("content-type", "application/json"),
    ]
}

fn with(more: &[(&'static str, &'static str)]) -> Fields {
    [good(), more.to_vec()].concat()
}

fn instead(name: &str, value: &'static str) -> Fields {
    good().into_iter().map(|(n, v)| if n == name { (n, value) } else { (n, v) }).collect()
}

fn without(name: &str) -> Fields {
    good().into_iter().filter(|(n, _)| *n != name).collect()
}

/// Heads in front of a good body.
fn heads() -> Vec<(&'static str, Fields, Verdict)> {
    let regular_first = [&[("x-a", "b")][..], &good()].concat();
    let late = [&good()[..3], &[("x-a", "b")], &good()[3..]].concat();
    vec![
        ("a plain request", good(), Served),
        ("its true length", with(&[("content-length", "60")]), Served),
        ("te: trailers", with(&[("te", "trailers")]), Served),
        ("the same host again", with(&[("host", "localhost")]), One),
        ("another host", with(&[("host", "evil.example")]), One),
        ("two hosts", with(&[("host", "localhost"), ("host", "evil.example")]), One),
        ("no authority and no host", without(":authority"), One),
        ("an empty authority", instead(":authority", ""), One),
        ("a user in the authority", instead(":authority", "user@localhost"), One),
        ("a length that is too short", with(&[("content-length", "5")]), Refused),
        ("a length that is too long", with(&[("content-length", "600")]), Refused),
        ("a length of nothing", with(&[("content-length", "0")]), Refused),
        ("two lengths", with(&[("content-length", "60"), ("content-length", "61")]), Refused),
        ("a list of lengths", with(&[("content-length", "60, 60")]), Refused),
        ("a length with a sign", with(&[("content-length", "+60")]), Refused),
        ("a length that is no number", with(&[("content-length", "sixty")]), Refused),
        ("connection", with(&[("connection", "close")]), Refused),
        ("connection with a name", with(&[("connection", "x-secret"), ("x-secret", "1")]), Refused),
        ("keep-alive", with(&[("keep-alive", "5")]), Refused),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")]), Refused),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), Refused),
        ("upgrade", with(&[("upgrade", "websocket")]), Refused),
        ("te: gzip", with(&[("te", "gzip")]), Refused),
        ("te: trailers and more", with(&[("te", "trailers, gzip")]), Refused),
        ("an uppercase name", with(&[("X-A", "b")]), Refused),
        ("an uppercase content-length", with(&[("Content-Length", "5")]), Refused),
        ("an empty name", with(&[("", "b")]), Refused),
        ("a space in a name", with(&[("x a", "b")]), Refused),
        ("a colon in a name", with(&[("x:a", "b")]), Refused),
        ("a line feed in a name", with(&[("x\na", "b")]), Refused),
        ("a line feed in a value", with(&[("x-a", "b\r\ntransfer-encoding: chunked")]), Refused),
        ("a NUL in a value", with(&[("x-a", "b\0c")]), Refused),
        ("a pseudo-header after a regular one", regular_first, Refused),
        ("a path after a regular header", late, Refused),
        ("an unknown pseudo-header", with(&[(":evil", "1")]), Refused),
        ("an unknown pseudo-header first", [&[(":evil", "1")][..], &good()].concat(), Refused),
        ("a pseudo-header of answers", [&[(":status", "200")][..], &good()].concat(), Refused),
        ("two methods", [&[(":method", "GET")][..], &good()].concat(), Refused),
        ("two paths", [&[(":path", "/livez")][..], &good()].concat(), Refused),
        ("two schemes", [&[(":scheme", "https")][..], &good()].concat(), Refused),
        ("two authorities", [&[(":authority", "evil.example")][..], &good()].concat(), Refused),
        ("no method", without(":method"), Refused),
        ("no path", without(":path"), Refused),
        ("no scheme", without(":scheme"), Refused),
        ("an empty path", instead(":path", ""), Refused),
        ("a path of *", instead(":path", "*"), Refused),
        ("a path without a slash", instead(":path", "v1/chat/completions"), Refused),
        ("a whole address for a path", instead(":path", "http://evil.example/v1/chat/completions"), Refused),
        ("a space in the path", instead(":path", "/v1/chat/completions HTTP/1.1"), Refused),
        ("a line feed in the path", instead(":path", "/v1/chat/completions\r\nx: y"), Refused),
        ("a line feed in the method", instead(":method", "POST\r\nx: y"), Refused),
        ("a method that is none", instead(":method", "P OST"), Refused),
        ("a scheme that is none", instead(":scheme", "ht tp"), Refused),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "evil.example:443")], Refused),
        ("CONNECT with a path", instead(":method", "CONNECT"), Refused),
        (
            "extended CONNECT",
            [&[(":protocol", "websocket")][..], &instead(":method", "CONNECT")].concat(),
            Refused,
        ),
    ]
}

/// Whole conversations on stream 1, and what has to come of them.
fn conversations() -> Vec<(&'static str, Vec<u8>, Verdict)> {
    let head = || headers(1, &good(), 0);
    let whole = || [head(), data(1, BODY.as_bytes())].concat();
    let block = raw_h2::block(&good());
    let (first, second) = block.split_at(block.len() / 2);
    let part = |bytes: &[u8]| raw_h2::frame(kind::HEADERS, 0, 1, bytes);
    let rest = |flags: u8, bytes: &[u8]| raw_h2::frame(kind::CONTINUATION, flags, 1, bytes);
    let open = || raw_h2::frame(kind::DATA, 0, 1, BODY.as_bytes());
    let trailers = |fields: &[(&str, &str)]| [head(), open(), headers(1, fields, END_STREAM)].concat();
    let continued = [part(first), rest(raw_h2::END_HEADERS, second), data(1, BODY.as_bytes())].concat();
    let torn = [part(first), data(1, BODY.as_bytes()), rest(raw_h2::END_HEADERS, second)].concat();
    let even = [headers(2, &good(), 0), data(2, BODY.as_bytes())].concat();
    let other = [part(first), raw_h2::frame(kind::CONTINUATION, raw_h2::END_HEADERS, 3, second)].concat();
    let garbage = raw_h2::frame(kind::HEADERS, raw_h2::END_HEADERS, 1, &[0xff; 64]);
    let padded = raw_h2::frame(kind::DATA, END_STREAM | 8, 1, &[&[200][..], BODY.as_bytes()].concat());
    vec![
        ("a head in two frames", continued, Served),
        ("a body inside a head", torn, Refused),
        ("a head that goes on in another stream", other, Refused),
        ("a head that is no HPACK", garbage, Refused),
        ("more padding than bytes", [head(), padded].concat(), Refused),
        ("a body without a head", data(1, BODY.as_bytes()), Refused),
        ("a stream of the server's", even, Refused),
        ("a frame larger than allowed", raw_h2::frame(kind::DATA, 0, 1, &vec![0; 1 << 17]), Refused),
        ("trailers", trailers(&[("x-a", "b")]), Served),
        ("a path in the trailers", trailers(&[(":path", "/livez")]), One),
        ("trailers that do not end", [head(), open(), headers(1, &[("x-a", "b")], 0)].concat(), Refused),
        ("bytes after the end", [whole(), data(1, BODY.as_bytes())].concat(), One),
        ("the same stream twice", [whole(), whole()].concat(), One),
        ("a head after the end", [whole(), headers(1, &good(), END_STREAM)].concat(), One),
        ("reset before the end of the body", [head(), open(), raw_h2::reset(1)].concat(), Refused),
        ("settings on a stream", [head(), raw_h2::frame(kind::SETTINGS, 0, 1, &[])].concat(), Refused),
        ("an unknown frame", [raw_h2::frame(0xfe, 0xff, 0, b"x"), whole()].concat(), Served),
    ]
}

/// Reads until the request is answered or refused, and what more comes at once.
async fn hear(client: &mut RawH2, patience: Duration) -> Vec<Frame> {
    let mut heard = Vec::new();
    while let Some(frame) = client.next(patience).await {
        let over = frame.flags & END_STREAM != 0 && matches!(frame.kind, kind::DATA | kind::HEADERS);
        let ends = over || matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY);
        heard.push(frame);
        if ends {
            break;
        }
    }
    heard
}

async fn try_one(stage: &Stage, name: &str, bytes: &[u8], verdict: Verdict) -> Option<String> {
    stage.a.clear();
    let mut client = RawH2::connect(stage.gw.addr(), WINDOW).await;
    client.send(bytes).await;
    let heard = hear(&mut client, QUIET).await;
    let reached = stage.calls().0;
    let served = heard.iter().any(Frame::is_ok);
    let good = match verdict {
        Refused => reached == 0 && !served,
        Served => reached == 1 && served,
        One => reached <= 1,
    };
    let line = || format!("{name:?}: must be {verdict:?}, {reached} reached the provider, heard {heard:?}");
    (!good).then(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_odd_request_of_http2_is_more_than_one() {
    let stage = Stage::single(|c| c).await;
    assert_eq!(BODY.len(), 60);
    let heads = heads().into_iter().map(|(name, fields, verdict)| {
        (name, [headers(1, &fields, 0), data(1, BODY.as_bytes())].concat(), verdict)
    });
    let mut wrong = Vec::new();
    for (name, bytes, verdict) in heads.chain(conversations()) {
        wrong.extend(try_one(&stage, name, &bytes, verdict).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.chat().await.code(), 200);
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "nobody else is to blame");
}

async fn nothing_runs(stage: &Stage) {
    let idle = || async {
        let slots = stage.client.get("/admin/requests").await.json();
        (stage.a.in_flight() == 0 && slots["requests"] == json!([])).then_some(())
    };
    eventually("nothing runs any more", Duration::from_secs(10), idle).await;
}

/// P7: requests that are taken back at once, thousands on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_leave_nothing_behind() {
    let stage = Stage::single(|c| c).await;
    stage.a.script(|request| sane(request, "fine").head_after(ms(50)));
    let before = stage.gw.rss();
    let mut client = RawH2::connect(stage.gw.addr(), WINDOW).await;
    for n in 0..3000 {
        let stream = 2 * n + 1;
        let body = data(stream, BODY.as_bytes());
        let request = [headers(stream, &good(), 0), body, raw_h2::reset(stream)].concat();
        if !client.send(&request).await {
            break;
        }
    }
    assert_eq!(stage.chat().await.code(), 200, "others are served meanwhile");
    nothing_runs(&stage).await;
    assert!(stage.a.high_water() <= 11, "no more at once than the user's slots: {}", stage.a.high_water());
    let grown = stage.gw.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0);
}

/// P7: frames that ask for an answer, and heads that never end.
#[tokio::test(flavor = "multi_thread")]
async fn floods_cost_only_their_own_connection() {
    let stage = Stage::single(|c| c).await;
    assert_eq!(stage.chat().await.code(), 200);
    let before = stage.gw.rss();
    let pings = raw_h2::frame(kind::PING, 0, 0, b"pingping").repeat(1000);
    let settings = raw_h2::frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(1000);
    let more = raw_h2::frame(kind::CONTINUATION, 0, 1, &raw_h2::block(&[("x-a", "b")]).repeat(100));
    let begun = raw_h2::frame(kind::HEADERS, 0, 1, &raw_h2::block(&good()));
    let empty = raw_h2::frame(kind::DATA, 0, 1, &[]).repeat(1000);
    let floods = [
        (Vec::new(), pings),
        (Vec::new(), settings),
        (begun, more.repeat(20)),
        (headers(1, &good(), 0), empty),
    ];
    for (first, flood) in floods {
        let mut client = RawH2::connect(stage.gw.addr(), WINDOW).await;
        client.send(&first).await;
        // Nothing is read: what the gateway has to say must not pile up in it.
        let pour = async { while client.send(&flood).await {} };
        let _ = tokio::time::timeout(ms(1000), pour).await;
        let asked = Instant::now();
        assert_eq!(stage.chat().await.code(), 200);
        assert!(asked.elapsed() < ms(2000), "{:?}", asked.elapsed());
    }
    let grown = stage.gw.rss().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_eq!(stage.calls().0, 5, "no flood was a request");
}

fn request(stream: u32, user: &str, body: &str) -> Vec<u8> {
    let mut fields: Vec<(&str, &str)> = good();
    fields.push(("x-user-id", user));
    [headers(stream, &fields, 0), data(stream, body.as_bytes())].concat()
}

async fn holds_a_slot(stage: &Stage, user: &str) -> bool {
    let view = stage.client.get("/admin/slots").await.json();
    view["users"].as_array().unwrap().iter().any(|line| line["user"] == user)
}

/// A client that answers every ping and never opens its window: no timer of the connection sees anything wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_opens_its_window_loses_its_slot_and_nothing_else() {
    let patient = |c: ConfigFile| c.set("resilience", "total_timeout", "\"5m\"");
    let stage = Stage::single(patient).await;
    stage.a.script(|request| {
        if !request.streams() {
            return sane(request, "fine");
        }
        let event = chat_chunk("m", json!({"content": "x".repeat(4096)}), None);
        Script::sse([event.clone()]).then_repeat(event, ms(5))
    });
    let mut client = RawH2::connect(stage.gw.addr(), 0).await;
    client.send(&request(1, "stream", &ask_stream("m").to_string())).await;
    client.send(&request(3, "whole", BODY)).await;
    let begun = Instant::now();
    let (mut resets, mut next, mut served) = (Vec::new(), 5, 0);
    while resets.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60), "still held: {resets:?}");
        // Others on this connection go on all the while.
        client.send(&request(next, "sane", BODY)).await;
        client.send(&open_window(next, 1 << 16)).await;
        while let Some(frame) = client.next(ms(1000)).await {
            match frame.kind {
                kind::RST_STREAM => resets.push(frame.stream),
                kind::DATA if frame.stream == next && frame.flags & END_STREAM != 0 => served += 1,
                _ => {}
            }
        }
        next += 2;
    }
    assert!(begun.elapsed() > Duration::from_secs(25), "who pauses for a moment is not mute");
    resets.sort_unstable();
    assert_eq!((resets, served), (vec![1, 3], (next - 5) / 2));
    for user in ["stream", "whole"] {
        assert!(!holds_a_slot(&stage, user).await, "{user} is mute and holds a slot");
    }
    stage.a.wait_for("the mute client's stream ends", |calls| calls[0].peer_closed).await;
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "the provider is not to blame");
}
