//! What is wrong with a configuration, said so that it can be repaired: file, line, key path, one sentence.
//!
//! A problem must never quote a value that may be a secret.

use std::{cell::RefCell, collections::BTreeSet, fmt};

use super::env::Env;

/// One finding, as an error or as a warning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as the user named it.
    pub file: String,
    /// 1-based; 0 when no line is to blame.
    pub line: usize,
    /// `providers[1].base_url` (counted from 0); empty when no key is to blame.
    pub key: String,
    /// One sentence naming culprit and cure.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `config.toml:12: providers[1].base_url: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that keeps a configuration from being used, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where problems are gathered, and what they need to be found again.
pub(crate) struct Diagnostics<'a> {
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
    pub(crate) fn new(file: &'a str, text: &'a str, env: Env<'a>) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        // What follows the last line break is a line only if there is something.
        let lines = std::iter::once(0).chain(ends.filter(|start| *start < text.len())).collect();
        Self { file, lines, env, errors: RefCell::default(), warnings: RefCell::default() }
    }

    /// The 1-based line of a byte offset; an offset at the end belongs to the last line.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    /// Notes what keeps this configuration from being used.
    pub(crate) fn error(&self, line: usize, key: &str, message: impl Into<String>) {
        self.errors.borrow_mut().push(self.problem(line, key, message.into()));
    }

    /// Notes what the user should know but can live with.
    pub(crate) fn warn(&self, line: usize, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.problem(line, key, message.into()));
    }

    /// Errors and warnings, each once and in the order of the file: a key may be read again where its place matters.
    pub(crate) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: usize, key: &str) -> Problem {
        Problem { file: "a.toml".into(), line, key: key.into(), message: "is wrong".into() }
    }

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        assert_eq!(problem(12, "x[1].y").to_string(), "a.toml:12: x[1].y: is wrong");
        assert_eq!(problem(12, "").to_string(), "a.toml:12: is wrong");
        assert_eq!(problem(0, "").to_string(), "a.toml: is wrong");
    }

    #[test]
    fn several_problems_take_a_line_each() {
        let all = Problems(vec![problem(1, "x"), problem(2, "y")]);
        assert_eq!(all.to_string(), "a.toml:1: x: is wrong\na.toml:2: y: is wrong");
    }

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
