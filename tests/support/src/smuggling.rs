//! Requests that two parsers could read differently, and what a gateway must make of each.

/// What has to come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Refused, and the connection closed.
    Refused,
    /// One answer, whatever it is; then the connection is closed, or waits.
    One,
    /// One request that reached the provider.
    Served,
}
use Verdict::{One, Refused, Served};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"first"}]}"#;
/// What a second parser might take for a request: counted at the provider.
pub const HIDDEN: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                      content-length: 48\r\n\r\n{\"model\":\"m\",\"messages\":[],\"user\":\"smuggled!!!\"}";

/// Lines of a head that is otherwise good, in front of a chunked end and a hidden request.
pub const FRAMINGS: &[(&str, Verdict)] = &[
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

/// Whole bytes, and what has to come of them.
pub fn odd_requests() -> Vec<(&'static str, String, Verdict)> {
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
        (
            "extensions without end",
            chunked(&format!("{}0\r\n\r\n{HIDDEN}", "1;a=b\r\n \r\n".repeat(6000))),
            One,
        ),
        ("a word behind a chunk size", chunked(&format!("{hex} a\r\n{BODY}\r\n0\r\n\r\n{HIDDEN}")), One),
        (
            "a line feed in front of the trailers",
            chunked(&format!("{hex}\r\n{BODY}\r\n0\r\n\n{HIDDEN}")),
            One,
        ),
        ("a line feed in a trailer", chunked(&format!("{hex}\r\n{BODY}\r\n0\r\nx: y\n\r\n{HIDDEN}")), One),
        ("a head of line feeds", whole(post, "").replace("\r\n", "\n"), Refused),
        ("a line feed behind the request line", whole(post, "").replacen("\r\n", "\n", 1), Refused),
        ("a line feed in a header", whole(post, "x: y\nz: "), Refused),
        ("a line feed for the empty line", whole(post, "").replace("\r\n\r\n", "\r\n\n"), Refused),
        ("an empty line of a line feed", "\n".to_owned() + &whole(post, ""), Refused),
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
