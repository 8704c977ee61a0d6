//! Answers over a wire that takes as much as it likes.

use futures_util::stream;
use http::HeaderValue;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, duplex};

use super::*;
use crate::http1::body_framing::Decoder;

type TestBody = UnsyncBoxBody<Bytes, io::Error>;

impl OutgoingBody for TestBody {}

fn whole(bytes: &'static str) -> TestBody {
    Full::from(bytes).map_err(|never| match never {}).boxed_unsync()
}

const PLAIN: ResponseMode = ResponseMode { keep_alive: true, version: Version::HTTP_11, head_only: false };

fn streamed(pieces: Vec<io::Result<Vec<u8>>>) -> Response<TestBody> {
    let pieces = pieces.into_iter().map(|piece| piece.map(|piece| Frame::data(Bytes::from(piece))));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(stream::iter(pieces))))
}

/// What the client hears of `response`, over a wire with room for `room` bytes; and how it ended.
async fn heard(
    response: Response<TestBody>,
    mode: ResponseMode,
    room: usize,
) -> (Vec<u8>, io::Result<()>, bool) {
    let (ours, mut theirs) = duplex(room);
    let line = Mutex::new(Connection::new(Box::new(ours)));
    let mut outgoing = ResponseWriter::new(response, mode, SystemTime::now);
    let last = outgoing.last;
    let sending = async move {
        let sent = std::future::poll_fn(|cx| outgoing.poll_send(&line, cx)).await;
        drop(line);
        sent
    };
    let mut heard = Vec::new();
    let (sent, read) = tokio::join!(sending, theirs.read_to_end(&mut heard));
    read.unwrap();
    (heard, sent, last)
}

async fn text(response: Response<TestBody>, mode: ResponseMode) -> (String, bool) {
    let (heard, sent, last) = heard(response, mode, 1 << 20).await;
    sent.unwrap();
    let text = String::from_utf8(heard).unwrap();
    let date = text.find("date: ").unwrap();
    assert_eq!(&text[date + 35..date + 37], "\r\n", "29 characters of date: {text}");
    (text[..date].to_owned() + &text[date + 37..], last)
}

#[tokio::test]
async fn an_answer_at_hand_says_its_length() {
    let mut response = Response::new(whole("hello"));
    response.headers_mut().insert("x-a", HeaderValue::from_static("b"));
    let (said, last) = text(response, PLAIN).await;
    assert_eq!(said, "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello");
    assert!(!last);
}

#[tokio::test]
async fn a_stream_comes_in_chunks() {
    let (said, _) =
        text(streamed(vec![Ok(b"hello".to_vec()), Ok(Vec::new()), Ok(vec![b'x'; 17])]), PLAIN).await;
    let chunks = format!("5\r\nhello\r\n11\r\n{}\r\n0\r\n\r\n", "x".repeat(17));
    assert_eq!(said, format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"));
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_is_told_what_becomes_of_the_connection() {
    let old = ResponseMode { version: Version::HTTP_10, ..PLAIN };
    let (said, last) = text(streamed(vec![Ok(b"hello".to_vec())]), old).await;
    assert_eq!((said.as_str(), last), ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello", true));
    let (said, last) = text(Response::new(whole("hello")), old).await;
    assert!(said.contains("content-length: 5\r\nconnection: keep-alive\r\n") && !last, "{said}");
}

#[tokio::test]
async fn what_has_no_body_sends_none() {
    let head_only = ResponseMode { head_only: true, ..PLAIN };
    let (said, _) = text(Response::new(whole("hello")), head_only).await;
    assert_eq!(said, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    assert_eq!(text(response, PLAIN).await.0, "HTTP/1.1 204 No Content\r\n\r\n");
}

#[tokio::test]
async fn nobody_but_us_says_how_it_is_framed() {
    let mut response = Response::new(whole("hello"));
    for (name, value) in [("content-length", "99"), ("transfer-encoding", "chunked"), ("connection", "close")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let (said, last) = text(response, PLAIN).await;
    assert_eq!(
        (said.as_str(), last),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", true)
    );
}

#[tokio::test]
async fn what_breaks_off_is_sent_so_far_and_not_ended() {
    let pieces = vec![Ok(b"hello".to_vec()), Err(io::ErrorKind::Other.into()), Ok(b"never".to_vec())];
    let (said, sent, _) = heard(streamed(pieces), PLAIN, 1 << 20).await;
    assert!(sent.is_err());
    assert!(said.ends_with(b"\r\n\r\n5\r\nhello\r\n"), "{}", String::from_utf8_lossy(&said));
}

proptest! {
    /// However large the pieces and however little the wire takes, the body arrives as it is.
    #[test]
    fn every_body_arrives(sizes in prop::collection::vec(0..3 * COPIED, 0..8), room in 1..8 * COPIED) {
        let pieces: Vec<_> = sizes.iter().enumerate().map(|(n, size)| vec![b'a' + n as u8; *size]).collect();
        let whole = pieces.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (said, sent, _) = runtime.block_on(heard(streamed(pieces.into_iter().map(Ok).collect()), PLAIN, room));
        sent.unwrap();
        let end = crate::http1::headers::end(&said, 0).unwrap();
        let (mut rest, mut run, mut decoder) = (&said[end..], bytes::BytesMut::new(), Decoder::chunked());
        decoder.decode(&mut rest, &mut run).unwrap();
        prop_assert!(decoder.is_over() && rest.is_empty());
        prop_assert_eq!(&run[..], &whole[..]);
    }
}

/// A wire that counts how often it is written to.
struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl tokio::io::AsyncRead for Counting {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Counting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_short_answer_is_one_write() {
    for response in [Response::new(whole("hello")), streamed(vec![Ok(vec![b'x'; 300]), Ok(vec![b'y'; 300])])]
    {
        let writes = std::sync::Arc::default();
        let line = Mutex::new(Connection::new(Box::new(Counting(std::sync::Arc::clone(&writes)))));
        let mut outgoing = ResponseWriter::new(response, PLAIN, SystemTime::now);
        std::future::poll_fn(|cx| outgoing.poll_send(&line, cx)).await.unwrap();
        assert_eq!(writes.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
