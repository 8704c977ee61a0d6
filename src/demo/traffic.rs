//! A few requests per second through the demo's own gateway, so that its scores change without a user.
//!
//! They take the same path as any client's: through the gateway's port, with a slot, as the user `demo-traffic`.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{CHAT_MODEL, EMBEDDING_MODEL};
use crate::tasks::Tasks;

/// Three requests a second.
const PERIOD: Duration = Duration::from_millis(333);
/// Requests in flight; below the slots of one user, so that a hanging provider causes no refusals.
const AT_ONCE: usize = 8;

/// The questions, in rotation.
const QUESTIONS: [&str; 4] = [
    "What is a gateway good for?",
    "Who answers when a provider breaks?",
    "How fast is the fastest of you?",
    "Does anybody notice a failover?",
];

type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends about three requests a second to the gateway at `address` until it drains.
pub fn start_traffic(address: SocketAddr, tasks: &Tasks) {
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let draining = tasks.draining().clone().cancelled_owned();
    tasks.spawn_until_shutdown(async move {
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = stream::unfold((clock, 0_usize), |(mut clock, turn)| async move {
            clock.tick().await;
            Some((turn, (clock, turn.wrapping_add(1))))
        });
        let asked = ticks
            .take_until(Box::pin(draining))
            .for_each_concurrent(AT_ONCE, |turn| ask(&http, address, turn));
        asked.await;
    });
}

async fn ask(http: &Http, address: SocketAddr, turn: usize) {
    let (path, body) = request(turn);
    let request = Request::post(format!("http://{address}{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-user-id", "demo-traffic")
        // These questions are not worth remembering.
        .header("x-concierge-memory", "off")
        .body(Full::from(body.to_string()));
    let Ok(request) = request else { return };
    // `/admin/providers` shows how it went; here the answer only has to be read to its end.
    match http.request(request).await {
        Ok(response) => drop(response.into_body().collect().await),
        Err(error) => tracing::debug!(%error, "a demo request failed"),
    }
}

/// Mostly streams, some whole answers, a few embeddings.
fn request(turn: usize) -> (&'static str, Value) {
    let question = QUESTIONS[turn % QUESTIONS.len()];
    if turn % 8 == 7 {
        return ("/v1/embeddings", json!({"model": EMBEDDING_MODEL, "input": question}));
    }
    let messages = json!([{"role": "user", "content": question}]);
    let streamed = turn % 3 != 2;
    ("/v1/chat/completions", json!({"model": CHAT_MODEL, "messages": messages, "stream": streamed}))
}
