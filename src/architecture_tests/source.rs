//! The crate's own source, read as far as its structure needs: files, imports, functions. Tests are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A path of names, such as `["upstream", "health", "score"]`, without the leading `crate`.
pub(crate) type Names = Vec<String>;

/// One file of `src/`, without comments, strings and what is compiled for tests alone.
pub(crate) struct Source {
    /// Below `src/`.
    pub file: PathBuf,
    /// As written.
    pub text: String,
    /// What the compiler sees of it outside of tests.
    pub code: String,
    /// What it imports, by absolute paths; re-exports are kept apart.
    pub imports: Vec<Names>,
    exports: Vec<(String, Names)>,
}

/// Every module that is no test, by its path.
pub(crate) fn modules() -> BTreeMap<Names, Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut all, mut tests) = (BTreeMap::new(), Vec::new());
    for file in files(&src) {
        let text = fs::read_to_string(src.join(&file)).unwrap();
        let (code, test_modules) = without_tests(&without_comments(&text));
        let module = module_of(&file);
        tests.extend(test_modules.into_iter().map(|name| [module.clone(), vec![name]].concat()));
        all.insert(module, Source { file, text, code, imports: Vec::new(), exports: Vec::new() });
    }
    all.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
    let known = all.keys().cloned().collect();
    for (module, source) in &mut all {
        source.read_imports(module, &known);
    }
    all
}

/// The files of `src/` that a module is in, `main.rs` left out: it is another crate.
fn files(src: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![src.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(src).unwrap().to_owned());
            }
        }
    }
    found.retain(|file| file != Path::new("main.rs"));
    found
}

fn module_of(file: &Path) -> Names {
    let mut names: Names =
        file.iter().map(|name| name.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect();
    if names.last().is_some_and(|name| name == "mod" || name == "lib") {
        names.pop();
    }
    names
}

/// Comments, strings and character literals become blanks.
pub(crate) fn without_comments(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            escaped.find('\'').map_or(rest.len(), |end| end + 3)
        } else {
            0
        };
        match skipped {
            0 => code.push(c),
            _ => code.push(' '),
        }
        rest = &rest[skipped.max(c.len_utf8())..];
    }
    code
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The code without the items behind `#[cfg(test)]`, and the names of the modules among them.
fn without_tests(code: &str) -> (String, Names) {
    let (mut kept, mut modules, mut rest) = (String::new(), Vec::new(), code);
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let item = &rest[at..];
        let (mut depth, mut end) = (0, item.len());
        for (place, c) in item.char_indices().skip("#[cfg(test)]".len()) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == ';' || c == '}') {
                end = place + 1;
                break;
            }
        }
        let declared = item[..end].strip_suffix(';').and_then(|item| item.rsplit_once("mod "));
        modules.extend(declared.map(|(_, name)| name.trim().to_owned()));
        rest = &item[end..];
    }
    kept.push_str(rest);
    (kept, modules)
}

impl Source {
    fn read_imports(&mut self, module: &[String], known: &BTreeSet<Names>) {
        for part in self.code.split(';') {
            let Some((before, tree)) = part.rsplit_once("use ") else { continue };
            let statement =
                tree.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_:{},*".contains(c));
            if !statement {
                continue;
            }
            let exported = before.trim_end().ends_with("pub") || before.trim_end().ends_with("pub(crate)");
            for path in paths(tree) {
                let Some(path) = absolute(&path, module, known) else { continue };
                match exported {
                    true => self.exports.push((path.last().cloned().unwrap_or_default(), path)),
                    false => self.imports.push(path),
                }
            }
        }
        for root in ["crate::", "super::"] {
            for (at, _) in self.code.match_indices(root) {
                let path =
                    self.code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
                let names: Names = path.unwrap_or_default().split("::").map(str::to_owned).collect();
                self.imports.extend(
                    absolute(&names, module, known).filter(|path| !path.iter().any(String::is_empty)),
                );
            }
        }
    }
}

/// Every path of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
pub(crate) fn paths(tree: &str) -> Vec<Names> {
    let (mut found, mut prefixes, mut path): (Vec<Names>, Vec<usize>, Names) =
        (Vec::new(), Vec::new(), Vec::new());
    let mut name = String::new();
    for c in tree.chars().chain([',']) {
        match c {
            ':' | '{' | ',' | '}' => {
                let alias = std::mem::take(&mut name);
                let first = alias.split_whitespace().next().unwrap_or_default();
                if !first.is_empty() {
                    path.push(first.to_owned());
                }
                if c == '{' {
                    prefixes.push(path.len());
                } else if c != ':' {
                    if path.len() > prefixes.last().copied().unwrap_or(0) {
                        found.push(path.clone());
                    }
                    if c == '}' {
                        prefixes.pop();
                        path.truncate(prefixes.last().copied().unwrap_or(0));
                        continue;
                    }
                    path.truncate(prefixes.last().copied().unwrap_or(0));
                }
            }
            _ => name.push(c),
        }
    }
    found.iter_mut().for_each(|path| path.retain(|name| name != "*"));
    found
}

/// What `path` means in `module`; `None` if it leads out of the crate.
fn absolute(path: &[String], module: &[String], known: &BTreeSet<Names>) -> Option<Names> {
    let mut names = path.to_vec();
    if names.len() > 1 && names.last().is_some_and(|name| name == "self") {
        names.pop();
    }
    let mut base = module.to_vec();
    match names.first()?.as_str() {
        "crate" => return Some(names.split_off(1)),
        "self" => drop(names.remove(0)),
        "super" => {
            while names.first().is_some_and(|name| name == "super") {
                names.remove(0);
                base.pop();
            }
        }
        first if !known.contains(&[module.to_vec(), vec![first.to_owned()]].concat()) => return None,
        _ => {}
    }
    Some([base, names].concat())
}

/// The module whose file `path` leads to, through what modules export again.
pub(crate) fn target(path: &[String], all: &BTreeMap<Names, Source>) -> Option<Names> {
    let mut path = path.to_vec();
    for _ in 0..5 {
        let end = (0..=path.len()).rev().find(|end| all.contains_key(&path[..*end]))?;
        let exported = path.get(end).and_then(|name| {
            let found = all[&path[..end]].exports.iter().find(|(exported, _)| exported == name);
            found.map(|(_, to)| [to.clone(), path[end + 1..].to_vec()].concat())
        });
        match exported {
            Some(next) if next != path => path = next,
            _ => return Some(path[..end].to_vec()),
        }
    }
    None
}

/// The lengths of all functions, in lines: the code is formatted, so a function ends where its own indentation ends.
pub(crate) fn function_lengths(code: &str) -> Vec<usize> {
    let lines: Vec<&str> = code.lines().collect();
    let is_fn = |line: &str| {
        let line = line.trim_start();
        let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "fn "];
        words.iter().any(|word| line.starts_with(word)) && line.contains("fn ") && line.contains('(')
    };
    let starts = lines.iter().enumerate().filter(|(_, line)| is_fn(line));
    let ends = starts.filter_map(|(at, line)| {
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        lines[at..]
            .iter()
            .position(|line| {
                line.trim_end() == close
                    || line.trim_end().ends_with(';') && line.len() - line.trim_start().len() == indent
            })
            .map(|length| length + 1)
    });
    ends.collect()
}
