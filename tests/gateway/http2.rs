//! P4 over HTTP/2: invalid requests. Each is refused, or is exactly one request to the provider; never more.

use std::time::Duration;

use concierge_testkit::raw_h2::{self, END_STREAM, Frame, RawH2, data, headers, kind};

use super::setup::Stage;

/// A valid body.
pub const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"first"}]}"#;
/// A window larger than any answer here.
pub const WINDOW: u32 = 1 << 20;
/// After this much silence no more frames are expected.
const QUIET: Duration = Duration::from_millis(2000);

/// The expected result of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// An error status, a reset or a closed connection, and no request to the provider.
    Refused,
    /// One request to the provider, and its answer.
    Served,
    /// Either of the two.
    One,
}
use Verdict::{One, Refused, Served};

/// A valid head.
pub const GOOD: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/v1/chat/completions"),
    ("content-type", "application/json"),
];

/// How a head differs from a valid one.
#[derive(Clone, Copy)]
enum Head {
    With(&'static [(&'static str, &'static str)]),
    First(&'static [(&'static str, &'static str)]),
    Instead(&'static str, &'static str),
    Without(&'static str),
    Is(&'static [(&'static str, &'static str)]),
}
use Head::{First, Instead, Is, With, Without};

impl Head {
    fn fields(self) -> Vec<(&'static str, &'static str)> {
        match self {
            With(more) => [&GOOD[..], more].concat(),
            First(more) => [more, &GOOD[..]].concat(),
            Instead(name, value) => GOOD.map(|(n, v)| if n == name { (n, value) } else { (n, v) }).to_vec(),
            Without(name) => GOOD.into_iter().filter(|(n, _)| *n != name).collect(),
            Is(fields) => fields.to_vec(),
        }
    }
}

const LATE: [(&str, &str); 6] = [GOOD[0], GOOD[1], GOOD[2], ("x-a", "b"), GOOD[3], GOOD[4]];
const EXTENDED_CONNECT: [(&str, &str); 5] =
    [(":protocol", "websocket"), (":method", "CONNECT"), GOOD[1], GOOD[2], GOOD[3]];

/// Heads in front of a valid body.
const HEADS: &[(&str, Head, Verdict)] = &[
    ("a plain request", With(&[]), Served),
    ("its true length", With(&[("content-length", "60")]), Served),
    ("te: trailers", With(&[("te", "trailers")]), Served),
    ("the same host again", With(&[("host", "localhost")]), One),
    ("another host", With(&[("host", "evil.example")]), One),
    ("two hosts", With(&[("host", "localhost"), ("host", "evil.example")]), One),
    ("no authority and no host", Without(":authority"), One),
    ("an empty authority", Instead(":authority", ""), One),
    ("a user in the authority", Instead(":authority", "user@localhost"), One),
    ("a length that is too short", With(&[("content-length", "5")]), Refused),
    ("a length that is too long", With(&[("content-length", "600")]), Refused),
    ("a length of nothing", With(&[("content-length", "0")]), Refused),
    ("two lengths", With(&[("content-length", "60"), ("content-length", "61")]), Refused),
    ("a list of lengths", With(&[("content-length", "60, 60")]), Refused),
    ("a length with a sign", With(&[("content-length", "+60")]), Refused),
    ("a length that is no number", With(&[("content-length", "sixty")]), Refused),
    ("connection", With(&[("connection", "close")]), Refused),
    ("connection with a name", With(&[("connection", "x-secret"), ("x-secret", "1")]), Refused),
    ("keep-alive", With(&[("keep-alive", "5")]), Refused),
    ("proxy-connection", With(&[("proxy-connection", "keep-alive")]), Refused),
    ("transfer-encoding", With(&[("transfer-encoding", "chunked")]), Refused),
    ("upgrade", With(&[("upgrade", "websocket")]), Refused),
    ("te: gzip", With(&[("te", "gzip")]), Refused),
    ("te: trailers and more", With(&[("te", "trailers, gzip")]), Refused),
    ("an uppercase name", With(&[("X-A", "b")]), Refused),
    ("an uppercase content-length", With(&[("Content-Length", "5")]), Refused),
    ("an empty name", With(&[("", "b")]), Refused),
    ("a space in a name", With(&[("x a", "b")]), Refused),
    ("a colon in a name", With(&[("x:a", "b")]), Refused),
    ("a line feed in a name", With(&[("x\na", "b")]), Refused),
    ("a line feed in a value", With(&[("x-a", "b\r\ntransfer-encoding: chunked")]), Refused),
    ("a NUL in a value", With(&[("x-a", "b\0c")]), Refused),
    ("a pseudo-header after a regular one", First(&[("x-a", "b")]), Refused),
    ("a path after a regular header", Is(&LATE), Refused),
    ("an unknown pseudo-header", With(&[(":evil", "1")]), Refused),
    ("an unknown pseudo-header first", First(&[(":evil", "1")]), Refused),
    ("a pseudo-header of answers", First(&[(":status", "200")]), Refused),
    ("two methods", First(&[(":method", "GET")]), Refused),
    ("two paths", First(&[(":path", "/livez")]), Refused),
    ("two schemes", First(&[(":scheme", "https")]), Refused),
    ("two authorities", First(&[(":authority", "evil.example")]), Refused),
    ("no method", Without(":method"), Refused),
    ("no path", Without(":path"), Refused),
    ("no scheme", Without(":scheme"), Refused),
    ("an empty path", Instead(":path", ""), Refused),
    ("a path of *", Instead(":path", "*"), Refused),
    ("a path without a slash", Instead(":path", "v1/chat/completions"), Refused),
    ("a whole address for a path", Instead(":path", "http://evil.example/v1/chat/completions"), Refused),
    ("a space in the path", Instead(":path", "/v1/chat/completions HTTP/1.1"), Refused),
    ("a line feed in the path", Instead(":path", "/v1/chat/completions\r\nx: y"), Refused),
    ("a line feed in the method", Instead(":method", "POST\r\nx: y"), Refused),
    ("a method that is none", Instead(":method", "P OST"), Refused),
    ("a scheme that is none", Instead(":scheme", "ht tp"), Refused),
    ("CONNECT", Is(&[(":method", "CONNECT"), (":authority", "evil.example:443")]), Refused),
    ("CONNECT with a path", Instead(":method", "CONNECT"), Refused),
    ("extended CONNECT", Is(&EXTENDED_CONNECT), Refused),
];

/// Whole frame sequences on stream 1, and their expected results.
fn conversations() -> Vec<(&'static str, Vec<u8>, Verdict)> {
    let head = || headers(1, &GOOD, 0);
    let whole = || [head(), data(1, BODY.as_bytes())].concat();
    let block = raw_h2::block(&GOOD);
    let (first, second) = block.split_at(block.len() / 2);
    let part = |bytes: &[u8]| raw_h2::frame(kind::HEADERS, 0, 1, bytes);
    let rest = |flags: u8, bytes: &[u8]| raw_h2::frame(kind::CONTINUATION, flags, 1, bytes);
    let open = || raw_h2::frame(kind::DATA, 0, 1, BODY.as_bytes());
    let trailers = |fields: &[(&str, &str)]| [head(), open(), headers(1, fields, END_STREAM)].concat();
    let continued = [part(first), rest(raw_h2::END_HEADERS, second), data(1, BODY.as_bytes())].concat();
    let torn = [part(first), data(1, BODY.as_bytes()), rest(raw_h2::END_HEADERS, second)].concat();
    let even = [headers(2, &GOOD, 0), data(2, BODY.as_bytes())].concat();
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
        ("a head after the end", [whole(), headers(1, &GOOD, END_STREAM)].concat(), One),
        ("reset before the end of the body", [head(), open(), raw_h2::reset(1)].concat(), Refused),
        ("settings on a stream", [head(), raw_h2::frame(kind::SETTINGS, 0, 1, &[])].concat(), Refused),
        ("an unknown frame", [raw_h2::frame(0xfe, 0xff, 0, b"x"), whole()].concat(), Served),
    ]
}

/// Reads until the request is answered or refused, and any frames that follow at once.
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
    let heads = HEADS.iter().map(|(name, head, verdict)| {
        (*name, [headers(1, &head.fields(), 0), data(1, BODY.as_bytes())].concat(), *verdict)
    });
    let mut wrong = Vec::new();
    for (name, bytes, verdict) in heads.chain(conversations()) {
        wrong.extend(try_one(&stage, name, &bytes, verdict).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.chat().await.code(), 200);
    assert_eq!(stage.gw.target("a/m").await["failure_count"], 0, "nobody else is to blame");
}
