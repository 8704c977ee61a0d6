//! Connections of clients that behave, and of those that do not.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};
use tower::service_fn;

use super::*;

const OPTIONS: ConnectionOptions = ConnectionOptions {
    head_timeout: Duration::from_secs(15),
    max_head: 4096,
    now: Instant::now,
    wall: SystemTime::now,
};

impl OutgoingBody for Full<Bytes> {}

/// The client's end of a connection, and how the serving of it ends.
struct Stage {
    client: DuplexStream,
    served: JoinHandle<io::Result<Option<RewindIo>>>,
    /// Requests that nobody has answered and nobody has dropped.
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Answers with what was sent: the path, and the body unless nobody may read it.
async fn echo(
    request: Request<ConnectionBody>,
    running: Arc<AtomicUsize>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    running.fetch_add(1, SeqCst);
    let _running = Running(running);
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/never" => std::future::pending().await,
        "/unread" => return Ok(Response::new(Full::from("unread"))),
        _ => {}
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes());
    let said = match body {
        Ok(body) => format!("{path}:{}", String::from_utf8_lossy(&body)),
        Err(torn) => format!("torn: {torn}"),
    };
    Ok(Response::new(Full::from(said)))
}

#[allow(clippy::disallowed_methods)]
fn stage() -> Stage {
    let (client, ours) = duplex(1 << 20);
    let running = Arc::<AtomicUsize>::default();
    let service = service_fn({
        let running = running.clone();
        move |request| Box::pin(echo(request, running.clone()))
    });
    let refuse = |bad: HeadError| {
        let mut response = Response::new(Full::from(bad.to_string()));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    };
    let served = tokio::spawn(async move { serve(ours, service, refuse, OPTIONS).await });
    Stage { client, served, running }
}

/// What is heard until `marks` were, each behind the one before.
async fn until(client: &mut DuplexStream, marks: &[&str]) -> String {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        let all =
            marks.iter().try_fold(0, |at, mark| text[at..].find(mark).map(|found| at + found + mark.len()));
        if all.is_some() {
            return text;
        }
        assert!(client.read_buf(&mut heard).await.unwrap() > 0, "it ended: {text}");
    }
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_are_answered_in_their_order_however_they_are_cut() {
    let all = format!(
        "\r\n{}{}GET /three HTTP/1.1\r\n\r\n",
        post("/one", "first"),
        "POST /two HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\nx: y\r\n\r\n"
    );
    for size in [1, 2, 7, 50, all.len()] {
        let mut stage = stage();
        for piece in all.as_bytes().chunks(size) {
            stage.client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        until(&mut stage.client, &["/one:first", "/two:second", "/three:"]).await;
        drop(stage.client);
        assert!(stage.served.await.unwrap().unwrap().is_none());
    }
}

#[tokio::test]
async fn who_closes_is_gone_and_so_is_his_request() {
    let mut stage = stage();
    stage.client.write_all(post("/never", "").as_bytes()).await.unwrap();
    while stage.running.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(stage.client);
    assert!(stage.served.await.unwrap().unwrap().is_none());
    assert_eq!(stage.running.load(SeqCst), 0);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_skipped_if_it_has_come() {
    let mut stage = stage();
    let all = post("/unread", &"x".repeat(5000)) + &post("/next", "y");
    stage.client.write_all(all.as_bytes()).await.unwrap();
    until(&mut stage.client, &["unread", "/next:y"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_coming_ends_the_connection_after_the_answer() {
    let mut stage = stage();
    let head = "POST /unread HTTP/1.1\r\ncontent-length: 1000\r\n\r\n";
    stage.client.write_all(head.as_bytes()).await.unwrap();
    let said = until(&mut stage.client, &["unread"]).await;
    assert!(said.contains("connection: close\r\n"), "{said}");
    // What comes now is no request.
    stage.client.write_all(post("/hidden", "").as_bytes()).await.unwrap();
    let mut rest = String::new();
    stage.client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    assert!(stage.served.await.unwrap().unwrap().is_none());
}

/// Bytes that were decoded once must not be decoded again, from another state.
#[tokio::test]
async fn a_body_that_is_torn_hides_no_request() {
    let mut stage = stage();
    let torn = format!(
        "POST /torn HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{}",
        post("/h", "")
    );
    stage.client.write_all(torn.as_bytes()).await.unwrap();
    let mut said = String::new();
    stage.client.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("torn: ") && said.matches("HTTP/1.1 ").count() == 1, "{said}");
}

#[tokio::test]
async fn the_client_is_told_to_go_on_when_its_body_is_wanted() {
    let mut stage = stage();
    let head = |path| format!("POST {path} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    stage.client.write_all(head("/wanted").as_bytes()).await.unwrap();
    until(&mut stage.client, &["HTTP/1.1 100 Continue\r\n\r\n"]).await;
    stage.client.write_all(b"ok").await.unwrap();
    until(&mut stage.client, &["HTTP/1.1 200", "/wanted:ok"]).await;
    stage.client.write_all(head("/unread").as_bytes()).await.unwrap();
    let said = until(&mut stage.client, &["unread"]).await;
    assert!(!said.contains("100 Continue") && said.contains("connection: close"), "{said}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_once() {
    for wrong in [
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "nonsense\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "\n",
    ] {
        let mut stage = stage();
        stage.client.write_all((wrong.to_owned() + &post("/hidden", "")).as_bytes()).await.unwrap();
        let mut said = String::new();
        stage.client.read_to_string(&mut said).await.unwrap();
        assert!(
            said.starts_with("HTTP/1.1 400") && said.matches("HTTP/1.1 ").count() == 1,
            "{wrong:?}: {said}"
        );
    }
    let mut stage = stage();
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(2 * OPTIONS.max_head));
    stage.client.write_all(endless.as_bytes()).await.unwrap();
    until(&mut stage.client, &["Request head too large"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_and_a_request_has_its_own() {
    let seconds = Duration::from_secs;
    let mut stage = stage();
    let begun = Instant::now();
    for _ in 0..3 {
        sleep(seconds(14)).await;
        stage.client.write_all(post("/x", "y").as_bytes()).await.unwrap();
        until(&mut stage.client, &["/x:y"]).await;
    }
    stage.client.write_all(b"GET /").await.unwrap();
    let mut rest = String::new();
    stage.client.read_to_string(&mut rest).await.unwrap();
    assert_eq!((rest.as_str(), begun.elapsed().as_secs()), ("", 3 * 14 + 15));
    let mut stage = self::stage();
    stage.client.write_all(post("/never", "").as_bytes()).await.unwrap();
    sleep(seconds(3600)).await;
    assert_eq!(stage.running.load(SeqCst), 1, "the time for its head is no time for the answer");
}

#[tokio::test]
async fn http_2_is_recognised_wherever_its_preface_is_cut() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes";
    for cut in 0..preface.len() {
        let mut stage = stage();
        for piece in [&preface[..cut], &preface[cut..]] {
            stage.client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut wire = stage.served.await.unwrap().unwrap().expect("HTTP/2");
        stage.client.shutdown().await.unwrap();
        let mut read = Vec::new();
        wire.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, preface);
    }
    let mut stage = stage();
    stage.client.write_all(b"PRI * HTTP/1.1\r\n\r\n").await.unwrap();
    until(&mut stage.client, &["HTTP/1.1 200"]).await;
}
