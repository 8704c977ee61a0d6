//! The TOML document while it is read: every problem is gathered with its line and key path, every key asked
//! for is known, and what was never asked for is reported in the end. It knows no key by name.

use std::{cell::RefCell, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{problem::Diagnostics, value::Value};
use crate::config::suggest::nearest;

/// What all values of one part of the document share.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    /// Where problems go.
    pub diagnostics: &'a Diagnostics<'a>,
    /// `Some`: unset variables are no error here but remembered, for this part can be skipped.
    pub unset: Option<Rc<RefCell<Vec<String>>>>,
}

/// One table, with the keys that were asked for.
pub(crate) struct Section<'a> {
    scope: Scope<'a>,
    path: String,
    line: usize,
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    good: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(crate) fn root(diagnostics: &'a Diagnostics<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(Scope { diagnostics, unset: None }, String::new(), 0, Some(table))
    }

    /// The table at `path`; `None` when it is absent and every key has its default.
    pub(crate) fn new(scope: Scope<'a>, path: String, line: usize, table: Option<&'a DeTable<'a>>) -> Self {
        Self { scope, path, line, table, asked: RefCell::default(), good: RefCell::default() }
    }

    /// The same table, but an unset variable in it is remembered instead of an error: see [`Self::unset`].
    pub(crate) fn skippable(mut self) -> Self {
        self.scope.unset = Some(Rc::default());
        self
    }

    /// The variables that were needed and not set, each once.
    pub(crate) fn unset(&self) -> Vec<String> {
        let mut names = self.scope.unset.as_ref().map(|unset| unset.borrow().clone()).unwrap_or_default();
        names.sort();
        names.dedup();
        names
    }

    /// The value of `key`, if it is written.
    pub(crate) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        self.table?.get(key).map(|value| self.child(key, value))
    }

    /// `key` as `read` understands it; `None` when absent or bad (which `read` has noted).
    pub(crate) fn opt<T>(&self, key: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        let found = self.value(key).and_then(|value| read(&value));
        if found.is_some() {
            self.good.borrow_mut().push(key);
        }
        found
    }

    /// Whether `key` is written, and was read without a mistake.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.good.borrow().contains(&key)
    }

    /// As [`Self::opt`], with a default.
    pub(crate) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> T {
        self.opt(key, read).unwrap_or(default)
    }

    /// As [`Self::opt`]; its absence is an error.
    pub(crate) fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        if self.value(key).is_none() {
            self.error(format!("`{key}` is missing"));
        }
        self.opt(key, read)
    }

    /// Reads the table `key`, an empty one if it is absent, and refuses what `read` did not ask for.
    pub(crate) fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let section = self.value(key).and_then(|value| value.table());
        let absent = || Section::new(self.scope.clone(), self.path_of(key), self.line, None);
        let section = section.unwrap_or_else(absent);
        let result = read(&section);
        section.refuse_unknown();
        result
    }

    /// The tables written as `[[key]]`.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        self.value(key).map(|value| value.tables()).unwrap_or_default()
    }

    /// What is listed under `key`, each with where it stands.
    pub(crate) fn placed<T>(
        &self,
        key: &'static str,
        read: fn(&Value<'a>) -> Option<T>,
    ) -> Vec<(Value<'a>, T)> {
        let placed = |element: &Value<'a>| Some((element.clone(), read(element)?));
        self.opt(key, |value| value.list(placed)).unwrap_or_default()
    }

    /// Every key with its value, for tables whose keys are the user's own names.
    pub(crate) fn entries(&self) -> Vec<(String, Value<'a>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, value)| (key.get_ref().to_string(), self.child(key.get_ref(), value))).collect()
    }

    /// Notes an error about this table as a whole.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.scope.diagnostics.error(self.line, &self.path, message);
    }

    /// Notes a warning about this table as a whole.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.scope.diagnostics.warn(self.line, &self.path, message);
    }

    /// Notes an error about `key`, at its line if it is written.
    pub(crate) fn error_at(&self, key: &str, message: impl Into<String>) {
        self.scope.diagnostics.error(self.line_of(key), &self.path_of(key), message);
    }

    /// Notes a warning about `key`, at its line if it is written.
    pub(crate) fn warn_at(&self, key: &str, message: impl Into<String>) {
        self.scope.diagnostics.warn(self.line_of(key), &self.path_of(key), message);
    }

    /// Reports the keys nobody asked for. To be called once, after all keys were asked for.
    pub(crate) fn refuse_unknown(&self) {
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
