//! The process handling, with shell scripts in place of the gateway.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::ms;

/// A script that stands in for the binary.
fn stand_in(script: &str) -> (TempDir, Launch) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("stand-in");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (dir, Launch::new(path))
}

#[test]
fn finds_the_address_in_a_line() {
    let line = "concierge listening on http://127.0.0.1:8080/ (2 models)";
    assert_eq!(address(line).as_deref(), Some("http://127.0.0.1:8080"));
    assert_eq!(address("https://[::1]:443.").as_deref(), Some("https://[::1]:443"));
    assert_eq!(address("see http://example.org/"), None);
}

#[test]
fn knows_the_secrets_of_a_configuration() {
    let config = r#"
name = "a-long-name-of-a-provider"
api_key = "sk-1234567890"
key = "short"
token = "${FROM_OUTSIDE}"
jwt_secret="a-jwt-secret-01"
url = "redis://user:a-password-of-redis@127.0.0.1:1/0"
base_url = "http://127.0.0.1:1/v1"
url = "redis://127.0.0.1:1"
"#;
    let found: Vec<_> = secrets(config).collect();
    assert_eq!(found, ["sk-1234567890", "a-jwt-secret-01", "a-password-of-redis"]);
}

#[tokio::test]
async fn starts_signals_and_waits() {
    let (_dir, launch) = stand_in(
        "trap 'echo bye >&2; exit 0' TERM\necho \"up at http://127.0.0.1:4711 $WORD $1\"\nwhile :; do sleep 0.02; done",
    );
    let mut gateway = launch.env("WORD", "hello").start("x = 1\n").await;
    assert_eq!((gateway.url(), gateway.addr()), ("http://127.0.0.1:4711", "127.0.0.1:4711"));
    assert!(gateway.wait_log("hello").await.ends_with("serve"));
    assert_eq!(std::fs::read_to_string(gateway.dir().join("config.toml")).unwrap(), "x = 1\n");
    assert!(gateway.rss() > 0 && gateway.open_files() > 2);
    gateway.signal("TERM");
    gateway.wait_log("bye").await;
    assert_eq!(gateway.wait_exit(ms(5000)).await.code(), Some(0));
}

#[tokio::test]
async fn a_failed_start_says_what_was_printed() {
    let (_dir, launch) = stand_in("echo out\necho 'no config' >&2\nexit 1");
    let failed = launch.clone().try_start("").await.err().unwrap();
    assert_eq!(
        (failed.code, failed.stdout.as_str(), failed.stderr.as_str()),
        (Some(1), "out\n", "no config\n")
    );
    let run = launch.run("", &["check"]).await;
    assert_eq!(run.code, Some(1));
}

#[tokio::test]
async fn a_dropped_gateway_is_gone() {
    let (_dir, launch) = stand_in("echo http://127.0.0.1:4711\nexec sleep 60");
    let gateway = launch.start("").await;
    let proc = format!("/proc/{}/status", gateway.pid());
    drop(gateway);
    let gone = || async {
        let status = std::fs::read_to_string(&proc).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    };
    crate::eventually("the process ends", ms(3000), gone).await;
}
