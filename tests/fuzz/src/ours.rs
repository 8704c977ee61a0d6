//! What our codec makes of the bytes.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use concierge::http1::{
    client::{Http1, Reuse, fixed_headers::FixedHeaders},
    io::READ_AHEAD,
    server::{self, ConnectionBody, ConnectionOptions, HeadError, OutgoingBody},
};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::service_fn;

use crate::{
    reading::{End, Message, Reading},
    wire::{ScriptedWire, block_on},
};

/// Bytes of a head: few, so that inputs reach the limit.
pub const MAX_HEAD: usize = 2048;

const OPTIONS: ConnectionOptions = ConnectionOptions {
    head_timeout: Duration::from_secs(60),
    max_head: MAX_HEAD,
    now: Instant::now,
    wall: SystemTime::now,
};

struct Reply(Full<Bytes>);

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl OutgoingBody for Reply {}

/// The requests in `input`, which comes in pieces cut at `cuts`.
pub fn requests(input: &[u8], cuts: &[usize]) -> Reading {
    requests_within(input, cuts, MAX_HEAD)
}

/// The same with another limit for a head.
pub fn requests_within(input: &[u8], cuts: &[usize], max_head: usize) -> Reading {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let refusal = Mutex::new(None);
    let wire = ScriptedWire::client(input, cuts);
    let consumed = wire.consumed.clone();
    let service = service_fn(|request: Request<ConnectionBody>| {
        let mut message = Message::request(&request);
        let messages = messages.clone();
        async move {
            message.body = request.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
            messages.lock().unwrap().push(message);
            Ok::<_, Infallible>(Response::new(Reply(Full::default())))
        }
    });
    let refuse = |error: HeadError| {
        // No head makes it read on and on.
        let bound = input.len().min(max_head + READ_AHEAD);
        assert!(!messages.lock().unwrap().is_empty() || consumed.load(Relaxed) <= bound + blank(input));
        *refusal.lock().unwrap() = Some(error.to_string());
        Response::new(Reply(Full::default()))
    };
    let served = block_on(server::serve(wire, service, refuse, ConnectionOptions { max_head, ..OPTIONS }));
    let refusal = refusal.lock().unwrap().take();
    let end = match served {
        Ok(Some(_)) => End::Http2,
        _ => refusal.map_or(End::Closed, End::Refused),
    };
    let messages = std::mem::take(&mut *messages.lock().unwrap());
    Reading { messages, end }.settled()
}

/// Bytes of empty lines before a head.
fn blank(input: &[u8]) -> usize {
    input.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

struct Forget;

impl Reuse for Forget {
    fn reuse(&self, _: Http1) {}
}

/// The response to a request of `method` in `input`, which comes in pieces cut at `cuts`.
pub fn response(input: &[u8], cuts: &[usize], method: &Method) -> Reading {
    let connection = Http1::new(ScriptedWire::server(input, cuts), Instant::now());
    let request = Request::builder().method(method).uri("/").body(Bytes::new()).unwrap();
    let fixed = FixedHeaders::new([(http::header::HOST, "h".parse().unwrap())].into_iter().collect());
    block_on(async {
        let response = match connection.send((Box::new(request), &fixed), Forget).await {
            Ok(response) => response,
            Err(error) => return Reading::nothing(End::Refused(error.to_string())),
        };
        let mut message = Message::response(&response);
        let (mut whole, mut body) = (BytesMut::new(), response.into_body());
        message.body = loop {
            match poll_fn(|cx| body.poll_run(cx)).await {
                Some(Ok(run)) => whole.extend_from_slice(&run),
                Some(Err(_)) => break None,
                None => break Some(whole.to_vec()),
            }
        };
        Reading { messages: vec![message], end: End::Closed }
    })
}
