//! What a new configuration changes, key by key, in the file's own names.
//!
//! It must never show a secret: values come from the masked configuration, and a secret has only "changed".

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Config,
    redacted::{MASK, Secrets},
    setting::Shown,
};

/// A value longer than this many characters is not quoted.
const LONGEST_VALUE: usize = 80;

/// One line for each key that differs, sorted; empty when nothing does.
///
/// `routing.temperature: 1.0 -> 0.5`, `providers.groq: added`, `admin.token: changed`. What has a name is compared with
/// its namesake, wherever it stands in the file.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let (mut changes, mut compared) = (BTreeMap::new(), BTreeMap::new());
    compare("", &old.masked(), &new.masked(), &mut changes);
    // Two secrets look alike under their masks.
    compare("", &old.shown(Secrets::Compared), &new.shown(Secrets::Compared), &mut compared);
    for key in compared.into_keys() {
        changes.entry(key).or_insert_with(|| "changed".to_owned());
    }
    changes.into_iter().map(|(key, what)| format!("{key}: {what}")).collect()
}

fn compare(key: &str, old: &Value, new: &Value, changes: &mut BTreeMap<String, String>) {
    if old == new {
        return;
    }
    let (Some(old_fields), Some(new_fields)) = (fields(old), fields(new)) else {
        changes.insert(key.to_owned(), describe(old, new));
        return;
    };
    let both = old_fields.keys().chain(new_fields.keys());
    for name in both {
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        match (old_fields.get(name), new_fields.get(name)) {
            (Some(old), Some(new)) => compare(&key, old, new, changes),
            (Some(old), None) => drop(changes.insert(key, gone(old))),
            (None, Some(new)) => drop(changes.insert(key, come(new))),
            (None, None) => {}
        }
    }
}

/// The fields of an object, or the tables of an array by their names; `None` for anything else.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
fn fields(value: &Value) -> Option<BTreeMap<String, &Value>> {
    match value {
        Value::Object(object) => Some(object.iter().map(|(name, value)| (name.clone(), value)).collect()),
        Value::Array(items) if items.iter().all(Value::is_object) => Some(named(items)),
        _ => None,
    }
}

/// One user may have several keys: the second is `alice#2`.
fn named(items: &[Value]) -> BTreeMap<String, &Value> {
    let mut named = BTreeMap::new();
    for item in items {
        let name = item["name"].as_str().or(item["user"].as_str()).unwrap_or("");
        let alike = |count: usize| if count == 1 { name.to_owned() } else { format!("{name}#{count}") };
        let free = (1..=items.len()).map(alike).find(|name| !named.contains_key(name));
        named.extend(free.map(|name| (name, item)));
    }
    named
}

fn describe(old: &Value, new: &Value) -> String {
    match (quoted(old), quoted(new)) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        _ => "changed".to_owned(),
    }
}

fn come(new: &Value) -> String {
    quoted(new).filter(|_| !new.is_object()).map_or("added".to_owned(), |new| format!("now {new}"))
}

fn gone(old: &Value) -> String {
    quoted(old).filter(|_| !old.is_object()).map_or("removed".to_owned(), |old| format!("no longer {old}"))
}

/// `None` for a mask, and for what would fill the line.
fn quoted(value: &Value) -> Option<String> {
    let text = value.to_string();
    (value != MASK && text.chars().count() <= LONGEST_VALUE).then_some(text)
}

#[cfg(test)]
mod tests;
