//! S4: unusual but valid event streams, whole and one byte at a time, give the same text.

use concierge_testkit::{
    Script, ms,
    openai::{ask_stream, chat_chunks},
    script::Framing,
};
use serde_json::json;

use super::setup::{Stage, patient};

const TEXT: &str =
    "h\u{e9}llo \u{4e16}\u{754c} \u{1f469}\u{200d}\u{1f680} \\\" \u{fffd} a\u{301} \u{2028} end";

/// The same stream, written in the many ways the standard allows.
fn spellings() -> Vec<(&'static str, String)> {
    let plain: String = chat_chunks("m", TEXT).concat();
    let escaped = plain.chars().map(escape).collect();
    let ids =
        chat_chunks("m", TEXT).iter().enumerate().map(|(i, e)| format!("id: {i}\nretry: 10\n{e}")).collect();
    let comments = chat_chunks("m", TEXT).iter().map(|e| format!(": hm\n{e}:\n\n")).collect();
    let split = chat_chunks("m", TEXT).iter().map(|e| e.replacen(",\"", ",\ndata: \"", 1)).collect();
    vec![
        ("LF", plain.clone()),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("CR", plain.replace('\n', "\r")),
        ("mixed", plain.replace("\n\n", "\r\n\n")),
        ("no space", plain.replace("data: ", "data:")),
        ("BOM", format!("\u{feff}{plain}")),
        ("ids and retry", ids),
        ("comments", comments),
        ("data over several lines", split),
        ("event: message", plain.replace("data: {", "event: message\ndata: {")),
        ("blank lines", plain.replace("\n\n", "\n\n\n\n")),
        ("escapes", escaped),
        ("no last blank line", plain.trim_end().to_owned() + "\n"),
        ("no last line end", plain.trim_end().to_owned()),
        ("something after [DONE]", format!("{plain}: bye\n\n")),
    ]
}

/// Everything beyond ASCII as `\uXXXX`, surrogates and all.
fn escape(c: char) -> String {
    if c.is_ascii() {
        return c.to_string();
    }
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_says_the_same() {
    let stage = Stage::single(patient).await;
    for (name, stream) in spellings() {
        let whole = Script::sse([stream]);
        for script in [
            whole.clone(),
            whole.clone().framing(Framing::Close),
            whole.clone().dribble(1, ms(0)),
            whole.dribble(7, ms(0)),
        ] {
            stage.a.next(script);
            let heard = stage.client.stream(&ask_stream("m")).await;
            assert_eq!(heard.text(), TEXT, "{name}: {}", String::from_utf8_lossy(&heard.body));
            // The last event is only complete with its blank line; its `[DONE]` may or may not count.
            assert!(heard.done() || name.starts_with("no last"), "{name}");
            assert!(heard.error().is_none(), "{name}: {heard:?}");
            assert!(
                heard
                    .events
                    .iter()
                    .filter_map(|e| e.data.as_deref())
                    .all(|d| d == "[DONE]" || d.starts_with('{'))
            );
        }
    }
}

/// The test data is right: a reader that follows the standard gets the text of each spelling.
#[test]
fn the_spellings_themselves_are_right() {
    for (name, stream) in spellings() {
        let (events, _) = concierge_testkit::sse::parse(stream.as_bytes());
        let word = |e: &concierge_testkit::sse::Event| {
            Some(e.json()?["choices"][0]["delta"]["content"].as_str()?.to_owned())
        };
        let text: String = events.iter().filter_map(word).collect();
        assert_eq!(text, TEXT, "{name}");
    }
}

/// A character's two halves in two chunks: each chunk is JSON, neither is text alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_surrogate_pair_over_two_chunks_passes() {
    let stage = Stage::single(patient).await;
    let half =
        |s: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{s}\"}}}}]}}\n\n");
    let mut events = chat_chunks("m", "x");
    events.splice(1..1, [half("\\ud83d"), half("\\ude00")]);
    stage.a.next(Script::sse(events.clone()));
    let open = stage.client.open_stream(&ask_stream("m")).await.reply().await;
    let body = String::from_utf8(open.body.to_vec()).unwrap();
    assert!(body.contains("\\ud83d") && body.contains("\\ude00"), "{body}");
}

/// Azure begins with a chunk without choices; it is not content, and it is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_chunk_without_choices_passes() {
    let stage = Stage::single(patient).await;
    let first = json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "id": "", "model": ""});
    let mut events = chat_chunks("m", TEXT);
    events.insert(0, format!("data: {first}\n\n"));
    stage.a.next(Script::sse(events));
    let heard = stage.client.stream(&ask_stream("m")).await;
    assert_eq!((heard.chunks()[0].clone(), heard.text().as_str()), (first, TEXT));
}
