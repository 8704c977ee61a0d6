//! A `config.toml` for a test: two lines where a user would write twenty.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::fake::FakeProvider;

/// Builds the text of a configuration file. Later settings replace earlier ones.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    sections: BTreeMap<String, Vec<(String, String)>>,
    tables: Vec<String>,
}

impl ConfigFile {
    /// Only a free port on loopback; everything else is the product's default.
    pub fn new() -> Self {
        Self::default().set("server", "listen", "\"127.0.0.1:0\"")
    }

    /// Short timeouts, a quick breaker, no health checks, targets in the given order: for tests that look at one
    /// thing at a time.
    pub fn quick() -> Self {
        Self::new()
            .set("server", "drain_timeout", "\"3s\"")
            .set("routing", "strategy", "\"priority\"")
            .set("resilience", "connect_timeout", "\"500ms\"")
            .set("resilience", "first_token_timeout", "\"1s\"")
            .set("resilience", "stall_timeout", "\"1s\"")
            .set("resilience", "answer_timeout", "\"1s\"")
            .set("resilience", "patience", "\"1s\"")
            .set("breaker", "open_min", "\"500ms\"")
            .set("breaker", "open_max", "\"2s\"")
            .set("health", "interval", "\"0s\"")
    }

    /// [`Self::quick`] with providers `a` and `b`, and a model `m` that has both as targets, `a` first.
    pub fn pair(a: &FakeProvider, b: &FakeProvider) -> Self {
        Self::quick().provider("a", a).provider("b", b).model("m", &["a/m", "b/m"])
    }

    /// [`Self::quick`] with one provider `a` and a model `m` on it.
    pub fn single(a: &FakeProvider) -> Self {
        Self::quick().provider("a", a).model("m", &["a/m"])
    }

    /// Sets a key of a section; `value` is TOML.
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        let keys = self.sections.entry(section.to_owned()).or_default();
        keys.retain(|(name, _)| name != key);
        keys.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Removes a key, so that its default holds.
    pub fn unset(mut self, section: &str, key: &str) -> Self {
        if let Some(keys) = self.sections.get_mut(section) {
            keys.retain(|(name, _)| name != key);
        }
        self
    }

    /// A provider with the key `sk-<name>-secret`.
    pub fn provider(self, name: &str, fake: &FakeProvider) -> Self {
        self.provider_at(name, &fake.base_url(), "")
    }

    /// A provider at any URL, with more lines of TOML for its table.
    pub fn provider_at(self, name: &str, base_url: &str, more: &str) -> Self {
        self.table(&format!(
            "[[providers]]\nname = \"{name}\"\nbase_url = \"{base_url}\"\napi_key = \"sk-{name}-secret\"\n{more}"
        ))
    }

    /// A model with these targets.
    pub fn model(self, name: &str, targets: &[&str]) -> Self {
        self.model_with(name, targets, "")
    }

    /// A model with these targets and more lines of TOML for its table.
    pub fn model_with(self, name: &str, targets: &[&str], more: &str) -> Self {
        self.table(&format!("[[models]]\nname = \"{name}\"\ntargets = {targets:?}\n{more}"))
    }

    /// A user's key, with more lines of TOML for its table.
    pub fn key(self, user: &str, key: &str, more: &str) -> Self {
        self.table(&format!("[[auth.keys]]\nuser = \"{user}\"\nkey = \"{key}\"\n{more}"))
    }

    /// Adds any table, as text.
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.to_owned());
        self
    }

    /// The text of the file.
    pub fn toml(&self) -> String {
        let mut out = String::new();
        for (section, keys) in &self.sections {
            let _ = writeln!(out, "[{section}]");
            for (key, value) in keys {
                let _ = writeln!(out, "{key} = {value}");
            }
            out.push('\n');
        }
        for table in &self.tables {
            let _ = writeln!(out, "{table}\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_setting_replaces_an_earlier_one() {
        let file = ConfigFile::new().set("health", "interval", "\"1s\"").set("health", "interval", "\"2s\"");
        let file = file.provider_at("a", "http://x/v1", "max_concurrency = 2").toml();
        assert!(file.contains("[health]\ninterval = \"2s\"\n"), "{file}");
        assert!(file.contains("[server]\nlisten = \"127.0.0.1:0\"\n"), "{file}");
        assert!(file.contains("api_key = \"sk-a-secret\"\nmax_concurrency = 2"), "{file}");
    }
}
