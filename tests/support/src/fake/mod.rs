//! A scripted OpenAI provider on raw TCP sockets: one port, keep-alive, and a log of every call.
//!
//! Raw, because a library would repair what a test wants broken. It must never send anything but what its
//! script contains.

mod connection;
mod log;
mod request;
mod state;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

pub use log::Call;
pub use request::Request;
use state::Shared;

use crate::{link::Link, openai, script::Script, tls::Authority};

/// One fake provider. Dropping it closes its port and every connection.
pub struct FakeProvider {
    addr: SocketAddr,
    scheme: &'static str,
    says: String,
    shared: Arc<Shared>,
    doors: mpsc::Sender<(Door, oneshot::Sender<()>)>,
    _tasks: JoinSet<()>,
}

/// Whether the port accepts connections.
enum Door {
    Open,
    Refusing,
}

impl FakeProvider {
    /// A healthy provider that answers with the sixty words.
    pub async fn start() -> Self {
        Self::saying(openai::SIXTY).await
    }

    /// A healthy provider that answers with this text.
    pub async fn saying(says: &str) -> Self {
        Self::listen(says, None).await
    }

    /// A healthy provider at the far end of a link.
    pub async fn start_behind(link: &Link) -> Self {
        let port = link.far(|| Port::reserve_and_listen((Link::FAR, 0).into()));
        Self::serve(openai::SIXTY, port, None)
    }

    /// A healthy provider at this very address, which must be free.
    pub async fn start_at(addr: SocketAddr) -> Self {
        Self::serve(openai::SIXTY, Port::reserve_and_listen(addr), None)
    }

    /// The same over TLS (HTTP/1.1), with a certificate of this authority for `localhost`.
    pub async fn start_tls(says: &str, authority: &Authority) -> Self {
        Self::listen(says, Some(authority.acceptor(&[b"http/1.1"]))).await
    }

    async fn listen(says: &str, tls: Option<TlsAcceptor>) -> Self {
        Self::serve(says, Port::reserve_and_listen(([127, 0, 0, 1], 0).into()), tls)
    }

    fn serve(says: &str, (port, listener): (Port, TcpListener), tls: Option<TlsAcceptor>) -> Self {
        let addr = listener.local_addr().expect("bound");
        let shared = Shared::new(says);
        let (doors, orders) = mpsc::channel(1);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(port, listener, orders, Arc::clone(&shared), tls));
        Self { addr, scheme, says: says.into(), shared, doors, _tasks: tasks }
    }

    /// The value for `base_url`.
    pub fn base_url(&self) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}/v1", self.addr.port()),
            scheme => format!("{scheme}://{}/v1", self.addr),
        }
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The text of its answers while it is healthy.
    pub fn says(&self) -> &str {
        &self.says
    }

    /// Sets every answer from now on (also to health checks: `GET /models`).
    pub fn script(&self, behaviour: impl Fn(&Request) -> Script + Send + Sync + 'static) {
        self.shared.otherwise(Arc::new(behaviour));
    }

    /// Answers every POST with this from now on; health checks still succeed.
    pub fn always(&self, script: Script) {
        let says = self.says.clone();
        self.script(move |r| if r.is_work() { script.clone() } else { openai::sane(r, &says) });
    }

    /// Answers requests for this model with `behaviour` from now on.
    pub fn for_model(&self, model: &str, behaviour: impl Fn(&Request) -> Script + Send + Sync + 'static) {
        self.shared.for_model(model, Arc::new(behaviour));
    }

    /// Answers the next POST with this; more of them queue up. Has priority over everything else.
    pub fn next(&self, script: Script) {
        self.shared.push(script);
    }

    /// Makes it a healthy provider again.
    pub fn heal(&self) {
        self.shared.heal(&self.says);
    }

    /// As if the process had been killed: connections are reset, new ones refused. The port stays reserved.
    pub async fn refuse(&self) {
        self.door(Door::Refusing).await;
        self.shared.kill().await;
    }

    /// Listens again after [`Self::refuse`].
    pub async fn accept_again(&self) {
        self.door(Door::Open).await;
    }

    /// Resets every open connection; new ones are served.
    pub async fn reset_connections(&self) {
        self.shared.kill().await;
    }

    async fn door(&self, door: Door) {
        let (done, told) = oneshot::channel();
        self.doors.send((door, done)).await.expect("the accept loop lives as long as we do");
        told.await.expect("the accept loop answers");
    }

    /// Every call since the start or the last [`Self::clear`], health checks included.
    pub fn all_calls(&self) -> Vec<Call> {
        self.shared.log.calls()
    }

    /// The calls without health checks.
    pub fn calls(&self) -> Vec<Call> {
        self.all_calls().into_iter().filter(|call| call.is_work()).collect()
    }

    /// The only call, health checks not counted; panics if there were more or none.
    pub fn only_call(&self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "calls: {calls:?}");
        calls.remove(0)
    }

    /// Clears the log of calls.
    pub fn clear(&self) {
        self.shared.log.clear();
    }

    /// Calls being answered now.
    pub fn in_flight(&self) -> usize {
        self.shared.log.load().0
    }

    /// The most calls at once since the last [`Self::clear`].
    pub fn high_water(&self) -> usize {
        self.shared.log.load().1
    }

    /// Waits until `look` finds something in the log; panics after ten seconds.
    pub async fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&[Call]) -> Option<T>) -> T {
        let search = async {
            loop {
                let changed = self.shared.log.changed.notified();
                if let Some(found) = look(&self.calls()) {
                    return found;
                }
                changed.await;
            }
        };
        match timeout(Duration::from_secs(10), search).await {
            Ok(found) => found,
            Err(_) => panic!("the provider never saw: {what}; its calls: {:#?}", self.all_calls()),
        }
    }

    /// Waits until `n` whole requests, health checks not counted, have arrived.
    pub async fn wait_calls(&self, n: usize) {
        let enough = |calls: &[Call]| (calls.iter().filter(|c| c.whole).count() >= n).then_some(());
        self.wait_for(&format!("{n} calls"), enough).await;
    }

    /// Waits until the peer has closed the connection of call `n` (from 0) before its end, and returns when.
    pub async fn wait_peer_closed(&self, n: usize) -> tokio::time::Instant {
        self.wait_for("the peer closes", |calls| calls.get(n)?.peer_closed).await
    }
}

/// A reserved port, listening or not: a bound socket that never listens keeps it.
struct Port {
    _reserved: TcpSocket,
    addr: SocketAddr,
}

impl Port {
    fn reserve_and_listen(addr: SocketAddr) -> (Self, TcpListener) {
        let reserved = shared_socket(addr);
        let addr = reserved.local_addr().expect("bound");
        let port = Self { _reserved: reserved, addr };
        let listener = port.listen();
        (port, listener)
    }

    fn listen(&self) -> TcpListener {
        shared_socket(self.addr).listen(1024).expect("the port is ours")
    }
}

/// A bound socket that lets our other sockets use the same port.
fn shared_socket(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every socket");
    socket.set_reuseport(true).expect("an option of every socket on Unix");
    socket.bind(addr).expect("our own port");
    socket
}

/// Accepts connections; opens and closes the port on command.
async fn accept(
    port: Port,
    listener: TcpListener,
    mut orders: mpsc::Receiver<(Door, oneshot::Sender<()>)>,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((door, done)) = order else { return };
                match door {
                    Door::Refusing => listener = None,
                    Door::Open => listener = Some(listener.unwrap_or_else(|| port.listen())),
                }
                let _ = done.send(());
            }
            stream = next(listener.as_ref()) => {
                connections.spawn(handshake(stream, number, Arc::clone(&shared), tls.clone()));
                number += 1;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

async fn handshake(stream: TcpStream, number: usize, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    match tls {
        None => connection::serve(stream, number, shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                connection::serve(stream, number, shared).await;
            }
        }
    }
}

/// A port that swallows connection attempts: its accept queue is full, so SYNs go unanswered.
pub struct BlackHole {
    addr: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens the port and fills its queue.
    pub async fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(1).expect("bound");
        let addr = listener.local_addr().expect("bound");
        let mut fillers = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
            fillers.push(stream);
        }
        Self { addr, _listener: listener, _fillers: fillers }
    }

    /// The value for `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }
}
