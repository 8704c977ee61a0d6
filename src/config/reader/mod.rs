//! Text to [`Config`]: finds every problem before it gives up, so that one look repairs the file.
//!
//! Besides the configuration file itself it opens only the TLS files named there, to see that they can be
//! read. It starts nothing and connects to nothing.

pub(crate) mod env;
pub(crate) mod problem;
pub(crate) mod section;
mod text;
pub(crate) mod units;
pub(crate) mod value;

use std::path::Path;

use env::Env;
use problem::{Diagnostics, Problem, Problems};
use section::Section;
use toml::de::DeTable;

use super::{Config, sections};

/// A usable configuration, and what the user should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run.
    pub config: Config,
    /// What was left out, or is allowed but unwise; in the order of the file.
    pub warnings: Vec<Problem>,
}

/// Reads the file at `path`, with this process's environment.
///
/// # Errors
/// Every problem of the file, or the one that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text, &|name| std::env::var(name).ok()),
        Err(error) => {
            let message = format!("the configuration cannot be read: {error}");
            Err(Problems(vec![Problem { file, line: 0, key: String::new(), message }]))
        }
    }
}

/// Reads `text`, which came from `file_name`; `env` looks up environment variables.
///
/// # Errors
/// Every problem, in the order of the file. After a syntax error nothing else is looked at, for what a broken
/// document seems to say is guesswork.
pub fn parse(file_name: &str, text: &str, env: Env<'_>) -> Result<Loaded, Problems> {
    let diagnostics = Diagnostics::new(file_name, text, env);
    let (document, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Err(Problems(syntax_problems(diagnostics, &syntax)));
    }
    let config = sections::read(&Section::root(&diagnostics, document.get_ref()));
    let (errors, warnings) = diagnostics.finish();
    if errors.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Problems(errors)) }
}

/// The first error of each line: the parser recovers at the next line, and what it adds to the same one is
/// mostly an echo.
fn syntax_problems(diagnostics: Diagnostics<'_>, syntax: &[toml::de::Error]) -> Vec<Problem> {
    for error in syntax {
        let line = diagnostics.line(error.span().map_or(usize::MAX, |span| span.start));
        diagnostics.error(line, "", format!("this is not TOML: {}", sentence(error.message())));
    }
    let (mut problems, _) = diagnostics.finish();
    problems.dedup_by_key(|problem| problem.line);
    problems
}

/// The parser's words, with the cure for the most frequent slip: `listen = 127.0.0.1:80`, `window = 30s`.
fn sentence(message: &str) -> String {
    let said = message.split(", expected").next().unwrap_or(message);
    let a_value = ["float", "integer", "datetime", "date", "time", "boolean", "values must be quoted"];
    if a_value.iter().any(|kind| said.ends_with(kind)) {
        return format!("{said}; text needs quotes, as in key = \"value\"");
    }
    message.to_owned()
}

#[cfg(test)]
mod tests;
