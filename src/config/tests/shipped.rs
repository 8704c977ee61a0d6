//! The shipped `config.toml` works with whatever keys the user has, and says about every key what the code
//! says. It must never promise a default that the code does not keep.

use std::collections::BTreeSet;

use crate::config::{Config, Loaded, Prefill, Problems, parse};

const SHIPPED: &str = include_str!("../../../config.toml");
const VARIABLES: [(&str, &str); 8] = [
    ("groq", "GROQ_API_KEY"),
    ("together", "TOGETHER_API_KEY"),
    ("openai", "OPENAI_API_KEY"),
    ("openrouter", "OPENROUTER_API_KEY"),
    ("mistral", "MISTRAL_API_KEY"),
    ("deepseek", "DEEPSEEK_API_KEY"),
    ("fireworks", "FIREWORKS_API_KEY"),
    ("cerebras", "CEREBRAS_API_KEY"),
];

fn with(variables: &[&str], text: &str) -> Result<Loaded, Problems> {
    parse("config.toml", text, &|name| variables.contains(&name).then(|| "secret-value".to_owned()))
}

/// As shipped, every variable set.
fn with_all(text: &str) -> Result<Loaded, Problems> {
    with(&VARIABLES.map(|(_, variable)| variable), text)
}

#[test]
fn without_any_key_it_loads_and_says_which_variables_to_set() {
    let loaded = with(&[], SHIPPED).unwrap();
    assert!(loaded.config.providers.is_empty() && loaded.config.models.is_empty());
    let warnings: String = loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
    for (name, variable) in VARIABLES {
        assert!(warnings.contains(&format!("{name} is skipped: {variable} not set")), "{warnings}");
    }
}

#[test]
fn each_key_alone_offers_a_model() {
    for (name, variable) in VARIABLES {
        let config = with(&[variable], SHIPPED).unwrap().config;
        assert_eq!(config.providers.len(), 1);
        assert!(!config.models.is_empty(), "{name}");
        for model in &config.models {
            assert!(model.targets.iter().all(|target| target.provider == name), "{model:?}");
            let offered = |fallback: &String| config.models.iter().any(|model| model.name == *fallback);
            assert!(model.fallbacks.iter().all(offered), "{model:?}");
        }
    }
}

#[test]
fn with_all_keys_nothing_is_left_out_and_nothing_is_warned_of() {
    let loaded = with_all(SHIPPED).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.providers.len(), VARIABLES.len());
    assert_eq!(loaded.config.providers[0].prefill, Prefill::Assistant);
    let spanning = loaded.config.models.iter().filter(|model| model.targets.len() > 1).count();
    assert!(spanning >= 5);
}

#[test]
fn what_it_writes_is_what_the_code_does_without_it() {
    let mut config = with(&[], SHIPPED).unwrap().config;
    assert_eq!(config, Config::default());
    config = with(&[], "").unwrap().config;
    assert_eq!(config, Config::default());
}

/// `#key = value`, with what is said about it.
fn optional_lines() -> Vec<(usize, &'static str)> {
    let lines: Vec<&str> = SHIPPED.lines().collect();
    let is_option = |line: &str| {
        let key = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|key| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
        })
    };
    // Options of a whole table that is commented out are looked at with their table.
    let in_block = |i: usize| {
        let block = lines[..i].iter().rev().take_while(|line| line.starts_with('#'));
        block.into_iter().any(|line| line.starts_with("#[["))
    };
    let options = lines.iter().enumerate().filter(|(i, line)| is_option(line) && !in_block(*i));
    options.map(|(i, line)| (i, *line)).collect()
}

/// The shipped text with line `at` uncommented.
fn uncommented(at: usize) -> String {
    let lines = SHIPPED.lines().enumerate();
    lines.map(|(i, line)| if i == at { format!("{}\n", &line[1..]) } else { format!("{line}\n") }).collect()
}

#[test]
fn every_optional_line_is_known_and_its_value_is_the_default() {
    let plain = with_all(SHIPPED).unwrap().config;
    let options = optional_lines();
    assert!(options.len() >= 18, "{options:?}");
    for (at, line) in options {
        let result = with_all(&uncommented(at));
        if line.contains("(no default") {
            let unknown = result.err().map(|problems| problems.to_string()).unwrap_or_default();
            assert!(!unknown.contains("unknown key"), "{line}: {unknown}");
        } else if line.starts_with("#connect_timeout") || line.starts_with("#first_token_timeout") {
            // They override another section; the value shown is what that section has.
            assert_eq!(result.unwrap().config.resilience, plain.resilience, "{line}");
        } else if line.starts_with("#strategy") {
            assert_eq!(result.unwrap().config.models[0].strategy, Some(plain.routing.strategy), "{line}");
        } else {
            assert_eq!(result.unwrap().config, plain, "{line}");
        }
    }
}

#[test]
fn every_commented_table_works_when_uncommented() {
    let mut text = String::new();
    let mut inside = false;
    for line in SHIPPED.lines() {
        inside = line.starts_with("#[[") || (inside && line.starts_with('#'));
        text.push_str(if inside { &line[1..] } else { line });
        text.push('\n');
    }
    let env = |name: &str| name.ends_with("_KEY").then(|| format!("{name}-value"));
    let loaded = parse("config.toml", &text, &env).unwrap();
    assert_eq!(loaded.config.auth.keys.len(), 1);
    let azure = loaded.config.providers.iter().find(|provider| provider.name == "azure").unwrap();
    assert_eq!(azure.api_key_header, "api-key");
    let names: BTreeSet<&str> =
        loaded.config.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert!(["azure", "gemini", "ollama", "llamacpp", "vllm"].iter().all(|name| names.contains(name)));
}

/// The keys the reader knows under `header`, from what it says about one it does not know.
pub(super) fn known_keys(header: &str) -> Vec<String> {
    let text = format!("{header}\nzzzzzzzzzzzzzzzzzzzz = 1\n");
    let problems = with(&[], &text).unwrap_err().to_string();
    let (_, known) = problems.split_once("known here: ").unwrap();
    known.lines().next().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_known_key_is_documented() {
    let tables = known_keys("");
    assert!(tables.len() >= 14, "{tables:?}");
    for table in tables {
        let header = match table.as_str() {
            "providers" | "models" => format!("[[{table}]]"),
            _ => format!("[{table}]"),
        };
        assert!(SHIPPED.lines().any(|line| line.trim_start_matches('#').starts_with(&header)), "{header}");
        for key in known_keys(&header) {
            let mentioned = SHIPPED.lines().any(|line| {
                let line = line.trim_start_matches('#');
                line.starts_with(&format!("{key} = "))
                    || line.starts_with(&format!("[{table}.{key}]"))
                    || line.starts_with(&format!("[[{table}.{key}]]"))
            });
            assert!(mentioned, "{header} {key}");
        }
    }
    for key in known_keys("[[auth.keys]]").into_iter().chain(known_keys("[slots.operations]")) {
        assert!(SHIPPED.contains(&format!("{key} = ")), "{key}");
    }
}
