//! What every benchmark begins and ends with: the binary under test, the profile, and the results file.

use std::{path::PathBuf, process::Command, time::SystemTime};

use concierge_testkit::gateway::Launch;
use serde_json::{Value, json};

/// Where the gateway is, unless the environment variable `CONCIERGE` says otherwise.
const BINARY: &str = "target/release/concierge";

/// The gateway under test. Panics with advice if there is none.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("CONCIERGE").map_or_else(|| PathBuf::from(BINARY), PathBuf::from);
    path.canonicalize().unwrap_or_else(|_| panic!("no gateway at {}: cargo build --release", path.display()))
}

/// How to start it.
pub fn launch() -> Launch {
    Launch::new(binary()).env("RUST_LOG", "warn")
}

/// Whether `--fast` was given: short timings, for trying out; its figures are not the published ones.
pub fn fast() -> bool {
    std::env::args().any(|arg| arg == "--fast")
}

/// Writes `bench/results/NAME.json` (`NAME-fast.json` with `--fast`), with what the figures depend on.
pub fn save(name: &str, figures: Value) {
    let document = json!({
        "when": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "gateway": said_by(Command::new(binary()).arg("--version")),
        "commit": said_by(Command::new("git").args(["rev-parse", "--short", "HEAD"])),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "profile": if fast() { "fast" } else { "full" },
        "figures": figures,
    });
    let path = format!("bench/results/{name}{}.json", if fast() { "-fast" } else { "" });
    let text = format!("{document:#}\n");
    let written = std::fs::create_dir_all("bench/results").and_then(|()| std::fs::write(&path, text));
    written.unwrap_or_else(|e| panic!("{path}: {e}; start it from the repository's root"));
    println!("\nSaved to {path}");
}

/// The first line a command prints; empty if it cannot.
fn said_by(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
