//! The peek on good, bad and hostile bodies.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn ok(body: &str) -> Peek {
    peek(body.as_bytes()).unwrap()
}

/// Code and parameter of the error.
fn refused(body: impl AsRef<[u8]>) -> (&'static str, Option<&'static str>) {
    let error = peek(body.as_ref()).unwrap_err();
    assert!(!error.message.is_empty());
    (error.code, error.param)
}

#[test]
fn all_that_is_asked_for() {
    let body = r#" {"model": "gpt\u002d4", "messages":[{"role":"user","content":"hi"}], "stream":true, "n":2,
        "tools":[{}], "response_format":{"type":"json_object"}, "user":"u", "safety_identifier":"s",
        "metadata":{"user_id":"m"}, "stream_options":{"include_usage":true}, "max_completion_tokens":7,
        "temperature":1e400, "top_p":0.10, "seed":123456789012345678901234567890} "#;
    let peek = ok(body);
    assert_eq!((&*peek.model, &body[peek.model_at.clone()]), ("gpt-4", r#""gpt\u002d4""#));
    assert!(peek.stream && peek.has_tools && peek.json_output && peek.include_usage);
    assert_eq!((peek.choices, peek.max_tokens, peek.open), (2, Some(7), 2));
    let users =
        [&peek.user, &peek.safety_identifier, &peek.metadata_user_id].map(|user| user.as_deref().unwrap());
    assert_eq!(users, ["u", "s", "m"]);
    assert_eq!(&body[peek.messages.clone().unwrap()], r#"[{"role":"user","content":"hi"}]"#);
    assert_eq!(peek.prompt_bytes, peek.messages.unwrap().len() + "[{}]".len());
}

#[test]
fn what_is_not_asked_for() {
    let expected = Peek { model: "m".into(), model_at: 9..12, open: 1, choices: 1, ..Peek::default() };
    assert_eq!(ok(r#"{"model":"m"}"#), expected);
    let peek =
        ok(r#"{"model":"m","stream":null,"n":null,"tools":[],"response_format":{"type":"text"},"user":null,
        "metadata":[1],"max_tokens":"x","messages":"x","stream_options":null,"user":7}"#
            .replace(r#","user":7"#, "")
            .as_str());
    assert!(!peek.stream && !peek.has_tools && !peek.json_output && !peek.include_usage);
    assert_eq!((peek.choices, peek.user, peek.max_tokens, peek.messages), (1, None, None, None));
}

#[test]
fn the_responses_interface() {
    let peek = ok(r#"{"model":"m","input":"hi","instructions":"x","text":{"format":{"type":"json_schema"}},
        "max_output_tokens":3,"previous_response_id":"r"}"#);
    assert!(peek.json_output && peek.has_previous_response);
    assert_eq!((peek.max_tokens, peek.prompt_bytes), (Some(3), 7));
}

#[test]
fn refusals_say_what_and_where() {
    for body in [
        "",
        "  \n",
        "null",
        "[]",
        "\"x\"",
        "7",
        "{",
        "{\"model\":\"m\"",
        "{\"model\":\"m\",}",
        "{\"model\":\"m\"} x",
        "\0",
        "{\"model\":\"m\"}\0",
        "{\"model\":\"m\",\"x\":NaN}",
        "{'model':'m'}",
        "\u{feff}{\"model\":\"m\"}",
        "{\"a\":\"\n\",\"model\":\"m\"}",
    ] {
        assert_eq!(refused(body), ("invalid_json", None), "{body:?}");
    }
    assert_eq!(refused(b"{\"model\":\"\xff\"}"), ("invalid_json", None));
    assert_eq!(refused("{}"), ("missing_field", Some("model")));
    assert_eq!(refused(r#"{"model":null}"#), ("missing_field", Some("model")));
    assert_eq!(refused(r#"{"model":""}"#), ("missing_field", Some("model")));
    for model in ["7", "true", "[\"m\"]", "{}", r#""\ud800""#] {
        assert_eq!(refused(format!("{{\"model\":{model}}}")), ("invalid_type", Some("model")), "{model}");
    }
    assert_eq!(refused(r#"{"model":"m","stream":"true"}"#), ("invalid_type", Some("stream")));
    let position = peek(b"{\"model\":\n \"m\" \"x\"}").unwrap_err().message;
    assert!(position.contains("line 2 column 6"), "{position}");
    assert!(peek(b"{\"a\":\"\xff\"}").unwrap_err().message.contains("byte 6"));
}

#[test]
fn a_key_of_ours_twice_is_refused_however_it_is_written() {
    assert_eq!(refused(r#"{"model":"a","model":"b"}"#), ("invalid_json", Some("model")));
    assert_eq!(refused(r#"{"model":"a","mod\u0065l":"a"}"#), ("invalid_json", Some("model")));
    assert_eq!(refused(r#"{"user":null,"model":"a","user":"b"}"#), ("invalid_json", Some("user")));
    assert_eq!(ok(r#"{"model":"a","seed":1,"seed":2}"#).model, "a");
}

#[test]
fn depth_is_no_stack_overflow() {
    for key in ["x", "messages", "tools", "metadata", "text", "stream_options", "input"] {
        let body = format!("{{\"model\":\"m\",\"{key}\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        ok(&body).messages(body.as_bytes());
        let body =
            format!("{{\"model\":\"m\",\"{key}\":{}1{}}}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
        ok(&body).messages(body.as_bytes());
        assert_eq!(
            refused(format!("{{\"model\":\"m\",\"{key}\":{}", "[".repeat(200_000))),
            ("invalid_json", None)
        );
    }
}

#[test]
fn messages_with_their_places() {
    let body = r#"{"messages": [ {"role":"system","content":"\ud83d"} , {"content":{"role":"x"},"role":"user"},7,{}], "model":"m"}"#;
    let messages = ok(body).messages(body.as_bytes());
    let seen: Vec<_> = messages.iter().map(|message| (message.role, &body[message.at.clone()])).collect();
    assert_eq!(
        seen,
        [
            ("system", r#"{"role":"system","content":"\ud83d"}"#),
            ("user", r#"{"content":{"role":"x"},"role":"user"}"#),
            ("", "7"),
            ("", "{}"),
        ]
    );
    assert_eq!(ok(body).messages(b"another"), []);
    assert_eq!(ok(r#"{"model":"m"}"#).messages(b""), []);
}

/// Values of any shape, with the text that JSON makes difficult.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("role|content|type|user_id|include_usage|.*", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Objects with our keys and others, each key once.
fn object() -> impl Strategy<Value = Value> {
    let key = prop_oneof![prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned), any::<String>()];
    (prop::collection::btree_map(key, value(), 0..10), any::<String>(), any::<bool>()).prop_map(
        |(map, model, plain)| {
            let mut object = Value::Object(map.into_iter().collect());
            if plain {
                object["model"] = json!(model);
                object["stream"] = json!(model.len() % 2 == 0);
            }
            object
        },
    )
}

/// Checks the peek against a parsed tree.
fn agrees(peek: &Peek, body: &str, tree: &Value) {
    let at = |range: &Option<Range<usize>>| {
        range.clone().map(|range| serde_json::from_str::<Value>(&body[range]).unwrap())
    };
    assert_eq!(tree["model"], json!(peek.model));
    assert_eq!(serde_json::from_str::<Value>(&body[peek.model_at.clone()]).unwrap(), tree["model"]);
    assert_eq!(tree["stream"].as_bool().unwrap_or(false), peek.stream);
    assert_eq!(at(&peek.messages), tree.get("messages").filter(|messages| messages.is_array()).cloned());
    assert_eq!(at(&peek.input), tree.get("input").cloned());
    assert_eq!(tree["stream_options"]["include_usage"] == true, peek.include_usage);
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    assert_eq!(
        (&peek.user, &peek.metadata_user_id),
        (&text(&tree["user"]), &text(&tree["metadata"]["user_id"]))
    );
    let messages = peek.messages(body.as_bytes());
    assert_eq!(messages.len(), tree["messages"].as_array().map_or(0, Vec::len));
    for (index, message) in messages.into_iter().enumerate() {
        assert_eq!(serde_json::from_str::<Value>(&body[message.at]).unwrap(), tree["messages"][index]);
    }
}

proptest! {
    #[test]
    fn agrees_with_the_tree(tree in object(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        match peek(body.as_bytes()) {
            Ok(peek) => agrees(&peek, &body, &tree),
            Err(error) => {
                let model = tree["model"].as_str().is_some_and(|model| !model.is_empty());
                let stream = matches!(tree["stream"], Value::Null | Value::Bool(_));
                prop_assert!(!(model && stream), "{error} {body}");
            }
        }
    }

    #[test]
    fn never_panics_and_refuses_what_is_not_json(mut body in object().prop_map(|tree| tree.to_string().into_bytes()),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>())
    {
        for (at, byte) in hits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len() + 1).max(1));
        if let Ok(peek) = peek(&body) {
            prop_assert!(serde_json::from_slice::<&RawValue>(&body).is_ok());
            peek.messages(&body);
        }
    }
}
