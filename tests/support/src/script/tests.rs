//! The bytes of a script on the wire, counted.

use super::*;

fn wire(script: &Script) -> String {
    let mut out = Vec::new();
    for step in script.steps() {
        if let Step::Write(bytes) = step {
            out.extend_from_slice(&bytes);
        }
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_json_answer_is_plain_http() {
    let expect = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(wire(&Script::json("{}")), expect);
}

#[test]
fn a_stream_is_chunked_and_ends() {
    let script = Script::sse(["data: 1\n\n"]);
    assert!(wire(&script).ends_with("\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"));
    assert_eq!(script.wire_len(), wire(&script).len());
}

#[test]
fn a_cut_counts_bytes_on_the_wire() {
    let script = Script::sse(["data: 1\n\n", "data: 2\n\n"]);
    for n in 0..=script.wire_len() {
        assert_eq!(wire(&script.clone().cut(n, End::Fin)).len(), n);
    }
    let body = script.clone().cut_body(0, End::Reset);
    assert_eq!(wire(&body).len(), script.head_len());
    assert!(matches!(body.steps().last(), Some(Step::Over(End::Reset))));
}

#[test]
fn stopping_after_events_leaves_the_body_open() {
    let script = Script::sse(["data: 1\n\n", "data: 2\n\n"]).stop_after(1, End::Hang);
    assert!(wire(&script).ends_with("data: 1\n\n\r\n"));
}

#[test]
fn dribbling_changes_the_writes_and_not_the_bytes() {
    let script = Script::json("{\"a\":1}");
    assert_eq!(wire(&script.clone().dribble(1, Duration::ZERO)), wire(&script));
}

#[test]
fn a_wrong_length_is_told() {
    let script = Script::json("{}").framing(Framing::Length(5));
    assert!(wire(&script).contains("content-length: 7\r\n"));
}
