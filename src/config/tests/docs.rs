//! `docs/configuration.md` has every key of the tables with its default, and no other.

use std::collections::BTreeMap;

use super::shipped::known_keys;
use crate::config::{
    ClientKey, Config, parse,
    reader::env::{Expanded, expand},
    sections::AT_MOST,
};

const DOCS: &str = include_str!("../../../docs/configuration.md");

/// One key of a table.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Its section in the file's own brackets.
    pub section: String,
    /// Its name.
    pub key: String,
    /// Its default, as a cell of the table in the documentation.
    pub default: String,
    /// What it is for.
    pub about: &'static str,
}

impl From<(&str, &str, &str, &'static str)> for Key {
    fn from((section, key, default, about): (&str, &str, &str, &'static str)) -> Self {
        // How blanks stand between tokens is the compiler's choice.
        Self { section: section.replace(' ', ""), key: key.to_owned(), default: default.to_owned(), about }
    }
}

/// Has keys.
pub(crate) trait Documented {
    fn keys() -> Vec<Key>;
}

impl<T: Documented> Documented for Vec<T> {
    fn keys() -> Vec<Key> {
        T::keys()
    }
}

fn operation_keys() -> Vec<Key> {
    AT_MOST
        .map(|(operation, at_most)| Key {
            section: "[slots.operations]".to_owned(),
            key: operation.as_str().to_owned(),
            default: match at_most {
                u32::MAX => "`per_user`".to_owned(),
                at_most => format!("`per_user`, at most {at_most}"),
            },
            about: "Requests one user may have in flight of this operation.",
        })
        .to_vec()
}

/// Every key of the code. A key that is a table of its own stands in the docs as a heading.
fn keys() -> Vec<Key> {
    let all = [Config::keys(), ClientKey::keys(), operation_keys()].concat();
    let sections: Vec<String> = all.iter().map(|key| key.section.clone()).collect();
    let path = |key: &Key| format!("{}.{}", key.section.trim_matches(['[', ']']), key.key);
    let is_table = |key: &Key| sections.iter().any(|section| section.trim_matches(['[', ']']) == path(key));
    all.into_iter().filter(|key| !is_table(key)).collect()
}

/// Section and key to default, as the docs have them.
fn documented() -> BTreeMap<(String, String), String> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in DOCS.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            section = heading.trim_matches(['#', ' ', '`']).to_owned();
        }
        let mut cells = line.strip_prefix("| `").into_iter().flat_map(|row| row.split(" | "));
        if let (Some(key), Some(default)) = (cells.next(), cells.next()) {
            let place = (section.clone(), key.trim_end_matches('`').to_owned());
            assert_eq!(found.insert(place, default.to_owned()), None, "{section} {key} stands there twice");
        }
    }
    found
}

/// A default that takes a variable is what it is without it.
fn without_variables(cell: &str) -> String {
    match expand(cell, &|_| None) {
        Ok(Expanded::Text(text)) => text,
        other => panic!("{cell}: {other:?}"),
    }
}

#[test]
fn the_docs_have_every_key_with_its_default_and_no_other() {
    let mut documented = documented();
    let keys = keys();
    assert!(keys.len() > 80, "{}", keys.len());
    for Key { section, key, default, .. } in keys {
        let cell = documented.remove(&(section.clone(), key.clone()));
        let cell = cell.unwrap_or_else(|| panic!("{section} {key} is missing"));
        let meant = if default == "`\"\"`" { without_variables(&cell) } else { cell };
        assert_eq!(meant, default, "the default of {section} {key}");
    }
    assert_eq!(documented, BTreeMap::new(), "these are no keys");
}

/// What a default of the table says is what the reader understands by it, and what the code does without the file.
#[test]
fn every_default_means_what_it_says() {
    let mut text = String::new();
    for Key { section, key, default, .. } in keys() {
        let written = default.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
        if let Some(value) = written.filter(|_| !section.starts_with("[[") && section != "[slots.operations]")
        {
            text += &format!("{}.{key} = {value}\n", section.trim_matches(['[', ']']));
        }
    }
    assert!(text.lines().count() > 55, "{text}");
    assert_eq!(parse("defaults", &text, &|_| None).unwrap().config, Config::default());
}

/// A rule must not ask for a key that stands in no table.
#[test]
fn the_reader_knows_the_keys_of_the_tables_and_no_other() {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Key { section, key, .. } in [Config::keys(), ClientKey::keys(), operation_keys()].concat() {
        tables.entry(section).or_default().push(key);
    }
    for (section, keys) in tables {
        assert_eq!(known_keys(&section), keys, "{section}");
    }
}

#[test]
fn every_key_says_what_it_is_for() {
    for Key { section, key, about, .. } in keys() {
        assert!(about.trim().len() > 3 && about.ends_with('.'), "{section} {key}: {about:?}");
    }
}
