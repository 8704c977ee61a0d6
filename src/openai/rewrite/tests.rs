//! What a rewrite changes, and that everything else stays the same.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::openai::request_peek::peek;

const CHAT: &str =
    r#"{"temperature":0.10,"model" : "a","messages":[ {"role":"user","content":"hi"} ],"x":1e400}"#;

fn rewrite(body: &str, change: impl FnOnce(Rewrite<'_>) -> Option<Rewrite<'_>>) -> Option<String> {
    let body = Bytes::from(body.to_owned());
    let peek = peek(&body).unwrap();
    let parts = change(Rewrite::new(&body, &peek))?.finish();
    let whole = String::from_utf8(parts.concat().to_vec()).unwrap();
    assert_eq!(parts.len(), whole.len());
    Some(whole)
}

#[test]
fn the_model_is_spliced_without_copying_the_rest() {
    let body = Bytes::from_static(CHAT.as_bytes());
    let peek = peek(&body).unwrap();
    let parts = with_model(&body, &peek, "b/\"c\"");
    let pieces: Vec<_> = parts.iter().collect();
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[0].as_ptr(), body.as_ptr());
    assert_eq!(pieces[2].as_ptr(), body[peek.model_at.end..].as_ptr());
    assert_eq!(&parts.concat()[..], CHAT.replace("\"a\"", r#""b/\"c\"""#).as_bytes());
    assert_eq!(with_model(&body, &peek, "a").concat().as_ptr(), body.as_ptr());
}

#[test]
fn a_second_model_replaces_the_first() {
    let twice = rewrite(CHAT, |r| Some(r.model("b").model("c"))).unwrap();
    assert_eq!(twice, CHAT.replace("\"a\"", "\"c\""));
}

#[test]
fn an_answer_is_continued_in_each_way() {
    let said = "He said \"\u{1f600}\n";
    let message = r#"{"role":"user","content":"hi"} ,{"role":"assistant","content":"He said \""#.to_owned()
        + "\u{1f600}\\n\"";
    let whole = |how| rewrite(CHAT, |r| r.model("b").continue_from(said, how)).unwrap();
    let expected = CHAT.replace("\"a\"", "\"b\"").replace(r#"{"role":"user","content":"hi"} "#, &message);
    assert_eq!(whole(How::Assistant), expected.replace("],", "}],"));
    assert_eq!(whole(How::Prefix), expected.replace("],", ",\"prefix\":true}],"));
    let vllm = expected.replace("],", "}],").replacen(
        '{',
        "{\"continue_final_message\":true,\"add_generation_prompt\":false,",
        1,
    );
    assert_eq!(whole(How::Vllm), vllm);
}

#[test]
fn what_cannot_be_continued() {
    let can = |body: &str, said: &str, how| rewrite(body, |r| r.continue_from(said, how)).is_some();
    assert!(!can(r#"{"model":"m"}"#, "x", How::Assistant));
    assert!(!can(r#"{"model":"m","messages":[ ]}"#, "x", How::Assistant));
    assert!(!can(r#"{"model":"m","messages":"x"}"#, "x", How::Assistant));
    assert!(!can(r#"{"model":"m","messages":[{"role":"assistant"}]}"#, "x", How::Assistant));
    assert!(!can(CHAT, "", How::Assistant));
    let decided = CHAT.replacen('{', "{\"add_generation_prompt\":true,", 1);
    assert!(!can(&decided, "x", How::Vllm));
    assert!(can(&decided, "x", How::Prefix));
}

fn changed(body: &str, model: &str, said: &str) -> Option<Value> {
    let body = rewrite(body, |r| r.model(model).continue_from(said, How::Vllm))?;
    Some(serde_json::from_str(&body).unwrap())
}

proptest! {
    #[test]
    fn everything_else_stays(model in ".+", other in ".+", said in ".+", key in "[a-z]{2}", text in any::<String>(), role in any::<String>()) {
        prop_assume!(role != "assistant");
        let mut tree = serde_json::json!({ "model": model, &key: { "model": text, "messages": [1] }, "messages": [{ "role": role, "content": text }] });
        let whole = changed(&tree.to_string(), &other, &said).unwrap();
        tree["model"] = other.into();
        tree["continue_final_message"] = true.into();
        tree["add_generation_prompt"] = false.into();
        let message = serde_json::json!({ "role": "assistant", "content": said });
        tree["messages"].as_array_mut().unwrap().push(message);
        prop_assert_eq!(whole, tree);
    }
}
