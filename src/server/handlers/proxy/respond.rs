//! From an answer to a response: the headers that tell how it was got, and the body as it comes.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::{select, time::sleep};

use crate::{
    call::Call,
    dispatch::{
        self, AnsweredBody, DispatchRefusal, DispatchResponse, Dispatcher,
        passthrough::RawRelay,
        relay::{KEEP_ALIVE, KEEP_ALIVE_COMMENT, Relay},
    },
    server::http::{
        error_response, header_names,
        response_body::{ResponseBody, TruncatedBody},
    },
};

type PendingAnswer = Pin<Box<dyn Future<Output = Result<DispatchResponse, DispatchRefusal>> + Send>>;

/// Gets the answer. A stream that is long in coming is begun with a comment, so that nobody in between hangs up.
pub(crate) async fn deliver(dispatcher: &Arc<Dispatcher>, call: Box<Call>) -> Response<ResponseBody> {
    let streams = call.upstream.content.stream() && call.api.is_known();
    let dispatcher = dispatcher.clone();
    let mut found: PendingAnswer = Box::pin(async move { dispatch::run(&dispatcher, call).await });
    if !streams {
        return reply_to(found.await);
    }
    select! {
        found = &mut found => reply_to(found),
        () = sleep(KEEP_ALIVE) => begin_with_comment(found),
    }
}

fn reply_to(found: Result<DispatchResponse, DispatchRefusal>) -> Response<ResponseBody> {
    let DispatchResponse { trail, head, body } = match found {
        Ok(answered) => answered,
        Err(DispatchRefusal { refusal, trail, mut call }) => {
            let mut response = error_response::refuse(&refusal);
            call.record.refused(response.status(), error_response::code(&refusal));
            response.body_mut().headers_mut().trail = Some(trail);
            return response;
        }
    };
    let mut response = match body {
        AnsweredBody::Whole(bytes, call) => Response::new(ResponseBody::whole(bytes).with_guard(call)),
        AnsweredBody::Events(relay) => event_stream(EventStreamBody::Relaying(relay)),
        AnsweredBody::Raw(relay) => Response::new(ResponseBody::stream(Box::pin(stream::unfold(relay, raw)))),
    };
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    // A stream of events says already what it is.
    for (name, value) in head.describing() {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if let Some(id) = head.upstream_request_id() {
        headers.insert(header_names::UPSTREAM_REQUEST_ID, id.clone());
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response.body_mut().headers_mut().trail = Some(trail);
    response
}

fn begin_with_comment(found: PendingAnswer) -> Response<ResponseBody> {
    let mut response = event_stream(EventStreamBody::Begun(found));
    *response.status_mut() = StatusCode::OK;
    response
}

fn event_stream(waiting: EventStreamBody) -> Response<ResponseBody> {
    let body = ResponseBody::stream(Box::pin(stream::unfold(waiting, EventStreamBody::next)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header_names::BUFFERING, HeaderValue::from_static("no"));
    response
}

/// An event stream that may have been begun before its answer was there.
enum EventStreamBody {
    /// Nothing was sent.
    Begun(PendingAnswer),
    /// A comment was sent.
    For(PendingAnswer),
    Relaying(Box<Relay>),
    Over,
}

impl EventStreamBody {
    async fn next(self) -> Option<(Result<Bytes, TruncatedBody>, Self)> {
        match self {
            Self::Begun(found) => Some((Ok(KEEP_ALIVE_COMMENT), Self::For(found))),
            // On the heap: every stream would keep its room, and few are waited for.
            Self::For(found) => Box::pin(Self::wait(found)).await,
            Self::Relaying(mut relay) => relay.next().await.map(|bytes| (Ok(bytes), Self::Relaying(relay))),
            Self::Over => None,
        }
    }

    async fn wait(mut found: PendingAnswer) -> Option<(Result<Bytes, TruncatedBody>, Self)> {
        select! {
            found = &mut found => Self::after(found).await,
            () = sleep(KEEP_ALIVE) => Some((Ok(KEEP_ALIVE_COMMENT), Self::For(found))),
        }
    }

    async fn after(
        found: Result<DispatchResponse, DispatchRefusal>,
    ) -> Option<(Result<Bytes, TruncatedBody>, Self)> {
        match found {
            Ok(DispatchResponse { body: AnsweredBody::Events(mut relay), .. }) => {
                relay.next().await.map(|bytes| (Ok(bytes), Self::Relaying(relay)))
            }
            // A stream was asked for, and `ask` takes nothing else for an answer.
            Ok(_) => Some((Err(TruncatedBody), Self::Over)),
            Err(DispatchRefusal { refusal, mut call, .. }) => {
                call.record.refused_late(error_response::code(&refusal));
                Some((Ok(error_response::as_event(&refusal)), Self::Over))
            }
        }
    }
}

async fn raw(mut relay: Box<RawRelay>) -> Option<(Result<Bytes, TruncatedBody>, Box<RawRelay>)> {
    let item = relay.next().await?;
    Some((item.map_err(|()| TruncatedBody), relay))
}
