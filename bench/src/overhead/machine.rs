//! Who runs where: the gateway under test on one CPU, the fake provider and the load on another.
//!
//! Programs of util-linux do it, from outside, so that every gateway is treated alike and none has to know. Latencies are
//! measured under a real-time priority where that is allowed, or foreign work on the machine would be counted as theirs.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command as Blocking, Stdio},
};

use tokio::process::{Child, Command};

use crate::traffic::{Measured, Plan, process};

/// The CPU of the gateway under test.
pub const GATEWAY: &str = "0";
/// The CPU of everything else.
const TRAFFIC: &str = "1";

/// The fake provider, and the means to put load on what is in front of it.
pub struct Ground {
    traffic: PathBuf,
    provider: Child,
    /// Where the provider listens.
    pub port: u16,
}

impl Ground {
    /// Starts the provider.
    pub async fn start() -> Result<Self, String> {
        let traffic = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("traffic");
        let mut command = pinned(TRAFFIC, &traffic);
        command.arg("provider").stdout(Stdio::piped());
        let mut provider = command.spawn().map_err(|error| format!("taskset (util-linux): {error}"))?;
        let said = first_line(&mut provider).await;
        let port = said.trim().parse().map_err(|_| format!("{} does not start", traffic.display()))?;
        Ok(Self { traffic, provider, port })
    }

    /// Carries out a plan; with `realtime`, before all other work of the machine.
    pub async fn load(&self, plan: &Plan, realtime: bool) -> Result<Measured, String> {
        let processes: Vec<u32> = self.provider.id().into_iter().chain(plan.pid).collect();
        let realtime = realtime && processes.iter().all(|pid| prioritise(*pid, true));
        let mut command = pinned(TRAFFIC, &self.traffic);
        if realtime {
            command = pinned(TRAFFIC, "chrt");
            command.args(["-r", "1"]).arg(&self.traffic);
        }
        let plan = serde_json::to_string(plan).map_err(|error| error.to_string())?;
        let output = command.args(["load", &plan]).output().await.map_err(|error| error.to_string())?;
        if realtime {
            let _ = processes.iter().all(|pid| prioritise(*pid, false));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// The command that runs `program` on these CPUs.
pub fn pinned(cpus: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpus).arg(program).kill_on_drop(true);
    command
}

/// Gives every thread of the process and its children a real-time priority, or takes it back. False where that is not
/// allowed.
fn prioritise(pid: u32, on: bool) -> bool {
    let policy = if on { ["-a", "-r", "-p", "1"] } else { ["-a", "-o", "-p", "0"] };
    let set = |pid: u32| {
        let mut command = Blocking::new("chrt");
        command.args(policy).arg(pid.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    process::tree(pid).into_iter().all(set)
}

/// The first line a process prints; empty if it ends before.
pub async fn first_line(child: &mut Child) -> String {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        let _ = BufReader::new(out).read_line(&mut line).await;
    }
    line
}
