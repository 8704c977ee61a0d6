//! What is wrong with a configuration, said so that it can be repaired: file, line, key path, one sentence.
//!
//! A problem must never quote a value that may be a secret.

use std::fmt;

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
}
