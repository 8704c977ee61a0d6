//! The layers of the crate, held by a test: nobody imports upwards, and equals do not import each other.

use std::{fs, path::Path};

/// Module and layer; a module may use lower layers, and of its own only what `FRIENDS` allows.
const LAYERS: &[(&str, u8)] = &[
    ("http1", 0),
    ("openai", 0),
    ("clock", 0),
    ("config", 0),
    ("events", 0),
    ("failpoint", 0),
    ("refusal", 0),
    ("tasks", 0),
    ("telemetry", 0),
    ("tls", 0),
    ("user", 0),
    ("cluster", 1),
    ("memory", 2),
    ("admission", 2),
    ("upstream", 2),
    ("call", 3),
    ("dispatch", 3),
    ("gossip", 4),
    ("recall", 4),
    ("admin", 5),
    ("server", 6),
    ("app", 7),
    ("demo", 7),
];

/// Who may use whom in one layer.
const FRIENDS: &[(&str, &str)] = &[
    ("dispatch", "call"),
    ("telemetry", "config"),
    ("tasks", "failpoint"),
    ("telemetry", "tasks"),
    ("app", "demo"),
];

/// Imports upwards that the moves have brought to light; each goes with the cut that it needs.
const TO_BE_CUT: &[(&str, &str)] = &[];

/// Modules behind a wall, and the few that each may use.
const WALLS: &[(&str, &[&str])] = &[("memory", &["cluster", "config", "tasks", "telemetry", "tls", "user"])];

fn is_walled_off(module: &str, used: &str) -> bool {
    WALLS.iter().any(|(walled, allowed)| *walled == module && !allowed.contains(&used))
}

fn layer(module: &str) -> u8 {
    let known = LAYERS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("the module {module} has no layer")).1
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// The names after `crate::`, also of nested imports such as `use crate::{api::…, config};`.
fn imports(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in source.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            continue;
        };
        let (mut depth, mut name) = (1, String::new());
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && (c.is_alphanumeric() || c == '_') {
                name.push(c);
            } else if !name.is_empty() {
                found.push(std::mem::take(&mut name));
            }
            if c == ':' && depth == 1 {
                // The path goes on; only its first name counts, the rest is skipped to the comma.
                name = String::from("\0");
            }
            if c == ',' && depth == 1 {
                name.clear();
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.retain(|name| !name.is_empty() && !name.starts_with('\0'));
    found
}

#[test]
fn no_module_imports_upwards() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    let mut wrong = Vec::new();
    for file in all {
        let place = file.strip_prefix(&src).unwrap();
        let module = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if matches!(module.as_str(), "lib" | "main" | "architecture_tests") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap();
        if place.to_str().unwrap().contains("test") {
            continue;
        }
        for used in imports(code).into_iter().filter(|used| *used != module) {
            let known = LAYERS.iter().any(|(name, _)| *name == used);
            let pair = (module.as_str(), used.as_str());
            let friends = FRIENDS.contains(&pair) || TO_BE_CUT.contains(&pair);
            let upwards = || layer(&used) >= layer(&module) && !friends;
            if known && (upwards() || is_walled_off(&module, &used)) {
                wrong.push(format!("{}: {module} uses {used}", place.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::{api::{Api, sse}, config, upstream::ask};\nlet x = crate::user::UserId;";
    let found = imports(source);
    for name in ["api", "config", "upstream", "user"] {
        assert!(found.iter().any(|f| f == name), "{name} in {found:?}");
    }
}

/// A drawer begins where nobody dares to split any more.
#[test]
fn no_file_is_a_drawer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&src, &mut all);
    for file in all {
        let source = fs::read_to_string(&file).unwrap();
        assert!(source.lines().count() <= 500, "{} has more than 500 lines", file.display());
        assert!(source.starts_with("//!"), "{} does not say what it is for", file.display());
    }
}
