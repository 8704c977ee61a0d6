use super::*;

fn parse(body: &str) -> (String, Option<String>, Option<String>) {
    let error = ProviderError::parse(body.as_bytes());
    (error.message, error.kind, error.code)
}

fn is(message: &str, kind: &str, code: &str) -> (String, Option<String>, Option<String>) {
    let word = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    (message.to_owned(), word(kind), word(code))
}

#[test]
fn every_shape_of_error_is_understood() {
    let table = [
        (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, is("m", "t", "c")),
        (r#"{"object":"error","message":"m","type":"t","param":null,"code":40302}"#, is("m", "t", "40302")),
        (
            r#"{"object":"error","message":{"detail":[{"msg":"a"},{"msg":"b"}]},"type":"t"}"#,
            is("a; b", "t", ""),
        ),
        (r#"{"error":"m"}"#, is("m", "", "")),
        (r#"{"error":"m","type":"t","code":"c"}"#, is("m", "t", "c")),
        (
            r#"{"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_ctx":8}}"#,
            is("m", "exceed_context_size_error", "400"),
        ),
        (r#"{"detail":"Not Found"}"#, is("Not Found", "", "")),
        (
            r#"{"detail":[{"loc":["body","user"],"msg":"Extra inputs","type":"extra_forbidden"}]}"#,
            is("Extra inputs", "", ""),
        ),
        (
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
            is("m", "RESOURCE_EXHAUSTED", "429"),
        ),
        (r#"{"type":"error","code":"c","message":"m","param":null}"#, is("m", "", "c")),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            is("m", "overloaded_error", ""),
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"c","message":"m"}}}"#,
            is("m", "", "c"),
        ),
        (r#"{"error":{"message":{"x":1}}}"#, is(r#"{"x":1}"#, "", "")),
        (r#""plain""#, is("plain", "", "")),
        ("upstream  connect\nerror", is("upstream connect error", "", "")),
        (
            "<html><head><TITLE>502 Bad Gateway</TITLE></head><body>x</body></html>",
            is("502 Bad Gateway", "", ""),
        ),
        ("<h1>No</h1> way", is("No way", "", "")),
        ("", is("", "", "")),
        ("null", is("", "", "")),
        ("[]", is("", "", "")),
        ("{}", is("", "", "")),
    ];
    for (body, expected) in table {
        assert_eq!(parse(body), expected, "{body}");
    }
}

#[test]
fn messages_are_bounded_at_a_character_and_on_one_line() {
    let long = "\u{1f600}".repeat(1000);
    let error = ProviderError::parse(format!(r#"{{"error":"a{long}"}}"#).as_bytes());
    assert_eq!(error.message.len(), MAX_MESSAGE - 3);
    assert_eq!(parse("a\u{1b}[31m\r\nb").0, "a [31m b");
    assert!(ProviderError::parse(&[b'<'; 1 << 20]).message.len() <= 200);
    assert_eq!(ProviderError::parse(b"\xff\xfe").message, "\u{fffd}\u{fffd}");
}

#[test]
fn deep_json_is_no_stack_overflow() {
    let deep = "[".repeat(100_000);
    assert!(ProviderError::parse(deep.as_bytes()).message.len() <= MAX_MESSAGE);
}

#[test]
fn ours_is_openai_shaped() {
    let ours = body("say \"what\"\n", "invalid_request_error", None, "invalid_json");
    assert_eq!(
        &ours[..],
        br#"{"error":{"message":"say \"what\"\n","type":"invalid_request_error","param":null,"code":"invalid_json"}}"#
        );
    let error = ProviderError::parse(&body("m", "t", Some("p"), "c"));
    assert_eq!(error.param.as_deref(), Some("p"));
    assert!(event("m", "t", None, "c").ends_with(b"}\n\n"));
}
