//! A provider that speaks HTTP/2 over TLS: for pooled connections, many streams and cancelled ones.
//!
//! Built on hyper, so always correct: framing faults belong to [`crate::fake`].

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinSet, time::Sleep};
use tokio_rustls::TlsAcceptor;

use crate::{link::Link, openai, tls::Authority};

/// Streams chats word by word. Dropping it closes everything.
pub struct H2Provider {
    addr: SocketAddr,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

/// Counts of connections and requests.
#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    open_bodies: AtomicUsize,
}

impl H2Provider {
    /// Starts it; each chat is a stream of the sixty words with `pause` before each.
    pub async fn start(authority: &Authority, pause: Duration) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::serve(listener, authority, pause)
    }

    /// The same at the far end of a link; the certificate must be for [`Link::FAR`].
    pub async fn start_behind(link: &Link, authority: &Authority, pause: Duration) -> Self {
        let listener = link.far(|| std::net::TcpListener::bind((Link::FAR, 0)).expect("a free port"));
        Self::serve(listener, authority, pause)
    }

    fn serve(listener: std::net::TcpListener, authority: &Authority, pause: Duration) -> Self {
        listener.set_nonblocking(true).expect("an option of every socket");
        let listener = TcpListener::from_std(listener).expect("in a runtime");
        let addr = listener.local_addr().expect("bound");
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, authority.acceptor(&[b"h2"]), Arc::clone(&counts), pause));
        Self { addr, counts, _tasks: tasks }
    }

    /// The value for `base_url`.
    pub fn base_url(&self) -> String {
        match self.addr.ip().is_loopback() {
            true => format!("https://localhost:{}/v1", self.addr.port()),
            false => format!("https://{}/v1", self.addr),
        }
    }

    /// Connections ever made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// Requests ever received.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }

    /// Answers being streamed now; a cancelled stream no longer counts.
    pub fn open_bodies(&self) -> usize {
        self.counts.open_bodies.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, counts: Arc<Counts>, pause: Duration) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, counts) = (tls.clone(), Arc::clone(&counts));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            counts.connections.fetch_add(1, SeqCst);
            let service = service_fn(move |request| chat(request, Arc::clone(&counts), pause));
            let h2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = h2.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn chat(
    request: http::Request<Incoming>,
    counts: Arc<Counts>,
    pause: Duration,
) -> Result<Response<Words>, Infallible> {
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    counts.requests.fetch_add(1, SeqCst);
    counts.open_bodies.fetch_add(1, SeqCst);
    let model = body["model"].as_str().unwrap_or_default();
    let streams = body["stream"] == true;
    let (kind, pieces) = if streams {
        ("text/event-stream", openai::chat_chunks(model, openai::SIXTY))
    } else {
        ("application/json", vec![openai::chat_answer(model, openai::SIXTY)])
    };
    let words =
        Words { pieces: pieces.into_iter(), pause, sleep: Box::pin(tokio::time::sleep(pause)), counts };
    Ok(Response::builder().header("content-type", kind).body(words).expect("a valid head"))
}

/// A body that sends one piece after each pause.
struct Words {
    pieces: std::vec::IntoIter<String>,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
    counts: Arc<Counts>,
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let pause = self.pause;
        self.sleep = Box::pin(tokio::time::sleep(pause));
        Poll::Ready(self.pieces.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.counts.open_bodies.fetch_sub(1, SeqCst);
    }
}
