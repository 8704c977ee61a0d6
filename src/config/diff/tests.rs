//! Small edits of one file, and what is told of them.

use super::*;
use crate::config::parse;

const BASE: &str = r#"
[server]
listen = "127.0.0.1:8080"
[admin]
token = "an-admin-token-0123456789"
[[auth.keys]]
user = "alice"
key = "alices-secret-key-1"
[[auth.keys]]
user = "alice"
key = "alices-secret-key-2"
[[providers]]
name = "one"
base_url = "http://127.0.0.1:9001/v1"
api_key = "provider-secret-1"
headers = { "x-a" = "header-secret-1" }
[[providers]]
name = "two"
base_url = "http://127.0.0.1:9002/v1"
[[models]]
name = "m"
targets = ["one/m", "two/m"]
[routing]
temperature = 1.0
"#;

fn config(text: &str) -> Config {
    parse("test", text, &|_| None).unwrap().config
}

/// What is told when `from` becomes `to` in [`BASE`].
fn edit(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "{from}");
    changes(&config(BASE), &config(&BASE.replacen(from, to, 1)))
}

#[test]
fn nothing_is_told_of_nothing() {
    assert!(edit("[routing]", "# a remark\n[routing]").is_empty());
}

#[test]
fn a_changed_key_is_told_with_both_values() {
    assert_eq!(edit("temperature = 1.0", "temperature = 0.5"), ["routing.temperature: 1.0 -> 0.5"]);
    assert_eq!(
        edit(r#"["one/m", "two/m"]"#, r#"["two/m"]"#),
        [r#"models.m.targets: ["one/m","two/m"] -> ["two/m"]"#]
    );
}

#[test]
fn a_key_that_came_is_told_with_its_value() {
    assert_eq!(
        edit(r#"name = "m""#, "name = \"m\"\ncontext_window = 8192"),
        ["models.m.context_window: now 8192"]
    );
}

#[test]
fn a_section_that_came_is_told_once_and_without_its_secrets() {
    let third = "[[providers]]\nname = \"three\"\nbase_url = \"http://127.0.0.1:9003\"\napi_key = \"provider-secret-3\"\n[routing]";
    assert_eq!(edit("[routing]", third), ["providers.three: added"]);
}

#[test]
fn a_namesake_that_came_hides_no_other_change() {
    let longer =
        BASE.replace("name = \"two\"", "name = \"one.b\"\napi_key = \"k1\"").replace("two/m", "one.b/m");
    let shorter = longer
        .replace("name = \"one\"", "name = \"on\"")
        .replace("one/m", "on/m")
        .replace("\"k1\"", "\"k2\"");
    let told = changes(&config(&longer), &config(&shorter));
    assert!(told.contains(&"providers.one.b.api_key: changed".to_owned()), "{told:?}");
}

#[test]
fn the_order_of_named_things_is_no_change() {
    let one = &BASE[BASE.find("[[providers]]").unwrap()..BASE.rfind("[[providers]]").unwrap()];
    let moved = BASE.replacen(one, "", 1) + one;
    assert!(changes(&config(BASE), &config(&moved)).is_empty());
}

#[test]
fn of_a_secret_only_its_key_is_told() {
    let cases = [
        ("an-admin-token-0123456789", "admin.token"),
        ("alices-secret-key-1", "auth.keys.alice.key"),
        ("alices-secret-key-2", "auth.keys.alice#2.key"),
        ("provider-secret-1", "providers.one.api_key"),
        ("header-secret-1", "providers.one.headers.x-a"),
    ];
    for (secret, key) in cases {
        assert_eq!(edit(secret, "another-secret-altogether"), [format!("{key}: changed")]);
    }
}

#[test]
fn a_secret_that_came_or_went_is_not_shown_either() {
    let told = [
        edit("token = \"an-admin-token-0123456789\"", ""),
        edit("api_key = \"provider-secret-1\"", ""),
        edit("{ \"x-a\" = \"header-secret-1\" }", "{ \"x-b\" = \"header-secret-2\" }"),
    ];
    assert_eq!(told[0], ["admin.token: changed"]);
    assert_eq!(told[1], ["providers.one.api_key: changed"]);
    assert_eq!(told[2], ["providers.one.headers.x-a: removed", "providers.one.headers.x-b: added"]);
    let all = told.concat().concat();
    assert!(!all.contains("secret-") && !all.contains("***"), "{all}");
}
