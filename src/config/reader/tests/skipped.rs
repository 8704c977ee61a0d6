//! What is left out when variables are unset, and what must not be.

use super::{PROVIDER, bad, good, warnings};

const SKIPPED: &str =
    "[[providers]]\nname = \"s\"\nbase_url = \"https://s.example\"\napi_key = \"${MISSING}\"\n";

fn model(name: &str, rest: &str) -> String {
    format!("[[models]]\nname = \"{name}\"\n{rest}\n")
}

#[test]
fn a_provider_without_its_variable_is_skipped_and_its_targets_are_dropped() {
    let text = format!(
        "{PROVIDER}{SKIPPED}{}{}",
        model(
            "m",
            "targets = [\"s/x\", \"a/y\"]\nfallbacks = [\"gone\"]\nweights = [1, 0]\nstrategy = \"weighted\""
        ),
        model("gone", "targets = [\"s/x\"]"),
    );
    let config = good(&text).config;
    assert_eq!(config.providers.len(), 1);
    assert_eq!(config.models.len(), 1);
    let model = &config.models[0];
    assert_eq!(model.targets[0].to_string(), "a/y");
    assert_eq!(model.targets.len(), 1);
    assert!(model.weights.is_empty(), "the only weight left is 0: all equal instead");
    assert!(model.fallbacks.is_empty(), "a model that is not offered is no fallback");
    let warnings = warnings(&text);
    assert!(warnings.contains("c.toml:4: providers[1]: s is skipped: MISSING not set"), "{warnings}");
    assert!(warnings.contains("models[0].targets: dropped s/x: MISSING not set"), "{warnings}");
    assert!(
        warnings.contains(
            "models[1].targets: the model `gone` is not offered, for no target is left: MISSING not set"
        ),
        "{warnings}"
    );
}

#[test]
fn any_unset_variable_of_a_provider_skips_it() {
    for rest in ["headers = { x = \"${MISSING}\" }", "api_key = \"x${KEY}${MISSING}\""] {
        assert!(good(&format!("{PROVIDER}{rest}")).config.providers.is_empty());
    }
    let config = good("[[providers]]\nname = \"o\"\nbase_url = \"${MISSING}\"").config;
    assert!(config.providers.is_empty());
    assert_eq!(good(&format!("{PROVIDER}api_key = \"${{MISSING:-}}\"")).config.providers[0].api_key, None);
}

#[test]
fn a_skipped_provider_is_still_checked() {
    let problems = bad(&format!("{SKIPPED}prefil = \"none\""));
    assert!(problems.contains("did you mean `prefill`?"), "{problems}");
}

#[test]
fn a_disabled_provider_is_not_called_skipped() {
    let text = format!(
        "{PROVIDER}enabled = false\napi_key = \"${{MISSING}}\"\n{}",
        model("m", "targets = [\"a/x\"]")
    );
    let warnings = warnings(&text);
    assert!(
        warnings.contains("no target is left: a disabled") && !warnings.contains("MISSING"),
        "{warnings}"
    );
    assert!(good(&text).config.models.is_empty());
}

#[test]
fn keys_without_values_never_open_the_gateway() {
    let keys = |n: usize| "[[auth.keys]]\nuser = \"u\"\nkey = \"${MISSING}\"\n".repeat(n);
    for n in [1, 2] {
        let problems = bad(&keys(n));
        assert!(
            problems.contains("none of the keys has a value, so nobody could get in; set MISSING"),
            "{problems}"
        );
    }
    let one_left = format!("{}[[auth.keys]]\nuser = \"v\"\nkey = \"${{KEY}}\"\n", keys(1));
    assert_eq!(good(&one_left).config.auth.keys.len(), 1);
    assert!(warnings(&one_left).contains("auth.keys[0]: this key is left out: MISSING not set"));
}

#[test]
fn elsewhere_an_unset_variable_is_an_error_with_its_cure() {
    let problems = bad("[admin]\ntoken = \"${MISSING}\"");
    assert_eq!(
        problems,
        "c.toml:2: admin.token: the environment variable MISSING is not set; set it, or write `${MISSING:-default}`"
    );
    assert!(bad("routing.strategy = \"${\"").contains("has no closing `}`"));
}

#[test]
fn memory_cannot_embed_with_a_provider_that_is_not_there() {
    let memory = "[memory]\nembedder = \"openai\"\nembedding_model = \"s/e\"\ndimensions = 3\n";
    assert!(
        bad(&format!("{memory}{SKIPPED}"))
            .contains("needs the provider s, which is skipped: MISSING not set")
    );
}
