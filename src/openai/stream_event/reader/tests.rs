use bytes::Bytes;

use super::*;

fn chunk(text: &[u8]) -> SseEvent {
    let (before, behind) = (
        &b"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""[..],
        &b"\"},\"finish_reason\":null}]}\n\n"[..],
    );
    SseEvent::from(Bytes::from([before, text, behind].concat()))
}

/// Reads `event` with a reader that has read `first`; whether it matched.
fn after(first: &SseEvent, event: &SseEvent) -> bool {
    let mut reader = ChunkReader::new(Api::Chat);
    drop(reader.read(first));
    let fits = reader.text_of(event.bytes()).is_some();
    assert_eq!(reader.read(event), read(Api::Chat, event), "{}", event.bytes().escape_ascii());
    fits
}

#[test]
fn text_that_needs_no_decoding_fits() {
    for text in ["b", " ", "a longer text, {with} [signs]: 1,2", "naïve 東京 🦀", "\u{7f}"] {
        assert!(after(&chunk(b"a"), &chunk(text.as_bytes())), "{text}");
    }
}

#[test]
fn any_other_text_is_read_whole() {
    let ends_itself = br#"b"},"finish_reason":"stop"}],"x":[{"y":{"z":""#;
    for text in [&b""[..], b"\\n", b"\\ud83d", b"\xff", b"\xe6\x9d", b"\x01", b"\"", b"\\", ends_itself] {
        assert!(!after(&chunk(b"a"), &chunk(text)), "{}", text.escape_ascii());
    }
}

#[test]
fn any_other_event_is_read_whole_and_makes_no_mould() {
    let others = [
        r#"{"id":"y","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
        r#"{"id":"x","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"id":"x","choices":[{"index":1,"delta":{"content":"a"},"finish_reason":null}]}"#,
        r#"{"id":"x","choices":[{"index":0,"delta":{"reasoning":"r","content":"a"}}]}"#,
        r#"{"id":"x","choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"id":"x","choices":[{"index":0,"delta":{}}]}"#,
        "[DONE]",
    ];
    for other in others {
        let other = SseEvent::from(Bytes::from(format!("data: {other}\n\n")));
        assert!(!after(&chunk(b"a"), &other));
        assert!(!after(&other, &chunk(b"a")));
    }
    assert!(!after(&chunk(b"a"), &SseEvent::from(Bytes::from_static(b"data: {\"id\":\"x\",\"ch"))));
}

#[test]
fn a_large_mould_is_not_kept() {
    let large = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"x\":\"{}\"}}\n\n",
        "x".repeat(LARGEST)
    );
    let large = SseEvent::from(Bytes::from(large));
    assert!(!after(&large, &large));
}
