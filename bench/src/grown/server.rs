//! The PostgreSQL that `tests/postgres/with-server` has started for this run, and its death.

use std::process::Command;

use concierge_testkit::{ConfigFile, store};

/// An empty database on it; its URL.
///
/// # Panics
/// If there is no server.
pub fn database() -> String {
    assert!(store::server().is_some(), "no PostgreSQL: start it with tests/postgres/with-server");
    store::new_database()
}

/// The configuration with memories there.
pub fn on(config: ConfigFile, url: &str) -> ConfigFile {
    config.set("memory", "store", "\"postgres\"").set("memory", "url", &format!("{url:?}"))
}

/// `start`, `kill`, `freeze` or `thaw`.
///
/// # Panics
/// If it cannot be done.
pub fn control(what: &str) {
    let ctl =
        std::env::var("CONCIERGE_TEST_PGCTL").unwrap_or_else(|_| panic!("no command to {what} the server"));
    let done = Command::new(ctl).arg(what).status();
    assert!(done.is_ok_and(|status| status.success()), "{what} the server");
}

/// Its version, in its own words; empty if it does not say.
pub fn version() -> String {
    store::server().map(|url| said(&url, "SHOW server_version")).unwrap_or_default()
}

/// What a statement prints, as `psql` shows it without a frame.
pub fn said(url: &str, sql: &str) -> String {
    let output = Command::new("psql").args(["-qtAX", "-c", sql, url]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default().lines().last().unwrap_or_default().to_owned()
}
