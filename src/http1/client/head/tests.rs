//! Heads as providers write them, and as they should not.

use http::{HeaderValue, header};

use super::*;

fn answer(head: &str) -> Result<ResponseHead, ResponseError> {
    read(&Bytes::copy_from_slice(head.as_bytes()), &Method::POST)
}

/// What kind of body such an answer has, and whether its connection may be used again.
fn kind(lines: &str) -> Result<(String, bool), ResponseError> {
    answer(&format!("{lines}\r\n\r\n")).map(|head| {
        let kind = match head.decoder {
            Decoder::Length(length) => length.to_string(),
            Decoder::Chunked(_) => "chunked".to_owned(),
            Decoder::ToClose => "to close".to_owned(),
        };
        (kind, head.keep_alive)
    })
}

#[test]
fn a_request_is_written_with_its_length() {
    let mut request = Request::post("/v1/x?y=1").body(()).unwrap();
    let written = |request: &Request<()>, length| {
        let standing = [(header::HOST, HeaderValue::from_static("h"))];
        let mut head = BytesMut::new();
        write(&mut head, (request, &FixedHeaders::new(standing.into_iter().collect())), length);
        String::from_utf8(head.to_vec()).unwrap()
    };
    assert_eq!(written(&request, 12), "POST /v1/x?y=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\n\r\n");
    assert!(written(&request, 0).ends_with("content-length: 0\r\n\r\n"), "an empty POST says so");
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("a/b"));
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("the client's"));
    let both = "POST /v1/x?y=1 HTTP/1.1\r\naccept: a/b\r\nhost: h\r\n";
    assert!(written(&request, 12).starts_with(both), "what stands in every request wins");
    *request.method_mut() = Method::GET;
    assert!(!written(&request, 0).contains("content-length"));
}

#[test]
fn status_and_headers_are_as_they_came() {
    let head = answer("HTTP/1.1 429 Slow Down\r\nX-A: 1\r\nx-a:  two \r\n\r\n").unwrap();
    assert_eq!(head.response.status(), 429);
    let values: Vec<_> = head.response.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "two"]);
}

#[test]
fn the_framing_follows_the_standard() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5", "5", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\ncontent-length: 5", "5", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close", "5", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked", "chunked", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked", "chunked", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked", "chunked", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5", "chunked", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip", "to close", true),
        ("HTTP/1.1 200 OK", "to close", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5", "5", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive", "5", true),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5", "0", true),
        ("HTTP/1.1 304 Not Modified", "0", true),
    ];
    for (lines, body, keep_alive) in cases {
        assert_eq!(kind(lines).unwrap(), (body.to_owned(), keep_alive), "{lines}");
    }
    let head = read(&Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), &Method::HEAD);
    assert!(head.unwrap().decoder.is_over(), "the answer to HEAD has no body");
}

#[test]
fn what_is_contradictory_or_no_head_is_an_error() {
    let many = "a: b\r\n".repeat(MAX_HEADERS + 1);
    let wrong = [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
        "HTTP/1.1 200 OK\r\ncontent-length: +5",
        "HTTP/1.1 200 OK\r\ncontent-length: -1",
        "HTTP/1.1 200 OK\r\ncontent-length: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
        "HTTP/2 200 OK",
        "HTTP/1.1 99 No",
        "HTTP/1.1 200 OK\r\na b: c",
        "HTTP/1.1 200 OK\r\n: c",
        "HTTP/1.1 200 OK\r\na: \x01",
        "<html>",
        &format!("HTTP/1.1 200 OK\r\n{many}"),
    ];
    for lines in wrong {
        assert!(kind(lines).is_err(), "{lines}");
    }
}
