//! What every benchmark begins and ends with: the binary under test, the profile, and the results file.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use concierge_testkit::gateway::Launch;
use serde_json::{Value, json};

/// Where the gateway is, unless the environment variable `CONCIERGE` says otherwise.
const BINARY: &str = "target/release/concierge";

/// The gateway under test. Panics with advice if there is none.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("CONCIERGE").map_or_else(|| PathBuf::from(BINARY), PathBuf::from);
    path.canonicalize().unwrap_or_else(|_| panic!("no gateway at {}: cargo build --release", path.display()))
}

/// A release build of another program of this repository.
pub fn release(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("release").join(name)
}

/// How to start it.
pub fn launch() -> Launch {
    Launch::new(binary()).env("RUST_LOG", "warn")
}

/// Whether `--fast` was given: short timings, for trying out; its figures are not the published ones.
pub fn fast() -> bool {
    std::env::args().any(|arg| arg == "--fast")
}

/// Ten times less of `n` when it has to be fast.
pub fn scaled(n: u64) -> u64 {
    if fast() { n / 10 } else { n }
}

/// The machine's load average before the benchmark adds its own; warns where it would spoil latencies.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN);
    if load > 0.5 {
        println!("The machine is busy (load average {load}): do not trust the latencies of this run.\n");
    }
    load
}

/// Writes `bench/results/NAME.json`, with what the figures depend on. Those of `--fast` go to `target/bench/`.
pub fn save(name: &str, figures: Value) {
    let document = json!({
        "when": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "gateway": said_by(Command::new(binary()).arg("--version")),
        "commit": commit(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "profile": profile(),
        "figures": figures,
    });
    write(name, &document);
}

/// The same for figures of a simulation, which depend on the code alone.
pub fn save_simulated(name: &str, figures: Value) {
    write(name, &json!({ "commit": commit(), "profile": profile(), "figures": figures }));
}

fn commit() -> String {
    said_by(Command::new("git").args(["rev-parse", "--short", "HEAD"]))
}

fn profile() -> &'static str {
    if fast() { "fast" } else { "full" }
}

fn write(name: &str, document: &Value) {
    let dir = Path::new(if fast() { "target/bench" } else { "bench/results" });
    let path = dir.join(name).with_extension("json");
    let written =
        std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, format!("{document:#}\n")));
    written.unwrap_or_else(|e| panic!("{}: {e}; start it from the repository's root", path.display()));
    println!("\nSaved to {}", path.display());
}

/// The exit code of a benchmark that kept its limits, missed one, or could not run.
pub fn exit(done: Result<bool, String>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The first line a command prints; empty if it cannot.
fn said_by(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
