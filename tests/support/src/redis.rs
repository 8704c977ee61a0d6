//! A real Redis for one test: on a free port, without persistence, and able to fail in every way that servers fail.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{eventually, within};

/// Timeout to start and to answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. Killed when dropped.
pub struct RedisServer {
    binary: PathBuf,
    port: u16,
    child: Option<Child>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one; `None`, with a message, if this machine has none.
    pub async fn start() -> Option<Self> {
        let Some(binary) = binary() else {
            eprintln!("skipped: there is no redis-server (Debian: apt-get install redis-server)");
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let mut server = Self { binary, port, child: None, dir: TempDir::new().expect("a folder") };
        server.start_again().await;
        Some(server)
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it on the same port, empty, after [`Self::kill`].
    pub async fn start_again(&mut self) {
        let mut command = Command::new(&self.binary);
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server starts"));
        let address = ("127.0.0.1", self.port);
        eventually("Redis answers", PATIENCE, || async { TcpStream::connect(address).await.ok() }).await;
    }

    /// `kill -9`: all its data is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// Stops it (`SIGSTOP`): it accepts connections and bytes, and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Resumes it; it processes everything received meanwhile.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Deletes all data.
    pub async fn flush(&self) {
        assert_eq!(self.say("FLUSHALL").await, "+OK");
    }

    /// How often each command was called since the start.
    pub async fn calls(&self) -> BTreeMap<String, u64> {
        let said = self.say("INFO commandstats").await;
        let lines = said.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
        lines.map(|(name, rest)| (name.to_owned(), number(rest))).collect()
    }

    /// The integer reply to a command such as `ZCARD key`.
    pub async fn count(&self, command: &str) -> u64 {
        number(self.say(command).await.trim_start_matches(':'))
    }

    /// The reply to a one-line command, as it came: `+OK`, `:3`, or the text of a bulk string.
    pub async fn say(&self, command: &str) -> String {
        within(command, PATIENCE, async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("Redis is there");
            let mut stream = BufReader::new(stream);
            stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("Redis is there");
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("an answer");
            let line = line.trim_end().to_owned();
            let Some(length) = line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) else {
                return line;
            };
            let mut text = vec![0; length];
            stream.read_exact(&mut text).await.expect("an answer");
            String::from_utf8_lossy(&text).into_owned()
        })
        .await
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(status.expect("there is a shell").success(), "kill -{name}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn number(text: &str) -> u64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// The path of Redis, or Valkey.
fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).collect::<Vec<_>>();
    let named = |name: &'static str| folders.iter().map(move |folder| folder.join(name));
    named("redis-server").chain(named("valkey-server")).find(|file| file.is_file())
}
