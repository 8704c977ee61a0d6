use serde_json::json;

use super::*;

#[test]
fn the_answer_echoes_the_last_question_in_every_spelling() {
    let chat =
        json!({"messages": [{"role": "user", "content": "old"}, {"role": "user", "content": "hi there"}]});
    let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi there"}]}]});
    for body in [chat, parts, json!({"input": "hi there"}), json!({"prompt": "hi there"})] {
        assert!(DemoRequest::read(&body).text().starts_with("You said: “hi there”. "), "{body}");
    }
}

#[test]
fn the_answer_tells_what_the_gateway_recalled() {
    let asked = |notes: &str| {
        let note = json!({"role": "user", "content": format!("Notes\nBEGIN-f00\n{notes}END-f00")});
        DemoRequest::read(&json!({"messages": [note, {"role": "user", "content": "hi"}]})).text()
    };
    assert!(asked("- user: a\n").starts_with("You said: “hi”. The gateway reminded me: “user: a”. This"));
    assert!(asked("- a\n- b\n- c\n").contains("reminded me: “a”, and 2 more. This"));
    assert!(asked("").starts_with("You said: “hi”. This"));
}

#[test]
fn words_make_the_text_again_and_only_the_first_lacks_its_space() {
    for text in ["", "a", " a", "a b", "a  b ", "“ä b” ç"] {
        assert_eq!(words(text).concat(), text, "{text:?}");
    }
    assert_eq!(words("one two three"), ["one", " two", " three"]);
}

#[test]
fn a_last_assistant_message_is_continued() {
    let question = json!({"role": "user", "content": "hi"});
    let whole = DemoRequest::read(&json!({"messages": [question]})).text();
    for cut in [1, 12, 40] {
        let said = whole.chars().take(cut).collect::<String>();
        let body = json!({"messages": [question, {"role": "assistant", "content": said}]});
        assert_eq!(said.clone() + &DemoRequest::read(&body).text(), whole, "{cut}");
    }
}

#[test]
fn nonsense_is_an_empty_question() {
    for body in [json!(null), json!([]), json!({"messages": 3}), json!({"messages": [null, {"content": {}}]})]
    {
        assert!(DemoRequest::read(&body).text().starts_with("You said nothing"), "{body}");
    }
}

#[test]
fn a_long_question_is_cut_between_characters() {
    let text = DemoRequest::read(&json!({"prompt": "ä".repeat(5000)})).text();
    assert!(text.starts_with(&format!("You said: “{}…”.", "ä".repeat(200))));
}

#[test]
fn every_input_is_embedded_once() {
    assert_eq!(DemoRequest::read(&json!({"input": "a"})).inputs.len(), 1);
    assert_eq!(DemoRequest::read(&json!({"input": ["a", "b"]})).inputs, ["a", "b"]);
    assert_eq!(DemoRequest::read(&json!({"input": [1, 2, 3]})).inputs.len(), 1);
    assert_eq!(DemoRequest::read(&json!({"input": [[1, 2], [3]]})).inputs.len(), 2);
}
