//! The gateway as a user runs it: a process with a configuration file, signals, and logs.
//!
//! It must never use the gateway's code: everything goes through its port or its terminal.

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use crate::{client::Client, store};

/// Timeout until it accepts connections, on a busy machine.
const START: Duration = Duration::from_secs(10);

/// The log level of every gateway of the run, whatever its configuration says: with `trace`, the tests show that no
/// secret is logged even then.
const LOG: &str = "CONCIERGE_TEST_LOG";

/// A gateway to be started.
#[derive(Clone)]
pub struct Launch {
    binary: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Launch {
    /// A gateway of this binary; tests pass `env!("CARGO_BIN_EXE_concierge")`.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        Self { binary: binary.as_ref().into(), args: Vec::new(), env: Vec::new() }
    }

    /// Sets an environment variable. All others but `PATH` are cleared, so that no key of the machine leaks in.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts `serve` with this configuration and waits until it accepts connections.
    pub async fn start(self, config: impl AsRef<str>) -> Gateway {
        self.try_start(config).await.unwrap_or_else(|failed| panic!("the gateway did not start: {failed}"))
    }

    /// The same, or the failure.
    pub async fn try_start(mut self, config: impl AsRef<str>) -> Result<Gateway, Failed> {
        let dir = TempDir::new().expect("a temporary directory");
        let config = store::placed(config.as_ref());
        std::fs::write(dir.path().join("config.toml"), config).expect("writable");
        self.args = vec!["serve".into(), "--config".into(), "config.toml".into()];
        self.spawn(dir).await
    }

    /// Starts with other arguments, in an empty directory.
    pub async fn try_start_args(mut self, args: &[&str]) -> Result<Gateway, Failed> {
        self.args = args.iter().map(|a| (*a).to_owned()).collect();
        self.spawn(TempDir::new().expect("a temporary directory")).await
    }

    /// Runs to the end with these arguments, in a directory with this configuration file.
    pub async fn run(mut self, config: &str, args: &[&str]) -> Failed {
        let dir = TempDir::new().expect("a temporary directory");
        std::fs::write(dir.path().join("config.toml"), config).expect("writable");
        self.args = args.iter().map(|a| (*a).to_owned()).collect();
        let output = self.command(&dir).output();
        let output = timeout(START, output).await.expect("it ends by itself").expect("the binary exists");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Failed { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn command(&self, dir: &TempDir) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(&self.args).current_dir(dir.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(self.env.iter().cloned());
        if let Ok(level) = std::env::var(LOG) {
            command.env("RUST_LOG", level);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn spawn(self, dir: TempDir) -> Result<Gateway, Failed> {
        let mut child = self.command(&dir).spawn().expect("the binary exists");
        let pid = child.id().expect("it has just started");
        let logs = Logs::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(collect(child.stdout.take().expect("piped"), logs.clone(), true));
        tasks.spawn(collect(child.stderr.take().expect("piped"), logs.clone(), false));
        let address = tokio::select! {
            address = timeout(START, logs.address()) => address.ok(),
            _ = child.wait() => None,
        };
        let Some(url) = address else {
            return Err(failed(child, tasks, &logs).await);
        };
        Ok(Gateway { url, pid, child, logs, dir, _tasks: tasks })
    }
}

/// The result of a run that ended.
#[derive(Debug)]
pub struct Failed {
    /// Exit code; `None` if it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {:?}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr)
    }
}

async fn failed(mut child: Child, mut tasks: JoinSet<()>, logs: &Logs) -> Failed {
    let _ = child.start_kill();
    let code = child.wait().await.ok().and_then(|status| status.code());
    while tasks.join_next().await.is_some() {}
    Failed { code, stdout: logs.text(true), stderr: logs.text(false) }
}

/// A running gateway. Killed when dropped.
pub struct Gateway {
    url: String,
    pid: u32,
    child: Child,
    logs: Logs,
    dir: TempDir,
    _tasks: JoinSet<()>,
}

impl Gateway {
    /// `http://127.0.0.1:PORT`, as printed at its start.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port alone.
    pub fn addr(&self) -> &str {
        self.url.split("://").nth(1).unwrap_or(&self.url)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A client for it, one connection per request.
    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Its directory, where `config.toml` is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the configuration file, as an editor does: a new file moved over the old one.
    pub fn write_config(&self, config: impl AsRef<str>) {
        let new = self.dir.path().join("config.toml.new");
        std::fs::write(&new, config.as_ref()).expect("writable");
        std::fs::rename(new, self.dir.path().join("config.toml")).expect("same directory");
    }

    /// Sends a signal by name: `TERM`, `HUP`, `KILL`, `STOP`, `CONT`, `INT`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid);
        let status = std::process::Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits until the process has ended; panics after `limit`.
    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let ended = timeout(limit, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("still running after {limit:?}\n{}", self.logs()))
            .expect("our own child")
    }

    /// All its output so far, both streams.
    pub fn logs(&self) -> String {
        format!("{}{}", self.logs.text(true), self.logs.text(false))
    }

    /// Waits until a line with this text is printed; panics after ten seconds.
    pub async fn wait_log(&self, text: &str) -> String {
        let found = timeout(START, self.logs.find(text)).await;
        found.unwrap_or_else(|_| panic!("never printed `{text}`:\n{}", self.logs()))
    }

    /// The list of `GET /admin/providers`.
    pub async fn admin_providers(&self) -> Vec<Value> {
        let reply = self.client().get("/admin/providers").await;
        reply.json()["providers"].as_array().unwrap_or_else(|| panic!("no list: {reply:?}")).clone()
    }

    /// One target of that list.
    pub async fn target(&self, id: &str) -> Value {
        let all = self.admin_providers().await;
        let found = all.iter().find(|t| t["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("no target {id} in {all:#?}"))
    }

    /// Resident memory now, in bytes.
    pub fn rss(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs, on Linux");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a VmRSS line");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Open file descriptors now.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it runs, on Linux").count()
    }
}

/// Every test also fails if a secret of its configuration appears in the output.
impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let config = std::fs::read_to_string(self.dir.path().join("config.toml")).unwrap_or_default();
        let logs = self.logs();
        for secret in secrets(&config) {
            let shown = logs.lines().find(|line| line.contains(secret));
            assert!(shown.is_none(), "a secret is in the log: {shown:?}");
        }
    }
}

/// Shorter secrets could be ordinary words.
const LONG: usize = 12;

/// The secrets in a configuration: keys of providers and clients, tokens, passwords in URLs.
fn secrets(config: &str) -> impl Iterator<Item = &str> {
    config.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let secret = match name {
            "api_key" | "key" | "token" | "jwt_secret" => value,
            "url" => value.split_once("://")?.1.split_once('@')?.0.split_once(':')?.1,
            _ => return None,
        };
        (secret.len() >= LONG && !secret.contains("${")).then_some(secret)
    })
}

/// Lines of output so far; the flag marks standard output.
#[derive(Clone, Default)]
struct Logs {
    lines: Arc<Mutex<Vec<(bool, String)>>>,
    changed: Arc<Notify>,
}

impl Logs {
    fn push(&self, stdout: bool, line: String) {
        self.lines.lock().expect("never poisoned").push((stdout, line));
        self.changed.notify_waiters();
    }

    fn text(&self, stdout: bool) -> String {
        let lines = self.lines.lock().expect("never poisoned");
        lines.iter().filter(|l| l.0 == stdout).map(|l| format!("{}\n", l.1)).collect()
    }

    async fn find(&self, text: &str) -> String {
        self.first(|_, line| line.contains(text).then(|| line.to_owned())).await
    }

    /// The address printed on standard output.
    async fn address(&self) -> String {
        self.first(|stdout, line| if stdout { address(line) } else { None }).await
    }

    async fn first(&self, look: impl Fn(bool, &str) -> Option<String>) -> String {
        loop {
            let changed = self.changed.notified();
            let found = {
                let lines = self.lines.lock().expect("never poisoned");
                lines.iter().find_map(|(stdout, line)| look(*stdout, line))
            };
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

/// The first `http://host:port` of a line.
fn address(line: &str) -> Option<String> {
    let start = line.find("http://").or_else(|| line.find("https://"))?;
    let url = line[start..].split_whitespace().next()?;
    let url = url.trim_end_matches(['/', '.', ',', ')']);
    url.rsplit(':').next()?.parse::<u16>().ok().map(|_| url.to_owned())
}

async fn collect(pipe: impl AsyncRead + Unpin, logs: Logs, stdout: bool) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        logs.push(stdout, line);
    }
}
