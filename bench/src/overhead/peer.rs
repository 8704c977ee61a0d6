//! The gateways that are compared: how each is asked, fetched, started and stopped.
//!
//! What differs between them stands in one table here, and in their configurations under `bench/peers/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
    time::Duration,
};

use tokio::{net::TcpListener, process::Child, time::sleep};

use super::machine;
use crate::{
    setup,
    traffic::{Pace, Plan, Shape, now_ns, process, run},
};

/// How long one may take until it answers.
const START: Duration = Duration::from_secs(90);
/// How often it is tried meanwhile; the resolution of the time to the first answer.
const TRY: Duration = Duration::from_micros(500);

/// One gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name, and its folder under `bench/peers/`.
    pub name: &'static str,
    /// Requests per second of the open loop: about what it can carry on one CPU, at most 500.
    pub rate: u32,
    /// Requests and streams at once, at most.
    pub lanes: usize,
    /// How many times as long as the others' its stretches are. What is begun and not answered at the end of one must be
    /// little beside what was answered.
    pub stretch: u64,
}

/// Ourselves, with everything on but memory.
pub const OURS: Peer = Peer::new("concierge");
/// Ourselves, with memory.
pub const REMEMBERING: Peer = Peer::new("concierge-memory");
/// What everything is compared with.
pub const NGINX: Peer = Peer::new("nginx");
/// No gateway at all.
pub const DIRECT: Peer = Peer::new("direct");
/// Whom `--peers` adds.
pub const OTHERS: [Peer; 5] = [
    Peer::new("haproxy"),
    Peer::new("envoy"),
    Peer::new("rolter"),
    Peer::slow("portkey", 200, 64, 2),
    Peer::slow("litellm", 50, 8, 4),
];

impl Peer {
    const fn new(name: &'static str) -> Self {
        Self { name, rate: 500, lanes: 64, stretch: 1 }
    }

    /// One that cannot carry the others' load.
    const fn slow(name: &'static str, rate: u32, lanes: usize, stretch: u64) -> Self {
        Self { name, rate, lanes, stretch }
    }

    /// The header lines a request to it needs.
    pub fn headers(self, provider: u16) -> Vec<String> {
        let mut headers = vec!["authorization: Bearer sk-bench-0123456789".to_owned()];
        if self.name == "portkey" {
            headers.push("x-portkey-provider: openai".to_owned());
            headers.push(format!("x-portkey-custom-host: http://127.0.0.1:{provider}/v1"));
        }
        headers
    }
}

/// A peer that can be started on this machine.
pub struct Ready {
    /// Which.
    pub peer: Peer,
    /// What it takes on disk, bytes.
    pub size: u64,
    folder: PathBuf,
    command: Vec<String>,
    port: u16,
    provider: u16,
    cpus: &'static str,
}

/// A peer that runs. Killed when dropped.
pub struct Running {
    /// Which.
    pub peer: Peer,
    /// Its process; none for [`DIRECT`].
    pub pid: Option<u32>,
    /// From its start to the first answer that went through it, milliseconds.
    pub start_ms: f64,
    addr: String,
    folder: PathBuf,
    provider: u16,
    child: Option<Child>,
}

impl Ready {
    /// Fetches and configures it; or why it cannot be had.
    pub async fn prepare(peer: Peer, provider: u16) -> Result<Self, String> {
        let port = free_port().await?;
        // Of its own: the same gateway may run twice, with two configurations that it watches.
        let folder = Path::new("target/bench/peers").join(format!("{}-{port}", peer.name));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let folder = folder.canonicalize().map_err(|error| error.to_string())?;
        let output = Blocking::new("bench/peers/prepare")
            .args([peer.name, &port.to_string(), &provider.to_string()])
            .arg(&folder)
            .env("CONCIERGE", setup::binary())
            .output()
            .map_err(|error| format!("bench/peers/prepare: {error}"))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
            return Err(why);
        }
        let mut lines =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
        let size = size(Path::new(&lines.remove(0)));
        Ok(Self { peer, size, folder, command: lines, port, provider, cpus: machine::GATEWAY })
    }

    /// The same, run by another program.
    pub fn under(mut self, runner: &[&str]) -> Self {
        self.command.splice(0..0, runner.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The same, on other CPUs.
    pub fn on(self, cpus: &'static str) -> Self {
        Self { cpus, ..self }
    }

    /// The same, with another `config.toml` made of the one it has.
    pub fn configured(self, change: impl FnOnce(String) -> String) -> Result<Self, String> {
        let path = self.folder.join("config.toml");
        let written = fs::read_to_string(&path).and_then(|text| fs::write(&path, change(text)));
        written.map(|()| self).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Starts it and waits for its first answer.
    pub async fn start(&self) -> Result<Running, String> {
        let log = fs::File::create(self.folder.join("log")).map_err(|error| error.to_string())?;
        let (program, arguments) = self.command.split_first().ok_or("no command")?;
        let mut command = machine::pinned(self.cpus, program);
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        let begin = now_ns();
        let child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let addr = format!("127.0.0.1:{}", self.port);
        let mut running = Running {
            peer: self.peer,
            pid: child.id(),
            start_ms: 0.0,
            addr,
            folder: self.folder.clone(),
            provider: self.provider,
            child: Some(child),
        };
        let once = running.plan(Shape::Plain, Pace::Exactly(1), 1);
        while run(once.clone()).await.answers == 0 {
            let ended = running.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || now_ns() - begin > START.as_nanos() as u64 {
                return Err(format!("no answer within {START:?}, see {}", self.folder.join("log").display()));
            }
            sleep(TRY).await;
        }
        running.start_ms = (now_ns() - begin) as f64 / 1e6;
        Ok(running)
    }
}

impl Running {
    /// The provider itself.
    pub fn direct(provider: u16) -> Self {
        let addr = format!("127.0.0.1:{provider}");
        Self { peer: DIRECT, pid: None, start_ms: 0.0, addr, folder: PathBuf::new(), provider, child: None }
    }

    /// Where it listens.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Load on it, without times.
    pub fn plan(&self, shape: Shape, pace: Pace, connections: usize) -> Plan {
        Plan {
            addr: self.addr.clone(),
            headers: self.peer.headers(self.provider),
            shape,
            pace,
            connections,
            warm_up_ms: 0,
            measure_ms: 0,
            users: 0,
            pid: self.pid,
        }
    }

    /// Its memory now, MB.
    pub fn memory_mb(&self) -> f64 {
        self.pid.map_or(0.0, |pid| process::pss(pid) as f64 / 1e6)
    }
}

impl Running {
    /// Ends it, and waits until its port is free again.
    pub async fn stop(mut self) {
        self.kill();
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
        while self.pid.is_some() && TcpListener::bind(&self.addr).await.is_err() {
            sleep(TRY).await;
        }
    }

    /// Ends it as an operator does; what it printed.
    pub async fn end(mut self) -> Result<String, String> {
        if let Some(pid) = self.pid {
            drop(Blocking::new("kill").arg("-TERM").arg(pid.to_string()).status());
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
        fs::read_to_string(self.folder.join("log")).map_err(|error| error.to_string())
    }

    /// What it started as well, from the top: nginx starts anew whoever is missing below it.
    fn kill(&self) {
        for pid in self.pid.into_iter().flat_map(process::tree) {
            drop(Blocking::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nobody to end, and the number may be somebody else's.
        if self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            self.kill();
        }
    }
}

/// A port below those that the system gives to outgoing connections, which would take it between two starts.
async fn free_port() -> Result<u16, String> {
    for _ in 0..100 {
        let port = fastrand::u16(20_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err("no free port from 20000 to 30000".to_owned())
}

/// Bytes of a file, or of everything in a folder.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |file| file.len());
    };
    let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    below.map(|entry| size(&entry.path())).sum()
}
