//! The TOML document while it is read: every problem is gathered with its line and key path, every key asked
//! for is known, and what was never asked for is reported in the end. It knows no key by name.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{env::Env, problem::Problem, value::Value};
use crate::config::suggest::nearest;

/// Where problems are gathered, and what they need to be found again.
pub struct Diagnostics<'a> {
    file: &'a str,
    /// Where each line begins: counted once, for every table asks for its line.
    lines: Vec<usize>,
    /// Looks up one environment variable.
    pub env: Env<'a>,
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'a> Diagnostics<'a> {
    /// Nothing noted yet about `text`, which came from `file`.
    pub fn new(file: &'a str, text: &'a str, env: Env<'a>) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        // What follows the last line break is a line only if there is something.
        let lines = std::iter::once(0).chain(ends.filter(|start| *start < text.len())).collect();
        Self { file, lines, env, errors: RefCell::default(), warnings: RefCell::default() }
    }

    /// The 1-based line of a byte offset; an offset at the end belongs to the last line.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Notes what keeps this configuration from being used.
    pub fn error(&self, line: usize, key: &str, message: impl Into<String>) {
        self.errors.borrow_mut().push(self.problem(line, key, message.into()));
    }

    /// Notes what the user should know but can live with.
    pub fn warn(&self, line: usize, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.problem(line, key, message.into()));
    }

    /// Errors and warnings, each once and in the order of the file: a key may be read again where its place matters.
    pub fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |problems: RefCell<Vec<Problem>>| {
            let mut problems = problems.into_inner();
            problems.sort_by_key(|problem| problem.line);
            let mut seen = BTreeSet::new();
            problems.retain(|problem| seen.insert(problem.clone()));
            problems
        };
        (sorted(self.errors), sorted(self.warnings))
    }

    fn problem(&self, line: usize, key: &str, message: String) -> Problem {
        Problem { file: self.file.to_owned(), line, key: key.to_owned(), message }
    }
}

/// What all values of one part of the document share.
#[derive(Clone)]
pub struct Scope<'a> {
    /// Where problems go.
    pub diagnostics: &'a Diagnostics<'a>,
    /// `Some`: unset variables are no error here but remembered, for this part can be skipped.
    pub unset: Option<Rc<RefCell<Vec<String>>>>,
}

/// One table, with the keys that were asked for.
pub struct Section<'a> {
    scope: Scope<'a>,
    path: String,
    line: usize,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    good: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub fn root(diagnostics: &'a Diagnostics<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(Scope { diagnostics, unset: None }, String::new(), 0, Some(table))
    }

    /// The table at `path`; `None` when it is absent and every key has its default.
    pub fn new(scope: Scope<'a>, path: String, line: usize, table: Option<&'a DeTable<'a>>) -> Self {
        Self { scope, path, line, table, asked: RefCell::default(), good: RefCell::default() }
    }

    /// The same table, but an unset variable in it is remembered instead of an error: see [`Self::unset`].
    pub fn skippable(mut self) -> Self {
        self.scope.unset = Some(Rc::default());
        self
    }

    /// The variables that were needed and not set, each once.
    pub fn unset(&self) -> Vec<String> {
        let mut names = self.scope.unset.as_ref().map(|unset| unset.borrow().clone()).unwrap_or_default();
        names.sort();
        names.dedup();
        names
    }

    /// The value of `key`, if it is written.
    pub fn value(&self, key: &'static str) -> Option<Value<'a>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        self.table?.get(key).map(|value| self.child(key, value))
    }

    /// `key` as `read` understands it; `None` when absent or bad (which `read` has noted).
    pub fn opt<T>(&self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        let found = self.value(key).and_then(|value| read(&value));
        if found.is_some() {
            self.good.borrow_mut().push(key);
        }
        found
    }

    /// Whether `key` is written, and was read without a mistake.
    pub fn has(&self, key: &str) -> bool {
        self.good.borrow().contains(&key)
    }

    /// As [`Self::opt`], with a default.
    pub fn or<T>(&self, key: &'static str, default: T, read: impl FnOnce(&Value<'a>) -> Option<T>) -> T {
        self.opt(key, read).unwrap_or(default)
    }

    /// As [`Self::opt`]; its absence is an error.
    pub fn required<T>(&self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        if self.value(key).is_none() {
            self.error(format!("`{key}` is missing"));
        }
        self.opt(key, read)
    }

    /// Reads the table `key`, an empty one if it is absent, and refuses what `read` did not ask for.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let section = self.value(key).and_then(|value| value.table());
        let absent = || Section::new(self.scope.clone(), self.path_of(key), self.line, None);
        let section = section.unwrap_or_else(absent);
        let result = read(&section);
        section.refuse_unknown();
        result
    }

    /// The tables written as `[[key]]`.
    pub fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        self.value(key).map(|value| value.tables()).unwrap_or_default()
    }

    /// Every key with its value, for tables whose keys are the user's own names.
    pub fn entries(&self) -> Vec<(String, Value<'a>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, value)| (key.get_ref().to_string(), self.child(key.get_ref(), value))).collect()
    }

    /// Notes an error about this table as a whole.
    pub fn error(&self, message: impl Into<String>) {
        self.scope.diagnostics.error(self.line, &self.path, message);
    }

    /// Notes a warning about this table as a whole.
    pub fn warn(&self, message: impl Into<String>) {
        self.scope.diagnostics.warn(self.line, &self.path, message);
    }

    /// Notes an error about `key`, at its line if it is written.
    pub fn error_at(&self, key: &str, message: impl Into<String>) {
        self.scope.diagnostics.error(self.line_of(key), &self.path_of(key), message);
    }

    /// Notes a warning about `key`, at its line if it is written.
    pub fn warn_at(&self, key: &str, message: impl Into<String>) {
        self.scope.diagnostics.warn(self.line_of(key), &self.path_of(key), message);
    }

    /// Reports the keys nobody asked for. To be called once, after all keys were asked for.
    pub fn refuse_unknown(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = match nearest(name, asked.iter().copied()) {
                Some(known) => format!(", did you mean `{known}`?"),
                None => format!("; known here: {}", asked.join(", ")),
            };
            let line = self.scope.diagnostics.line(key.span().start);
            self.scope.diagnostics.error(line, &self.path_of(name), format!("unknown key `{name}`{hint}"));
        }
    }

    fn child(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value::new(self.scope.clone(), self.path_of(key), value)
    }

    fn line_of(&self, key: &str) -> usize {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.line, |value| self.scope.diagnostics.line(value.span().start))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_has_the_line_that_a_reader_would_count() {
        for text in ["", "a", "a\n", "\n", "\n\n", "a\nbc\n\nd", "a\r\nb\r\n"] {
            let diagnostics = Diagnostics::new("c.toml", text, &|_| None);
            for offset in 0..=text.len() + 1 {
                let before = text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count();
                let counted = (1 + before).min(text.lines().count().max(1));
                assert_eq!(diagnostics.line(offset), counted, "{text:?} at {offset}");
            }
            assert_eq!(diagnostics.line(usize::MAX), text.lines().count().max(1), "{text:?}");
        }
    }
}
