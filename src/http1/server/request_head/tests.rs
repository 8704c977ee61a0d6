//! Heads as clients write them, and as attackers do.

use super::*;

fn asked(head: &str) -> Result<RequestHead, HeadError> {
    read(&Bytes::copy_from_slice(head.as_bytes()))
}

fn with(lines: &str) -> Result<RequestHead, HeadError> {
    asked(&format!("POST /v1/x?y=1 HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n"))
}

#[test]
fn method_address_and_headers_are_as_they_came() {
    let head = with("X-A: 1\r\nx-a:  two ").unwrap();
    assert_eq!((head.request.method(), head.request.uri().path()), (&Method::POST, "/v1/x"));
    assert_eq!(head.request.uri().query(), Some("y=1"));
    let values: Vec<_> = head.request.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "two"]);
    let mode = ResponseMode { keep_alive: true, version: Version::HTTP_11, head_only: false };
    assert_eq!((head.mode, head.expects_continue), (mode, false));
}

#[test]
fn the_body_ends_where_everybody_says() {
    for (lines, kind) in [
        ("x: y", "0"),
        ("content-length: 5", "5"),
        ("content-length: 5\r\ncontent-length: 5", "5"),
        ("transfer-encoding: Chunked", "chunked"),
    ] {
        let found = match with(lines).unwrap().decoder {
            Decoder::Length(length) => length.to_string(),
            Decoder::Chunked(_) => "chunked".to_owned(),
            Decoder::ToClose => "to close".to_owned(),
        };
        assert_eq!(found, kind, "{lines:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for lines in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length:",
        "content-length: 18446744073709551616",
        "content-length : 5",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding:",
        "x: y\r\n folded",
    ] {
        assert!(with(lines).is_err(), "{lines:?}");
    }
    assert!(asked("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    assert!(asked("POST / HTTP/1.2\r\n\r\n").is_err());
    let many = "x: y\r\n".repeat(MAX_HEADERS);
    assert_eq!(with(&format!("{many}x: y")).err(), Some(HeadError::TooLarge));
}

#[test]
fn a_connection_stays_if_both_want_it() {
    for (version, connection, stays) in [
        ("1.1", "x: y", true),
        ("1.1", "connection: x, Close", false),
        ("1.1", "connection: keep-alive", true),
        ("1.0", "x: y", false),
        ("1.0", "connection: Keep-Alive", true),
    ] {
        let head = asked(&format!("GET / HTTP/{version}\r\n{connection}\r\n\r\n")).unwrap();
        assert_eq!(head.mode.keep_alive, stays, "{version} {connection}");
    }
}

#[test]
fn only_a_body_is_waited_for() {
    assert!(with("expect: 100-Continue\r\ncontent-length: 5").unwrap().expects_continue);
    assert!(!with("expect: 100-continue\r\ncontent-length: 0").unwrap().expects_continue);
    let old = "POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    assert!(!asked(old).unwrap().expects_continue);
}
