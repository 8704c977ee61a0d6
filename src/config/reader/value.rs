//! One TOML value and every way to read it. A reader that fails notes why and answers `None`.
//!
//! What could not be read is quoted as it was written, never with its variables filled in.

use std::{ops::RangeInclusive, time::Duration};

use toml::{Spanned, de::DeValue};

use super::{
    env::{Expanded, expand},
    section::{Scope, Section},
    units,
};
use crate::config::{keyword::Keyword, suggest::did_you_mean};

const A_DURATION: &str = r#"a duration such as "250ms", "10s" or "5m""#;
const A_SIZE: &str = r#"a size such as "64KiB" or "32MiB""#;

/// A value that knows where it stands.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    scope: Scope<'a>,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// The value found at `path`.
    pub(crate) fn new(scope: Scope<'a>, path: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { scope, path, value }
    }

    /// Notes an error at this value.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.scope.diagnostics.error(self.line(), &self.path, message);
    }

    /// Notes a warning at this value.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.scope.diagnostics.warn(self.line(), &self.path, message);
    }

    /// The value as TOML has it.
    pub(crate) fn raw(&self) -> &'a DeValue<'a> {
        self.value.get_ref()
    }

    /// The `i`th element of this array.
    fn element(&self, i: usize, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value { scope: self.scope.clone(), path: format!("{}[{i}]", self.path), value }
    }

    pub(crate) fn table(&self) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.raw() else { return self.mismatch("a table") };
        Some(Section::new(self.scope.clone(), self.path.clone(), self.line(), Some(table)))
    }

    /// The value as it stands, for keys that can be read only together.
    pub(crate) fn itself(&self) -> Option<Option<Value<'a>>> {
        Some(Some(self.clone()))
    }

    /// The tables written as `[[key]]`.
    pub(crate) fn tables(&self) -> Vec<Section<'a>> {
        if !matches!(self.raw(), DeValue::Array(_)) {
            let found = type_name(self.raw());
            self.error(format!("expected tables, each under its own `[[{}]]`; found {found}", self.path));
            return Vec::new();
        }
        self.list(Value::table).unwrap_or_default()
    }

    /// An array; elements that `read` cannot make sense of are left out, for it has noted them.
    pub(crate) fn list<T>(&self, read: impl Fn(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(array) = self.raw() else { return self.mismatch("an array") };
        Some(array.iter().enumerate().filter_map(|(i, value)| read(&self.element(i, value))).collect())
    }

    /// A string with its variables filled in; may be empty.
    pub(crate) fn text(&self) -> Option<String> {
        self.text_as("a string")
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.raw().as_bool().or_else(|| self.mismatch("true or false"))
    }

    /// A whole number of at least `min` that fits `T`.
    pub(crate) fn whole<T: TryFrom<i64>>(&self, min: i64) -> Option<T> {
        let DeValue::Integer(written) = self.raw() else { return self.mismatch("a whole number") };
        match i64::from_str_radix(written.as_str(), written.radix()) {
            Ok(number) if number < min => self.fail(format!("must be at least {min}")),
            Ok(number) => T::try_from(number).ok().or_else(|| self.fail("is too large")),
            Err(_) => self.fail("is too large"),
        }
    }

    /// A whole number of at least 1.
    pub(crate) fn count<T: TryFrom<i64>>(&self) -> Option<T> {
        self.whole(1)
    }

    /// A finite number within `range`.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's")]
    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let written = match self.raw() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return self.mismatch("a number"),
        };
        match written.parse::<f64>() {
            Ok(number) if number.is_finite() && range.contains(&number) => Some(number),
            _ if *range.end() == f64::MAX => self.fail(format!("must be a number from {} up", range.start())),
            _ => self.fail(format!("must be a number from {} to {}", range.start(), range.end())),
        }
    }

    /// A share, 0 to 1.
    pub(crate) fn share(&self) -> Option<f64> {
        self.number(0.0..=1.0)
    }

    /// A duration, 0 included.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let text = self.text_as(A_DURATION)?;
        units::duration(&text).or_else(|| self.expected(A_DURATION, ""))
    }

    /// A duration of more than 0.
    pub(crate) fn positive(&self) -> Option<Duration> {
        self.duration().and_then(|duration| self.not_zero(duration))
    }

    /// A size in bytes, more than 0.
    pub(crate) fn size(&self) -> Option<usize> {
        let text = self.text_as(A_SIZE)?;
        match units::size(&text) {
            Some(0) => self.fail("must be more than 0"),
            Some(size) => Some(size),
            None => self.expected(A_SIZE, ""),
        }
    }

    /// One of a few words, or a duration if it takes one.
    pub(crate) fn keyword<T: Keyword>(&self) -> Option<T> {
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        let a_duration = T::AFTER.map(|_| A_DURATION.to_owned());
        let known: Vec<String> = words().map(|word| format!("{word:?}")).chain(a_duration).collect();
        let expected = match known.as_slice() {
            [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
            [] => String::new(),
        };
        let text = self.text_as(&expected)?;
        if let (Some(after), Some(duration)) = (T::AFTER, units::duration(&text)) {
            return self.not_zero(duration).map(after);
        }
        T::parse(&text).or_else(|| self.expected(&expected, &did_you_mean(&text, words())))
    }

    /// Notes an error and answers `None`, to end a reader with.
    pub(crate) fn fail<T>(&self, message: impl Into<String>) -> Option<T> {
        self.error(message);
        None
    }

    /// As [`Self::fail`]: a string is not what it should be. Only for keys that hold no secret.
    pub(crate) fn expected<T>(&self, expected: &str, hint: &str) -> Option<T> {
        let written = self.raw().as_str().unwrap_or_default();
        let filled = if written.contains("${") { " with its variables filled in" } else { "" };
        self.fail(format!("expected {expected}, found {written:?}{filled}{hint}"))
    }

    fn text_as(&self, expected: &str) -> Option<String> {
        let DeValue::String(text) = self.raw() else { return self.mismatch(expected) };
        match expand(text, self.scope.diagnostics.env) {
            Ok(Expanded::Text(text)) => Some(text),
            Ok(Expanded::Unset(names)) => self.needs(names),
            Err(message) => self.fail(message),
        }
    }

    /// The variables `names` are not set: remembered where this part can be skipped, else an error.
    fn needs<T>(&self, names: Vec<String>) -> Option<T> {
        match &self.scope.unset {
            Some(unset) => unset.borrow_mut().extend(names),
            None => names.iter().for_each(|name| {
                self.error(format!(
                    "the environment variable {name} is not set; set it, or write `${{{name}:-default}}`"
                ));
            }),
        }
        None
    }

    fn not_zero(&self, duration: Duration) -> Option<Duration> {
        if duration.is_zero() { self.fail("must be longer than 0") } else { Some(duration) }
    }

    /// Says only the type of what was found: a number without quotes may be somebody's password.
    fn mismatch<T>(&self, expected: &str) -> Option<T> {
        self.fail(format!("expected {expected}, found {}", type_name(self.raw())))
    }

    fn line(&self) -> usize {
        self.scope.diagnostics.line(self.value.span().start)
    }
}

/// What TOML calls a value, with its article.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
