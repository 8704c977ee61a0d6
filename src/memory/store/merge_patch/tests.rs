use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The examples of RFC 7386, appendix A, as far as target and patch are objects.
#[test]
fn the_examples_of_the_standard() {
    for (target, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        let merged = merge_patch(&target.to_string(), &patch.to_string()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), expected, "{target} + {patch}");
    }
}

#[test]
fn numbers_keep_their_digits() {
    let merged = merge_patch(r#"{"n": 12345678901234567890123, "m": 1.10}"#, r#"{"k": 0.300}"#).unwrap();
    assert_eq!(merged, r#"{"k":0.300,"m":1.10,"n":12345678901234567890123}"#);
}

#[test]
fn what_is_no_object_and_what_is_too_deep_is_refused() {
    let deep = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
    assert!(object(&deep(128)).is_ok());
    assert!(merge_patch("{}", &deep(128)).is_ok());
    for bad in ["", "[]", "1", "null", "{", "{}{}", r#"{"a"}"#, &deep(129), &deep(200_000)] {
        assert_eq!(object(bad), Err(StoreError::NotAnObject));
        assert_eq!(merge_patch("{}", bad), Err(StoreError::NotAnObject));
    }
    assert!(object(r#"{"a": "[[{{\"[["}"#).is_ok());
    assert_eq!(depth(r#"{"a": "[[{{\"[["}"#), 1);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        "[a-c\"\\\\]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn map() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map("[a-c]", value(), 0..4)
        .prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// The algorithm of the standard, letter by letter.
fn standard(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(map) = target { map } else { serde_json::Map::new() };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            let old = target.remove(key).unwrap_or(Value::Null);
            target.insert(key.clone(), standard(old, value));
        }
    }
    Value::Object(target)
}

proptest! {
    #[test]
    fn it_does_what_the_standard_says(target in map(), patch in map()) {
        let merged = merge_patch(&target.to_string(), &patch.to_string()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), standard(target, &patch));
    }
}
