//! Every mistake is answered with its line, its key and a sentence that names the cure.

use super::{PROVIDER, bad, good, warnings};

/// `text` is refused with exactly one problem, and it says `message`.
fn refused(text: &str, message: &str) {
    let problems = bad(text);
    assert!(problems.contains(message) && problems.lines().count() == 1, "{text}\n-> {problems}");
}

#[test]
fn unknown_keys_name_the_nearest() {
    refused(
        "[resilience]\n\nmax_atempts = 3",
        "c.toml:3: resilience.max_atempts: unknown key `max_atempts`, did you mean `max_attempts`?",
    );
    refused("[[model]]\nname = \"x\"", "c.toml:1: model: unknown key `model`, did you mean `models`?");
    refused("slots.operations.chats = 1", "did you mean `chat`?");
    refused("[redis]\nfoo = 1", "unknown key `foo`; known here: url, on_error");
    refused(&format!("{PROVIDER}api_ky = \"x\""), "c.toml:4: providers[0].api_ky: unknown key");
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let problems = bad("[routing]\nhalf_life = 3\nstrategy = \"scor\"\n[breaker]\nwindow = \"0s\"\n[oops]\n");
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 4, "{problems}");
    assert!(lines.is_sorted(), "{problems}");
    assert_eq!(
        lines[0],
        r#"c.toml:2: routing.half_life: expected a duration such as "250ms", "10s" or "5m", found an integer"#
    );
    assert!(lines[1].contains(r#"expected "score", "priority", "weighted" or "round_robin", found "scor", did you mean `score`?"#), "{problems}");
    assert!(lines[2].contains("breaker.window: must be longer than 0"), "{problems}");
}

#[test]
fn wrong_types_say_what_was_found() {
    refused("server = 3", "server: expected a table, found an integer");
    refused("[[server]]", "server: expected a table, found an array");
    refused(
        "[providers]\nname = \"x\"",
        "providers: expected tables, each under its own `[[providers]]`; found a table",
    );
    refused("providers = [1]", "providers[0]: expected a table, found an integer");
    refused("memory.enabled = \"yes\"", "memory.enabled: expected true or false, found a string");
    refused("auth.user_headers = \"x\"", "auth.user_headers: expected an array, found a string");
    refused(
        "auth.user_headers = [\"ok\", 1979-05-27]",
        "auth.user_headers[1]: expected a string, found a date",
    );
    refused("slots.queue = 1.5", "slots.queue: expected a whole number, found a float");
    refused("server.max_body = 1024", "server.max_body: expected a size such as");
}

#[test]
fn syntax_errors_have_a_line_and_one_sentence() {
    for (text, line) in
        [("[server]\nlisten = ", 2), ("a = 1\na = 2", 2), ("\n\n[x", 3), ("x = \"abc\ny = 1", 1)]
    {
        let problems = bad(text);
        assert!(problems.starts_with(&format!("c.toml:{line}: this is not TOML: ")), "{problems}");
    }
    for text in ["server.listen = 127.0.0.1:80", "breaker.window = 30s", "memory.capture = off"] {
        assert!(bad(text).ends_with("text needs quotes, as in key = \"value\""), "{}", bad(text));
    }
    assert_eq!(bad("a = 1\nb = \nc = 3\nd = ]").lines().count(), 2, "two broken lines are two problems");
    assert!(good("\u{feff}[server]\r\nlisten = \"127.0.0.1:1\"\r\n").warnings.is_empty());
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for (text, message) in [
        ("resilience.max_attempts = 0", "must be at least 1"),
        ("resilience.max_attempts = 5000000000", "is too large"),
        ("slots.queue = -1", "must be at least 0"),
        ("slots.operations.chat = 0", "must be at least 1"),
        ("slots.total = 99999999999999999999999", "is too large"),
        ("limits.requests_per_minute = 0", "must be at least 1"),
        ("routing.temperature = -0.1", "must be a number from 0 up"),
        ("routing.temperature = inf", "must be a number from 0 up"),
        ("routing.temperature = nan", "must be a number from 0 up"),
        ("breaker.success_rate = 70", "must be a number from 0 to 1"),
        ("resilience.retry_budget = 1.01", "must be a number from 0 to 1"),
        ("resilience.hedge_budget = -1", "must be a number from 0 to 1"),
        ("server.max_body = \"0\"", "must be more than 0"),
        ("resilience.total_timeout = \"0s\"", "must be longer than 0"),
        ("resilience.hedge = \"0s\"", "must be longer than 0"),
        ("resilience.first_token_timeout = \"0s\"", "must be longer than 0"),
        ("resilience.first_token_timeout = \"aut\"", "did you mean `auto`?"),
        ("resilience.hedge = \"of\"", "did you mean `off`?"),
        ("resilience.patience = \"200 years\"", "expected a duration"),
        ("breaker = { open_min = \"3s\", open_max = \"2s\" }", "must not be longer than `open_max`"),
        ("memory.recall_budget = \"6s\"", "must not be longer than `recall_timeout`"),
        ("health.path = \"models\"", "expected a path such as"),
        ("telemetry.log = \"info,=,\"", "expected a log filter"),
        ("telemetry.otlp_endpoint = \"localhost:4317\"", "expected an http(s) URL"),
    ] {
        refused(text, message);
    }
}

#[test]
fn zero_is_fine_where_it_means_something() {
    good("routing.temperature = 0\nbreaker.success_rate = 0\nslots = { queue = 0, queue_timeout = \"0s\" }");
    good("server.drain_timeout = \"0s\"\nresilience = { patience = \"0s\", retry_budget = 0 }");
    good("memory = { cache_ttl = \"0s\", cache_entries = 0, min_score = 0 }");
    let breaker = good("breaker.open_min = \"1m\"").config.breaker;
    assert!(breaker.open_min <= breaker.open_max, "the default of the other end moves along");
    let breaker = good("breaker.open_max = \"1s\"").config.breaker;
    assert!(breaker.open_min <= breaker.open_max);
}

#[test]
fn beyond_this_machine_keys_and_a_token_are_needed() {
    let key = "[[auth.keys]]\nuser = \"u\"\nkey = \"12345678\"\n";
    let token = "[admin]\ntoken = \"0123456789abcdef\"\n";
    for address in ["0.0.0.0:80", "[::]:80", "192.168.0.1:80", "[::ffff:10.0.0.1]:80"] {
        let server = format!("[server]\nlisten = \"{address}\"\n");
        good(&format!("{server}{key}{token}"));
        refused(&format!("{server}{token}"), "server.listen: ");
        refused(&format!("{server}{key}"), "needs a `token`");
        refused(&format!("{server}{key}[admin]\ntoken = \"\""), "admin.token: is empty");
        refused(&format!("{server}{key}[admin]\ntoken = \"0123456789abcde\""), "is 15 characters long");
    }
    for address in ["127.0.0.1:80", "[::1]:80", "127.9.9.9:80", "[::ffff:127.0.0.1]:80", "localhost:80"] {
        let text = format!("[server]\nlisten = \"{address}\"\n[admin]\ntoken = \"short\"\n");
        assert!(warnings(&text).contains("admin.token: is only 5 characters long"));
    }
    refused("server.listen = \":8080\"", "expected an IP address and a port");
    refused("server.listen = \"${URL}\"", "found \"${URL}\" with its variables filled in");
}

#[test]
fn tls_needs_two_files_that_can_be_read() {
    refused("server.tls_cert = \"Cargo.toml\"", "HTTPS needs `tls_key` too");
    refused("server.tls_key = \"Cargo.toml\"", "HTTPS needs `tls_cert` too");
    refused(
        "server = { tls_cert = \"Cargo.toml\", tls_key = \"/nowhere.pem\" }",
        "/nowhere.pem cannot be read",
    );
    refused("server = { tls_cert = \"Cargo.toml\", tls_key = \"src\" }", "src is a directory");
    assert!(
        good("server = { tls_cert = \"Cargo.toml\", tls_key = \"Cargo.toml\" }").config.server.tls.is_some()
    );
}

#[test]
fn base_urls_are_checked_and_never_quoted() {
    for (url, message) in [
        ("api.example/v1", "is not a URL"),
        ("ftp://a.example", "must begin with http:// or https://"),
        ("https://", "is not a URL"),
        ("https://u:very-secret@a.example", "must not hold a user or password"),
        ("https://a.example/v1#x", "must not hold a fragment"),
        ("https://a.example/v1?key=very-secret", "must not hold a query"),
        ("https://a.example/v1/chat/completions", "must end before the route"),
    ] {
        let text = format!("[[providers]]\nname = \"a\"\nbase_url = \"{url}\"");
        refused(&text, message);
        assert!(!bad(&text).contains("very-secret"));
    }
    let url = |url: &str| format!("[[providers]]\nname = \"a\"\nbase_url = \"{url}\"");
    assert!(warnings(&url("http://10.0.0.1/v1")).contains("clear text"));
    for local in ["http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:8/v1"] {
        assert_eq!(warnings(&url(local)), "");
    }
}

#[test]
fn providers_have_sane_names_and_headers() {
    refused(&format!("{PROVIDER}{PROVIDER}"), "c.toml:5: providers[1].name: there is already a provider `a`");
    refused("[[providers]]\nname = \"a/b\"\nbase_url = \"https://a.example\"", "must not hold a slash");
    refused("[[providers]]\nname = \" \"\nbase_url = \"https://a.example\"", "must not be empty");
    refused("[[providers]]\nname = \"a\"", "c.toml:1: providers[0]: `base_url` is missing");
    refused(&format!("{PROVIDER}headers = {{ \"a b\" = \"x\" }}"), "is not a valid header name");
    refused(&format!("{PROVIDER}headers = {{ a = \"x\\ny\" }}"), "a header cannot carry");
    refused(&format!("{PROVIDER}headers = {{ Host = \"x\" }}"), "is set by the gateway itself");
    refused(&format!("{PROVIDER}api_key_header = \"a b\""), "expected a header name");
    refused(&format!("{PROVIDER}api_key = \"very-secret\\n\""), "perhaps a line break at its end");
    assert!(!bad(&format!("{PROVIDER}api_key = \"very-secret\\n\"")).contains("very-secret"));
}

#[test]
fn models_are_checked_against_providers_and_each_other() {
    let model = |rest: &str| format!("{PROVIDER}[[models]]\nname = \"m\"\n{rest}");
    refused(
        &model("targets = [\"aa/x\"]"),
        "models[0].targets[0]: there is no provider `aa`, did you mean `a`?",
    );
    refused(&model("targets = []"), "needs at least one target");
    refused(&model(""), "models[0]: `targets` is missing");
    refused(&model("targets = [\"x\"]"), "expected a target \"provider/model\", found \"x\"");
    refused(&model("targets = [\"a/x\", \"a/x\"]"), "is listed twice");
    let fallback_to_m = "[[models]]\nname = \"n\"\ntargets = [\"a/x\"]\nfallbacks = [\"m\"]";
    refused(&model(fallback_to_m), "models[0]: `targets` is missing");
    let model = |rest: &str| model(&format!("targets = [\"a/x\", \"a/y\"]\n{rest}"));
    refused(&model("fallbacks = [\"m\"]"), "cannot fall back to itself");
    refused(&model("fallbacks = [\"mm\"]"), "there is no model `mm` under [[models]], did you mean `m`?");
    refused(&model("alias = [\"m\"]"), "is a model of its own");
    refused(&model("alias = [\"n\", \"n\"]"), "is already an alias");
    refused(
        &model("[[models]]\nname = \"m\"\ntargets = [\"a/z\"]"),
        "c.toml:8: models[1].name: there is already a model `m`",
    );
    let weighted = |weights: &str| model(&format!("strategy = \"weighted\"\nweights = {weights}"));
    refused(&weighted("[1]"), "needs one weight per target: 2, found 1");
    refused(&weighted("[1, -1]"), "weights[1]: must be a number from 0 up");
    refused(&weighted("[0, 0.0]"), "at least one weight must be more than 0");
    assert!(warnings(&model("weights = [1, 2]")).contains("has no effect, for the strategy is \"score\""));
    good(&format!("routing.strategy = \"weighted\"\n{}", model("weights = [1, 2]")));
}

#[test]
fn client_keys_are_checked_and_never_quoted() {
    let key = |rest: &str| format!("[[auth.keys]]\nuser = \"u\"\n{rest}\n");
    refused(&key(""), "needs a `key` or a `key_sha256`");
    refused(&key("key = \"\""), "must not be empty");
    refused(&key("key = \"very-secret\"\nkey_sha256 = \"00\""), "not both");
    refused(&key("key_sha256 = \"very-secret\""), "64 hex digits");
    refused(&key(&format!("key_sha256 = \"{}\"", "é".repeat(32))), "64 hex digits");
    refused("[[auth.keys]]\nkey = \"very-secret\"", "`user` is missing");
    let twice = format!("{0}{0}", key("key = \"very-secret\""));
    refused(&twice, "c.toml:4: auth.keys[1]: is the same key as auth.keys[0]");
    assert!(!bad(&twice).contains("very-secret"));
    assert!(warnings(&key("key = \"1234567\"")).contains("is only 7 characters long"));
    assert!(warnings(&key("key = \"12345678\"\nmodels = []")).contains("may ask for nothing"));
    let listed = format!(
        "{}{PROVIDER}[[models]]\nname = \"llama\"\ntargets = [\"a/x\"]",
        key("key = \"12345678\"\nmodels = [\"lama\", \"gpt-*\", \"a/x\"]")
    );
    assert_eq!(
        warnings(&listed),
        "c.toml:4: auth.keys[0].models[0]: there is no model `lama`, did you mean `llama`?\n"
    );
}

#[test]
fn stores_need_what_they_use() {
    refused("memory.store = \"postgres\"", "memory.store: \"postgres\" needs a `url`");
    refused("memory = { store = \"postgres\", url = \"\" }", "memory.url: is empty");
    refused(
        "memory = { store = \"postgres\", url = \"mysql://u:very-secret@h\" }",
        "begins with postgres:// or postgresql://",
    );
    refused(
        "memory = { store = \"postgres\", url = \"${MISSING}\" }",
        "the environment variable MISSING is not set",
    );
    good("memory = { store = \"sqlite\", url = \"${MISSING}\" }");
    refused("redis.url = \"http://h\"", "begins with redis:// or rediss://");
    assert_eq!(good("redis.url = \"\"\nauth.jwt_secret = \"\"").config, Default::default());
    let problems = bad("memory.embedder = \"openai\"");
    assert!(
        problems.contains("needs `embedding_model`") && problems.contains("needs `dimensions`"),
        "{problems}"
    );
    refused(
        "memory = { embedder = \"openai\", embedding_model = \"a/b\", dimensions = 3 }",
        "there is no provider `a`",
    );
}
