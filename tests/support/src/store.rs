//! Where the gateways of a test run store memories: a file each, or with `CONCIERGE_TEST_STORE=postgres` a database
//! each, on the server that `CONCIERGE_TEST_POSTGRES` names. So the same tests run once per store.
//!
//! [`Wire`] is a relay between a gateway and its server, and can be cut.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Whether this run uses PostgreSQL.
pub fn is_postgres() -> bool {
    std::env::var("CONCIERGE_TEST_STORE").is_ok_and(|store| store == "postgres")
}

/// The URL of the server, which ends in the name of a database; `None` if there is none.
pub fn server() -> Option<String> {
    std::env::var("CONCIERGE_TEST_POSTGRES").ok()
}

/// The configuration with a database in place of its file, if this run uses one and the configuration names no store.
/// Gateways with one `memory.path` share one database.
pub(crate) fn placed(config: &str) -> String {
    if !is_postgres() || config.contains("store =") {
        return config.to_owned();
    }
    let path = config.lines().find(|line| line.starts_with("path = ") && line.contains(".db"));
    let url = database(path.map_or_else(unique, named));
    let line = format!("store = \"postgres\"\nurl = \"{url}\"\n");
    match config.contains("[memory]\n") {
        true => config.replacen("[memory]\n", &format!("[memory]\n{line}"), 1),
        false => format!("{config}\n[memory]\n{line}"),
    }
}

/// A new, empty database; its URL.
pub fn new_database() -> String {
    database(unique())
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    named(&format!("{} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

fn named(what: &str) -> String {
    let mut hash = DefaultHasher::new();
    (std::process::id(), what).hash(&mut hash);
    format!("g{:016x}", hash.finish())
}

/// Creates the database if it does not exist.
fn database(name: String) -> String {
    let server = server().expect("CONCIERGE_TEST_POSTGRES: run it with tests/postgres/with-server");
    let made = Command::new("psql").args(["-q", "-c", &format!("CREATE DATABASE {name}"), &server]).output();
    let made = made.expect("psql");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() || said.contains("already exists"), "{said}");
    format!("{}/{name}", server.rsplit_once('/').expect("it ends in a database").0)
}

/// What a [`Wire`] does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Relays everything both ways.
    Whole,
    /// Cut: open connections end, new ones end at once.
    Cut,
    /// Accepts connections and relays nothing.
    Silent,
}

/// A TCP relay in front of a server.
pub struct Wire {
    port: u16,
    state: watch::Sender<State>,
    _task: JoinSet<()>,
}

impl Wire {
    /// A relay in front of the server of this URL.
    pub async fn to(url: &str, state: State) -> Self {
        let address = address(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (sender, watched) = watch::channel(state);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(relay(client, address.clone(), watched.clone()));
            }
        });
        Self { port, state: sender, _task: task }
    }

    /// Sets the state from now on.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// The URL with this relay in place of the server.
    pub fn url(&self, url: &str) -> String {
        url.replacen(address(url), &format!("127.0.0.1:{}", self.port), 1)
    }
}

/// Host and port of a URL.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(address, _)| address)
}

/// Relays while the state is whole; in the silent state the bytes stay unread.
async fn relay(mut client: TcpStream, address: String, mut state: watch::Receiver<State>) {
    while *state.borrow_and_update() == State::Silent {
        if state.changed().await.is_err() {
            return;
        }
    }
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    loop {
        let state_now = *state.borrow_and_update();
        match state_now {
            State::Cut => return,
            State::Silent => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            State::Whole => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                changed = state.changed() => if changed.is_err() { return },
            },
        }
    }
}
