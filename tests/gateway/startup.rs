//! Section 1 of the contract: commands, exit codes, first lines.

use std::time::Duration;

use concierge_testkit::{
    ConfigFile, FakeProvider,
    gateway::Failed,
    openai::{ask, ask_stream},
};
use serde_json::json;
use tokio::net::TcpListener;

use super::setup::{gateway, launch};

/// One readable sentence: no backtrace, no panic, no debug output.
fn one_sentence(failed: &Failed, word: &str) {
    assert_eq!(failed.code, Some(1), "{failed}");
    let said = failed.stderr.trim();
    assert!(said.contains(word), "`{word}` in: {failed}");
    for noise in ["panicked", "RUST_BACKTRACE", "Os {", "Error {", "thread '"] {
        assert!(!said.contains(noise), "{failed}");
    }
}

async fn refused(config: &str, word: &str) {
    one_sentence(&launch().run(config, &["serve", "--config", "config.toml"]).await, word);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let failed = launch().run(&format!("[server]\nlisten = \"{addr}\"\n"), &[]).await;
    one_sentence(&failed, &addr);
    assert_eq!(failed.stderr.trim().lines().count(), 1, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_file_is_one_sentence() {
    let failed = launch().run("", &["serve", "--config", "no-such.toml"]).await;
    one_sentence(&failed, "no-such.toml");
    assert_eq!(failed.stderr.trim().lines().count(), 1, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_names_its_line_and_the_nearest_known_one() {
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n\n[resilience]\nmax_atempts = 3\n";
    refused(config, "max_attempts").await;
    refused(config, "config.toml:5").await;
    refused("[server]\nlisten = 8080\n", "config.toml:2").await;
    refused("not toml at all [", "config.toml:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_door_is_refused() {
    refused("[server]\nlisten = \"0.0.0.0:0\"\n", "auth").await;
    let keyed = "[[auth.keys]]\nuser = \"a\"\nkey = \"0123456789abcdef\"\n";
    refused(&format!("[server]\nlisten = \"0.0.0.0:0\"\n{keyed}"), "token").await;
    refused(&format!("[server]\nlisten = \"0.0.0.0:0\"\n[admin]\ntoken = \"short\"\n{keyed}"), "16").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_every_problem_or_says_that_all_is_well() {
    let bad = "[server]\nlisten = \"nowhere\"\n[routing]\nstrategy = \"scoer\"\n[resilience]\nstal_timeout = \"1s\"\n\
               [[models]]\nname = \"m\"\ntargets = [\"groc/x\"]\n[[providers]]\nname = \"groq\"\n\
               base_url = \"ftp://x\"\napi_key = \"k\"\n";
    let failed = launch().run(bad, &["check", "--config", "config.toml"]).await;
    assert_eq!(failed.code, Some(1), "{failed}");
    let said = format!("{}{}", failed.stdout, failed.stderr);
    for part in [
        "config.toml:2: server.listen",
        "config.toml:4: routing.strategy",
        "score",
        "config.toml:6: resilience.stal_timeout",
        "stall_timeout",
        "config.toml:9: models[0].targets",
        "groq",
        "config.toml:12: providers[0].base_url",
    ] {
        assert!(said.contains(part), "`{part}` in:\n{said}");
    }
    let fake = FakeProvider::start().await;
    let fine = launch().run(&ConfigFile::single(&fake).toml(), &["check", "--config", "config.toml"]).await;
    assert_eq!(fine.code, Some(0), "{fine}");
    assert!(fake.all_calls().is_empty(), "a check asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_two_and_help_is_zero() {
    for (args, code) in [
        (&["--no-such-flag"][..], 2),
        (&["no-such-command"][..], 2),
        (&["serve", "--config"][..], 2),
        (&["--version"][..], 0),
        (&["--help"][..], 0),
        (&["demo", "--help"][..], 0),
    ] {
        let ended = launch().run("", args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended}");
        let said = if code == 0 { &ended.stdout } else { &ended.stderr };
        assert!(!said.trim().is_empty(), "{args:?}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_one_line_on_standard_output() {
    let fake = FakeProvider::start().await;
    let gw = gateway(&ConfigFile::single(&fake)).await;
    assert!(gw.url().starts_with("http://127.0.0.1:"));
    let with_address = gw.logs().lines().filter(|l| l.contains(gw.addr())).count();
    assert!(with_address >= 1, "{}", gw.logs());
}

/// `concierge` alone reads `config.toml` in the working directory.
#[tokio::test(flavor = "multi_thread")]
async fn without_arguments_it_serves() {
    let ended = launch().run("[server]\nlistn = \"x\"", &[]).await;
    one_sentence(&ended, "listn");
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_variables_fill_the_configuration() {
    let fake = FakeProvider::start().await;
    let table = format!(
        "[[providers]]\nname = \"a\"\nbase_url = \"{}\"\napi_key = \"${{A_KEY}}\"\n\
         headers = {{ \"x-team\" = \"${{TEAM:-red}}\" }}",
        fake.base_url()
    );
    let config = ConfigFile::quick().table(&table).model("m", &["a/m"]);
    let gw = launch().env("A_KEY", "sk-from-env").start(config.toml()).await;
    assert_eq!(gw.client().chat(&ask("m")).await.code(), 200);
    let call = fake.only_call();
    assert_eq!(
        (call.header("authorization"), call.header("x-team")),
        (Some("Bearer sk-from-env"), Some("red"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_serves_without_files_keys_or_network() {
    let temporary = tempfile::TempDir::new().unwrap();
    let there = launch().env("TMPDIR", temporary.path().to_str().unwrap());
    let mut demo = match there.try_start_args(&["demo", "--listen", "127.0.0.1:0"]).await {
        Ok(demo) => demo,
        Err(failed) => panic!("{failed}"),
    };
    let models = demo.client().get("/v1/models").await.json();
    let model = models["data"][0]["id"].as_str().unwrap_or_else(|| panic!("no model in {models}")).to_owned();
    let reply = demo.client().chat(&ask(&model)).await;
    assert_eq!(reply.code(), 200, "{reply:?}");
    assert!(!reply.text().is_empty());
    let heard = demo.client().stream(&ask_stream(&model)).await;
    assert!(heard.done() && !heard.text().is_empty(), "{heard:?}");
    assert!(demo.admin_providers().await.len() >= 3, "one fast, one slow, one that breaks");
    let zoe = demo.client().header("x-user-id", "zoe");
    let says = |text: &str| json!({"model": model, "messages": [{"role": "user", "content": text}]});
    zoe.chat(&says("My cat is called Miso")).await;
    concierge_testkit::eventually("it is remembered", Duration::from_secs(10), || async {
        let reply = zoe.chat(&says("What is my cat called?")).await;
        reply.text().contains("reminded me: “").then_some(())
    })
    .await;
    let left = std::fs::read_dir(demo.dir()).unwrap().count();
    assert_eq!(left, 0, "it writes no files here");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    demo.signal("INT");
    assert_eq!(demo.wait_exit(Duration::from_secs(5)).await.code(), Some(0));
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "its memories go with it");
}
