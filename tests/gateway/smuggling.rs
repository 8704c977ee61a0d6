//! P4: requests that two parsers could read differently. Each is refused, or is exactly one request; never more, and
//! after a refusal the connection is not reused.

use concierge_testkit::ms;

use super::setup::{Stage, many};

/// The expected result of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Refused, and the connection closed.
    Refused,
    /// One answer of any status; then the connection is closed, or waits.
    One,
    /// One request to the provider, and its answer.
    Served,
}
use Verdict::{One, Refused, Served};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"first"}]}"#;
/// What a second parser might take for a request: counted at the provider.
const HIDDEN: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                      content-length: 48\r\n\r\n{\"model\":\"m\",\"messages\":[],\"user\":\"smuggled!!!\"}";

/// Lines of an otherwise valid head, in front of a chunked end and a hidden request.
const FRAMINGS: &[(&str, Verdict)] = &[
    ("content-length: 5\r\ntransfer-encoding: chunked", Refused),
    ("transfer-encoding: chunked\r\ncontent-length: 5", Refused),
    ("transfer-encoding: chunked\r\ncontent-length: 0", Refused),
    ("content-length: 5\r\ncontent-length: 6", Refused),
    ("content-length: 0\r\ncontent-length: 5", Refused),
    ("content-length: 5, 6", Refused),
    ("content-length: 5,5", Refused),
    ("content-length: +5", Refused),
    ("content-length: -5", Refused),
    ("content-length: 0x5", Refused),
    ("content-length: 5 5", Refused),
    ("content-length: 5.0", Refused),
    ("content-length: 5e0", Refused),
    ("content-length: 99999999999999999999999", Refused),
    ("content-length: 18446744073709551616", Refused),
    ("content-length:", Refused),
    ("content-length: five", Refused),
    ("content-length : 5", Refused),
    ("content-length\t: 5", Refused),
    (" content-length: 5", Refused),
    ("content-length: 5\r\n transfer-encoding: chunked", Refused),
    ("x: y\r\n\tcontent-length: 5", Refused),
    ("transfer-encoding: gzip", Refused),
    ("transfer-encoding: identity", Refused),
    ("transfer-encoding: chunked, gzip", Refused),
    ("transfer-encoding: gzip, chunked", Refused),
    ("transfer-encoding: chunked, chunked", Refused),
    ("transfer-encoding: xchunked", Refused),
    ("transfer-encoding: chunkedx", Refused),
    ("transfer-encoding: \"chunked\"", Refused),
    ("transfer-encoding: chunked;q=1", Refused),
    ("transfer-encoding:\u{b}chunked", Refused),
    ("transfer-encoding : chunked", Refused),
    ("transfer\u{0}-encoding: chunked", Refused),
    ("transfer-encoding: chunked\u{0}", Refused),
    ("transfer-encoding: identity\r\ntransfer-encoding: chunked", Refused),
    ("transfer-encoding: chunked\r\ntransfer-encoding: identity", Refused),
    ("x: a\rtransfer-encoding: chunked", Refused),
    ("x\u{0}y: a", Refused),
    ("x(y: a", Refused),
    ("no colon at all", Refused),
    (": no name", Refused),
];

/// Whole requests as bytes, and their expected results.
fn odd_requests() -> Vec<(&'static str, String, Verdict)> {
    let whole = |line: &str, more: &str| {
        let length = BODY.len();
        format!(
            "{line}\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n{BODY}"
        )
    };
    let post = "POST /v1/chat/completions HTTP/1.1";
    let chunked = |chunks: &str| {
        format!(
            "{post}\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        )
    };
    let hex = format!("{:x}", BODY.len());
    vec![
        ("a plain request", whole(post, "connection: close\r\n"), Served),
        (
            "equal lengths",
            whole(post, &format!("connection: close\r\ncontent-length: {}\r\n", BODY.len())),
            Served,
        ),
        ("a chunked one", chunked(&format!("{hex}\r\n{BODY}\r\n0\r\nx: y\r\n\r\n")), Served),
        ("an extension of a chunk", chunked(&format!("{hex};a=b\r\n{BODY}\r\n0\r\n\r\n")), Served),
        ("HTTP/1.0 and chunked", chunked("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0") + HIDDEN, Refused),
        ("a negative chunk", chunked(&format!("-{hex}\r\n{BODY}\r\n0\r\n\r\n{HIDDEN}")), One),
        ("a chunk of 0x", chunked(&format!("0x{hex}\r\n{BODY}\r\n0\r\n\r\n{HIDDEN}")), One),
        (
            "a chunk beyond 64 bits",
            chunked(&format!("10000000000000000{hex}\r\n{BODY}\r\n0\r\n\r\n{HIDDEN}")),
            One,
        ),
        ("a chunk without its line", chunked(&format!("{hex}\r\n{BODY}0\r\n\r\n{HIDDEN}")), One),
        ("a line feed in an extension", chunked(&format!("{hex};\n{BODY}\r\n0\r\n\r\n{HIDDEN}")), One),
        (
            "an upgrade with a body behind it",
            whole(post, "connection: upgrade\r\nupgrade: websocket\r\n"),
            Served,
        ),
        (
            "an upgrade to h2c",
            whole(post, "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"),
            Served,
        ),
        (
            "another host in the address",
            whole("POST http://evil.example/v1/chat/completions HTTP/1.1", ""),
            One,
        ),
        ("an address that is none", whole("POST v1/chat/completions HTTP/1.1", ""), Refused),
        ("a space in the address", whole("POST /v1/chat/completions x HTTP/1.1", ""), Refused),
        ("a tab for a space", whole("POST\t/v1/chat/completions HTTP/1.1", ""), Refused),
        ("HTTP/1.2", whole("POST /v1/chat/completions HTTP/1.2", ""), Refused),
        ("HTTP/9.9", whole("POST /v1/chat/completions HTTP/9.9", ""), Refused),
        ("no version", whole("POST /v1/chat/completions", ""), Refused),
        ("a head after CONNECT", whole("CONNECT evil.example:443 HTTP/1.1", ""), One),
        ("a proxy's length", whole(post, "connection: content-length\r\n"), Served),
    ]
}

struct Said {
    answers: usize,
    refused: bool,
    text: String,
}

async fn say(stage: &Stage, bytes: String) -> Said {
    let text = String::from_utf8_lossy(&stage.client.raw(bytes, ms(400)).await).into_owned();
    Said {
        // The text of a refusal may contain an HTTP version.
        answers: text.split("\r\n").filter(|line| line.starts_with("HTTP/1.")).count(),
        refused: text.is_empty()
            || ["400", "404", "413", "415", "431", "501", "505"]
                .iter()
                .any(|code| text.get(9..12) == Some(code)),
        text,
    }
}

fn check(name: &str, verdict: Verdict, said: &Said, reached: usize) -> Option<String> {
    let good = match verdict {
        Refused => said.refused && said.answers <= 1 && reached == 0,
        One => said.answers <= 1 && reached <= 1,
        Served => said.answers == 1 && reached == 1,
    };
    let line =
        || format!("{name:?}: must be {verdict:?}, {reached} reached the provider, said: {}", said.text);
    (!good).then(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_of_the_corpus_is_two_requests() {
    let framed = FRAMINGS.iter().map(|(lines, verdict)| {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        (*lines, format!("{head}\r\n{lines}\r\n\r\n0\r\n\r\n{HIDDEN}"), *verdict)
    });
    let cases: Vec<_> = framed.chain(odd_requests()).collect();
    assert!(cases.len() >= 60);
    // One provider for each case, so that their calls cannot be mixed up.
    let wrong = many(cases.len(), 8, move |n| {
        let (name, bytes, verdict) = cases[n].clone();
        async move {
            let stage = Stage::single(|c| c).await;
            let said = say(&stage, bytes).await;
            check(name, verdict, &said, stage.calls().0)
        }
    });
    let wrong: Vec<String> = wrong.await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
