//! Answers over a wire of our own, cut wherever it hurts.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

type TestBody = ClientResponseBody<Bytes, Pool>;

/// The connections that came back.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Http1>>>);

impl Pool {
    fn take(&self) -> Option<Http1> {
        self.0.lock().pop()
    }
}

impl Reuse for Pool {
    fn reuse(&self, connection: Http1) {
        self.0.lock().push(connection);
    }
}

fn post(body: &'static str) -> Box<Request<Bytes>> {
    Box::new(Request::post("/x").body(Bytes::from(body)).unwrap())
}

async fn next(body: &mut TestBody) -> Option<Result<Bytes, ResponseError>> {
    poll_fn(|cx| body.poll_run(cx)).await
}

async fn collect(mut body: TestBody) -> Result<Bytes, ResponseError> {
    let mut whole = BytesMut::new();
    while let Some(run) = next(&mut body).await {
        whole.extend_from_slice(&run?);
    }
    assert!(body.is_over());
    Ok(whole.freeze())
}

/// Nothing stands in every request.
fn nothing() -> FixedHeaders {
    FixedHeaders::new(http::HeaderMap::new())
}

/// A connection, the provider's end of it, and where it goes back to.
fn connected() -> (Http1, DuplexStream, Pool) {
    let (ours, theirs) = duplex(1 << 20);
    (Http1::new(ours, Instant::now()), theirs, Pool::default())
}

/// What `wire` says is heard: the body, or why there is none.
async fn heard(wire: &[u8]) -> (Result<Bytes, ResponseError>, Pool) {
    let (connection, mut provider, pool) = connected();
    provider.write_all(wire).await.unwrap();
    provider.shutdown().await.unwrap();
    let whole = async {
        collect(connection.send((post("hello"), &nothing()), pool.clone()).await?.into_body()).await
    };
    (whole.await, pool)
}

#[tokio::test]
async fn a_connection_is_used_again_after_the_last_byte() {
    let (connection, mut provider, pool) = connected();
    let mut connection = Some(connection);
    for round in 0..3 {
        let standing = nothing();
        let sent = connection.take().unwrap().send((post("hello"), &standing), pool.clone());
        let answer = async {
            let mut request = vec![0; 44];
            provider.read_exact(&mut request).await.unwrap();
            assert_eq!(
                request,
                b"POST /x HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"[..].to_vec(),
                "{round}"
            );
            provider.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        };
        let (response, ()) = tokio::join!(sent, answer);
        assert_eq!(collect(response.unwrap().into_body()).await.unwrap(), "ok");
        connection = Some(pool.take().expect("it came back"));
    }
}

#[tokio::test]
async fn what_leaves_a_connection_in_doubt_closes_it() {
    let doubtful = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    for wire in doubtful {
        let (body, pool) = heard(wire.as_bytes()).await;
        assert_eq!(body.unwrap(), "ok", "{wire}");
        assert!(pool.take().is_none(), "{wire}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_anywhere_is_broken() {
    for wire in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        for length in 0..wire.len() {
            let (body, pool) = heard(&wire.as_bytes()[..length]).await;
            assert!(body.is_err() && pool.take().is_none(), "{length} bytes of {wire:?}");
        }
        assert_eq!(heard(wire.as_bytes()).await.0.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_burst_of_chunks_comes_as_one_piece_and_what_was_good_before_a_mistake_too() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (connection, mut provider, pool) = connected();
    let wire = format!("{head}{}zz", "2\r\nok\r\n".repeat(100));
    provider.write_all(wire.as_bytes()).await.unwrap();
    let mut body = connection.send((post(""), &nothing()), pool).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "ok".repeat(100));
    assert!(matches!(next(&mut body).await, Some(Err(ResponseError::Framing(_)))));
    assert!(next(&mut body).await.is_none(), "after an error there is nothing");
}

#[tokio::test]
async fn heads_without_end_are_given_up() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD));
    assert!(matches!(heard(long.as_bytes()).await.0, Err(ResponseError::HeadTooLarge)));
    let again = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_INFORMATIONAL + 1);
    assert!(matches!(heard(again.as_bytes()).await.0, Err(ResponseError::Framing(_))));
    assert!(heard(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.0.is_err());
}

#[tokio::test]
async fn a_refusal_before_the_end_of_the_request_is_heard() {
    let (ours, mut provider) = duplex(64);
    let (connection, pool) = (Http1::new(ours, Instant::now()), Pool::default());
    let body: &'static str = "x".repeat(100_000).leak();
    provider.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    let response = connection.send((post(body), &nothing()), pool.clone()).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(collect(response.into_body()).await.unwrap(), "no");
    assert!(pool.take().is_none(), "the rest of the request was never sent");
}

#[tokio::test]
async fn a_closed_or_talkative_connection_is_not_quiet() {
    let (mut connection, mut provider, _) = connected();
    assert!(connection.is_quiet());
    provider.write_all(b"HTTP/1.1 408 Timeout\r\n\r\n").await.unwrap();
    assert!(!connection.is_quiet());
    let (mut connection, provider, _) = connected();
    drop(provider);
    assert!(!connection.is_quiet());
}
