//! The walls of the house, held by tests: layers, walls, circles, sizes.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use self::source::{Names, Source, function_lengths, modules, paths, target, without_comments};

/// The layers, highest first. A module may use lower layers, and of its own only what `FRIENDS` allows.
const LAYERS: &[&[&str]] = &[
    &["app", "demo"],
    &["server"],
    &["admin"],
    &["recall", "gossip"],
    &["call", "dispatch"],
    &["admission", "upstream", "memory"],
    &["cluster"],
    &["clock", "config", "events", "failpoint", "refusal", "tasks", "telemetry", "tls", "user"],
    &["http1", "openai"],
];

/// Modules of one layer that may use each other, in this direction.
const FRIENDS: &[(&str, &str)] = &[
    ("dispatch", "call"),
    ("telemetry", "config"),
    ("tasks", "failpoint"),
    ("telemetry", "tasks"),
    ("app", "demo"),
];

/// Modules with a wall around them, and all that they may use of the rest.
const WALLS: &[(&str, &[&str])] = &[
    ("http1", &[]),
    ("openai", &[]),
    ("memory", &["cluster", "config", "tasks", "telemetry", "tls", "user"]),
];

/// Files that import each other and may, each with the reason.
const HARMLESS: &[&[&str]] = &[
    // A lease keeps the reply of the script that grants it.
    &["admission/distributed/acquire_script", "admission/distributed/lease_table"],
    // A value of the file may be a section, and a section holds values.
    &["config/reader/section", "config/reader/value"],
    // A configuration is shown by its keys' types, and a type shows what may hold a secret.
    &["config/redacted", "config/setting"],
    // The handle starts the task, and the task works on what the handle holds.
    &["gossip", "gossip/sync_task"],
    // The body of a response carries the headers that are written before it.
    &["server/http/gateway_headers", "server/http/response_body"],
    // One breaker, in two files: its own evidence and that of peers.
    &["upstream/health/breaker", "upstream/health/breaker/peers"],
];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("{module} has no layer"))
}

#[test]
fn no_module_imports_upwards() {
    let mut wrong = BTreeSet::new();
    let all = modules();
    for (module, source) in &all {
        let Some(from) = module.first() else { continue };
        for to in source.imports.iter().filter_map(|path| path.first()) {
            if to == from || !all.contains_key(std::slice::from_ref(to)) {
                continue;
            }
            let below = layer(to) > layer(from);
            if !below && !FRIENDS.contains(&(from, to)) {
                wrong.insert(format!("{}: {from} uses {to}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn walls_have_no_holes() {
    let mut wrong = BTreeSet::new();
    for (module, source) in modules() {
        let Some((name, allowed)) =
            WALLS.iter().find(|(name, _)| module.first().is_some_and(|first| first == name))
        else {
            continue;
        };
        for to in source.imports.iter().filter_map(|path| path.first()) {
            if to != name && !allowed.contains(&to.as_str()) {
                wrong.insert(format!("{}: {name} uses {to}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_import_each_other_only_where_it_is_harmless() {
    let all = modules();
    let edges: BTreeMap<&Names, BTreeSet<Names>> =
        all.iter().map(|(module, source)| (module, uses(module, source, &all))).collect();
    let reach: BTreeMap<&Names, BTreeSet<Names>> =
        edges.keys().map(|module| (*module, reachable(module, &edges))).collect();
    let mut circles = BTreeSet::new();
    for module in edges.keys() {
        let circle: Vec<String> = reach[module]
            .iter()
            .filter(|other| reach[other].contains(*module))
            .map(|other| other.join("/"))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let allowed: BTreeSet<Vec<String>> =
        HARMLESS.iter().map(|circle| circle.iter().map(|&name| name.to_owned()).collect()).collect();
    assert_eq!(circles, allowed);
}

fn uses(module: &Names, source: &Source, all: &BTreeMap<Names, Source>) -> BTreeSet<Names> {
    let mut used: BTreeSet<Names> = source.imports.iter().filter_map(|path| target(path, all)).collect();
    used.remove(module);
    used.remove(&Vec::new());
    used
}

fn reachable(from: &Names, edges: &BTreeMap<&Names, BTreeSet<Names>>) -> BTreeSet<Names> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = next.pop() {
        next.extend(edges[&module].iter().filter(|used| !seen.contains(*used)).cloned());
        seen.extend(edges[&module].iter().cloned());
    }
    seen
}

/// Past 500 lines a file holds more than one idea.
#[test]
fn files_are_small_and_say_what_they_are_for() {
    for source in modules().values() {
        assert!(source.text.lines().count() <= 500, "{} has more than 500 lines", source.file.display());
        assert!(source.text.starts_with("//!"), "{} does not say what it is for", source.file.display());
    }
}

#[test]
fn nine_functions_of_ten_fit_on_half_a_screen() {
    let mut lengths: Vec<usize> =
        modules().values().flat_map(|source| function_lengths(&source.code)).collect();
    lengths.sort_unstable();
    let p90 = lengths[lengths.len() * 9 / 10];
    assert!(lengths.len() > 1000 && p90 <= 25, "{} functions, p90 {p90} lines", lengths.len());
}

#[test]
fn the_source_is_read_rightly() {
    let names = |path: &str| path.split("::").map(str::to_owned).collect::<Names>();
    let tree = "crate::{openai::{Api, sse::*}, config, upstream::exchange as x}";
    let found =
        ["crate::openai::Api", "crate::openai::sse", "crate::config", "crate::upstream::exchange"].map(names);
    assert_eq!(paths(tree), found);
    assert_eq!(paths("self::a::b"), [names("self::a::b")]);
    let code = without_comments("a // crate::x\n\"crate::\\\"y\" r#\"crate::z\"# '\"' '\\'' b");
    assert!(!code.contains("crate") && code.starts_with('a') && code.ends_with('b'), "{code}");
    let lengths = function_lengths(
        "fn a() {\n    b();\n}\n\nimpl X {\n    pub fn c(\n        d: u8,\n    ) {\n    }\n}\n",
    );
    assert_eq!(lengths, [3, 4]);
}
