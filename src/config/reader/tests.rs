//! What a sceptic would write into a configuration, and what it should answer.

use proptest::prelude::*;

use super::*;
use crate::config::{self, Embedder, Hedge, Prefill, Timeout};

mod mistakes;
mod skipped;

fn env(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("sk-very-secret-key".to_owned()),
        "URL" => Some("nonsense".to_owned()),
        _ => None,
    }
}

/// What `text` loads as.
fn good(text: &str) -> Loaded {
    parse("c.toml", text, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong with `text`, a line each.
fn bad(text: &str) -> String {
    match parse("c.toml", text, &env) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string(),
    }
}

/// What is warned of, a line each.
fn warnings(text: &str) -> String {
    good(text).warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

const PROVIDER: &str = "[[providers]]\nname = \"a\"\nbase_url = \"https://a.example/v1/\"\n";

#[test]
fn a_full_configuration_is_read_as_written() {
    let text = format!(
        r#"
        server = {{ listen = "localhost:0", max_body = "1MiB" }}
        memory = {{ embedder = "openai", embedding_model = "a/b/c", dimensions = 1_536, retention = "30d" }}
        resilience = {{ hedge = "300ms", stall_timeout = "4s", max_attempts = 0x10 }}
        health.interval = "0s"
        slots = {{ per_user = 2, operations = {{ embeddings = 7 }} }}
        auth.keys = [{{ user = "u", key = "${{KEY}}", priority = -1 }}]
        {PROVIDER}
        api_key = "${{KEY}}"
        headers = {{ X-Title = "me" }}
        [[models]]
        name = "m"
        alias = ["n"]
        targets = ["a/x/y", "a/z"]
        fallbacks = ["later's alias"]
        weights = [3, 0.5]
        strategy = "weighted"
        [[models]]
        name = "later"
        alias = ["later's alias"]
        targets = ["a/l"]
        "#
    );
    let Loaded { config, warnings } = good(&text);
    assert_eq!(warnings, []);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.server.max_body, 1 << 20);
    assert!(
        matches!(&config.memory.embedder, Embedder::OpenAi { model, dimensions: 1536 } if model == "a/b/c")
    );
    assert_eq!(config.memory.retention.unwrap().as_secs(), 30 * 86_400);
    assert_eq!(config.resilience.hedge, Hedge::After(std::time::Duration::from_millis(300)));
    assert_eq!(config.resilience.stall_timeout, Timeout::After(std::time::Duration::from_secs(4)));
    assert_eq!(config.resilience.max_attempts, 16);
    assert_eq!(config.health.interval, None);
    let provider = &config.providers[0];
    assert_eq!(provider.base_url.as_str(), "https://a.example/v1");
    assert_eq!(provider.api_key.as_ref().unwrap().expose(), "sk-very-secret-key");
    assert_eq!(provider.headers["x-title"].expose(), "me");
    let model = &config.models[0];
    assert_eq!(model.targets[0].to_string(), "a/x/y");
    assert_eq!(
        (model.weights.as_slice(), model.strategy),
        (&[3.0, 0.5][..], Some(config::Strategy::Weighted))
    );
    assert_eq!(model.fallbacks, ["later"], "an alias stands for its model");
    assert_eq!(config.auth.keys[0].models, ["*"]);
}

#[test]
fn operations_follow_a_smaller_per_user() {
    let of = |text: &str| -> Vec<u32> { good(text).config.slots.operations.into_values().collect() };
    assert_eq!(of(""), [10, 10, 4, 4]);
    assert_eq!(of("slots.per_user = 2"), [2, 2, 2, 2]);
    assert_eq!(of("slots = { per_user = 20, operations = { chat = 1 } }"), [1, 20, 4, 4]);
}

#[test]
fn the_file_wins_over_what_is_known_of_a_host() {
    let text = "[[providers]]\nname = \"g\"\nbase_url = \"https://me.openai.azure.com?api-version=1\"\n";
    let provider = good(text).config.providers.remove(0);
    assert_eq!((provider.api_key_header.as_str(), provider.prefill), ("api-key", Prefill::None));
    assert_eq!(provider.base_url.query(), Some("api-version=1"));
    let provider =
        good(&format!("{text}api_key_header = \"X-Key\"\nprefill = \"vllm\"")).config.providers.remove(0);
    assert_eq!((provider.api_key_header.as_str(), provider.prefill), ("x-key", Prefill::Vllm));
}

#[test]
fn routes_are_appended_to_any_base_url() {
    for (base, whole) in [
        ("http://127.0.0.1:9", "http://127.0.0.1:9/models"),
        ("http://127.0.0.1:9//", "http://127.0.0.1:9/models"),
        ("https://a.example/v1/", "https://a.example/v1/models"),
        ("https://a.example/d/x?api-version=1", "https://a.example/d/x/models?api-version=1"),
    ] {
        let text = format!("[[providers]]\nname = \"a\"\nbase_url = \"{base}\"");
        assert_eq!(good(&text).config.providers[0].url_of("/models").as_str(), whole);
    }
}

#[test]
fn a_key_is_kept_only_as_its_hash() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!("[[auth.keys]]\nuser = \"u\"\nkey_sha256 = \"{}\"", digest.to_uppercase());
    assert_eq!(good(&text).config.auth.keys[0].sha256[..3], [0xe3, 0xb0, 0xc4]);
    let config = good("[[auth.keys]]\nuser = \"u\"\nkey = \"${KEY}\"").config;
    assert!(!format!("{config:?}").contains("very-secret"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_sentence() {
    let problems = load(Path::new("/nowhere/c.toml")).unwrap_err().to_string();
    assert!(problems.starts_with("/nowhere/c.toml: the configuration cannot be read: "), "{problems}");
    assert_eq!(problems.lines().count(), 1);
}

/// JSON as TOML, for objects: `{"a": 1}` is `{ "a" = 1 }` there.
fn toml_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(object) => {
            let entries: Vec<_> =
                object.iter().map(|(key, value)| format!("{key:?} = {}", toml_of(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        serde_json::Value::Array(array) => {
            format!("[{}]", array.iter().map(toml_of).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn what_is_shown_can_be_read_again_and_hides_every_secret() {
    let text = format!(
        "{PROVIDER}api_key = \"${{KEY}}\"\nheaders = {{ x = \"${{KEY}}\" }}\nmax_concurrency = 3\n\
         connect_timeout = \"1m 1s\"\n\
         [[models]]\nname = \"m\"\ntargets = [\"a/b\"]\nweights = [2]\nstrategy = \"weighted\"\n\
         first_token_timeout = \"90s\"\ncontext_window = 10\n\
         [admin]\ntoken = \"${{KEY}}\"\n[auth]\njwt_secret = \"${{KEY}}\"\n\
         [memory]\nstore = \"postgres\"\nurl = \"postgres://u:${{KEY}}@h/d\"\nretention = \"2h\"\n\
         [redis]\nurl = \"redis://:${{KEY}}@h\"\n[limits]\ntokens_per_minute = 9\n\
         [telemetry]\notlp_endpoint = \"http://h:4318/\"\n"
    );
    let shown = good(&text).config.masked();
    assert!(!shown.to_string().contains("very-secret"), "{shown}");
    assert_eq!(shown["providers"][0]["api_key"], "***");
    assert_eq!(shown["server"]["max_body"], "32MiB");
    assert_eq!(shown["memory"]["recall_budget"], "150ms");
    let again: String = shown
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| format!("{name} = {}\n", toml_of(value)))
        .collect();
    // A masked URL is none: put others in their places, which the alphabet puts in this order.
    let again = again.replacen("\"url\" = \"***\"", "\"url\" = \"postgres://h\"", 1);
    let again = again.replacen("\"url\" = \"***\"", "\"url\" = \"redis://h\"", 1);
    assert_eq!(good(&again).config.masked(), shown);
}

/// The shipped file with one piece cut out, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let text = include_str!("../../../config.toml");
    let pieces = r#"" [ ]] = { } # \0 é -1 0 1e999 true "" ${ ${X} """ [[ [server] . name nan 1979-05-27
        "99999999999years" 9999999999999999999999 \n \r"#;
    let pieces: Vec<String> = pieces
        .split_whitespace()
        .map(|piece| piece.replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0"))
        .collect();
    let pieces = prop::sample::select(pieces);
    prop::collection::vec((0..text.len(), 0usize..40, pieces), 1..4).prop_map(move |edits| {
        let mut text = text.to_owned();
        for (at, cut, piece) in edits {
            let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let (from, to) = (boundary(at).unwrap(), boundary(at + cut).unwrap());
            text.replace_range(from..to, &piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn no_mutation_panics_and_every_problem_has_a_line(text in mutated()) {
        if let Err(Problems(problems)) = parse("c.toml", &text, &|_| None) {
            prop_assert!(!problems.is_empty());
            let lines = text.lines().count().max(1);
            for problem in problems {
                prop_assert!((1..=lines).contains(&problem.line), "{problem}");
            }
        }
    }
}
