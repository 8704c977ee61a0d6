//! A simulated provider: an HTTP/1.1 server with delays and faults.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use super::{
    faults::{Fault, Schedule},
    paced_body::{self, PacedBody, Pacing},
    request::DemoRequest,
    response::{self, DemoEvents},
};
use crate::tasks::Tasks;

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 << 20;
/// A silence longer than any gateway waits.
const SILENCE: Duration = Duration::from_secs(120);
/// Pause after an accept error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The behaviour of one provider.
#[derive(Debug)]
pub(crate) struct DemoProvider {
    /// Delay before the first word, ± 20 %.
    pub first_token: Duration,
    /// Delay before each further word, ± 20 %.
    pub gap: Duration,
    /// When it breaks; `None`: never.
    pub breaks: Option<Schedule>,
}

/// The error that closes a connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("the simulated provider hung up")]
struct HungUp;

/// Serves `listener` until the process ends.
pub(crate) async fn serve(listener: TcpListener, provider: DemoProvider, tasks: Tasks) {
    let provider = Arc::new(provider);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => tasks.spawn_until_shutdown(connection(stream, provider.clone())),
            Err(error) => {
                tracing::debug!(%error, "a demo provider cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, provider: Arc<DemoProvider>) {
    // Without it small chunks are delayed by Nagle's algorithm.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let provider = provider.clone();
        async move { provider.answer(request).await }
    });
    let mut http = http1::Builder::new();
    let served = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to a demo provider ended");
    }
}

impl DemoProvider {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<PacedBody>, HungUp> {
        let fault = self.breaks.and_then(|schedule| schedule.at(Instant::now()));
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| HungUp)?.to_bytes();
        match fault {
            Some(Fault::HangUp) => return Err(HungUp),
            Some(Fault::Silence) => {
                sleep(SILENCE).await;
                return Err(HungUp);
            }
            Some(Fault::ServerError) => {
                return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "The simulated provider is broken."));
            }
            Some(Fault::CutOff) | None => {}
        }
        Ok(self.route(&head.method, head.uri.path(), &body, fault.is_some()).await)
    }

    async fn route(&self, method: &Method, path: &str, body: &Bytes, cut: bool) -> Response<PacedBody> {
        let ask = DemoRequest::read(&serde_json::from_slice(body).unwrap_or(Value::Null));
        let words = ask.words.len();
        match (method.as_str(), path) {
            ("GET", "/v1/models") => json_reply(StatusCode::OK, &response::models(), false),
            ("POST", "/v1/embeddings") => self.whole(&response::embeddings(&ask), 0, cut).await,
            ("POST", "/v1/chat/completions") if ask.streamed => self.stream(response::chat_stream(&ask), cut),
            ("POST", "/v1/chat/completions") => self.whole(&response::chat(&ask), words, cut).await,
            ("POST", "/v1/completions") if ask.streamed => {
                self.stream(response::completions_stream(&ask), cut)
            }
            ("POST", "/v1/completions") => self.whole(&response::completions(&ask), words, cut).await,
            ("POST", "/v1/responses") if ask.streamed => self.stream(response::responses_stream(&ask), cut),
            ("POST", "/v1/responses") => self.whole(&response::responses(&ask), words, cut).await,
            _ => refusal(StatusCode::NOT_FOUND, "The simulated provider has no such route."),
        }
    }

    /// An answer that is not streamed arrives when its last word would have.
    async fn whole(&self, answer: &Value, words: usize, cut: bool) -> Response<PacedBody> {
        sleep(self.pace().of_all(words)).await;
        json_reply(StatusCode::OK, answer, cut)
    }

    fn stream(&self, events: DemoEvents, cut: bool) -> Response<PacedBody> {
        reply(StatusCode::OK, "text/event-stream; charset=utf-8", paced_body::paced(events, self.pace(), cut))
    }

    fn pace(&self) -> Pacing {
        let about = |time: Duration| time.mul_f64(0.8 + 0.4 * fastrand::f64());
        Pacing { first: about(self.first_token), gap: about(self.gap) }
    }
}

fn refusal(status: StatusCode, message: &str) -> Response<PacedBody> {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    json_reply(status, &error, false)
}

fn json_reply(status: StatusCode, value: &Value, cut: bool) -> Response<PacedBody> {
    reply(status, "application/json", paced_body::whole(value.to_string(), cut))
}

fn reply(status: StatusCode, content_type: &'static str, body: PacedBody) -> Response<PacedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
