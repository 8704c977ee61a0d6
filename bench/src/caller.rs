//! One call, read as a careful client reads it: an error event is an error, a broken connection is an error, and
//! whatever ends without either was presented as complete.
//!
//! It must never retry, and never judge: whether the text is the right one is for the benchmark to say.

use std::time::Duration;

use concierge_testkit::{Client, Heard, client::Ended as Body, sse};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

/// What one call brought.
#[derive(Clone, Debug)]
pub struct Called {
    /// The text and nothing wrong, or what was wrong: status and code, or how it broke.
    pub end: Result<(), String>,
    /// Nothing at all within the limit.
    pub hung: bool,
    /// Content so far.
    pub text: String,
    /// From the call to the end.
    pub elapsed: Duration,
    /// From the call to the first content.
    pub first_token: Option<Duration>,
    /// The last `model` named.
    pub model: Option<String>,
    /// Whether a usage block came.
    pub usage: bool,
    /// How many attempts the gateway says it took; 0 if it did not say.
    pub attempts: usize,
}

impl Called {
    fn failed(start: Instant, hung: bool, why: impl Into<String>) -> Self {
        let end = Err(why.into());
        let elapsed = start.elapsed();
        Self {
            end,
            hung,
            text: String::new(),
            elapsed,
            first_token: None,
            model: None,
            usage: false,
            attempts: 0,
        }
    }

    /// Whether the client would take this for a finished answer.
    pub fn looks_complete(&self) -> bool {
        self.end.is_ok()
    }
}

/// Asks and reads to the end, for `limit` at most. `body` says whether it streams.
pub async fn call(client: Client, body: Value, limit: Duration) -> Called {
    let start = Instant::now();
    // A task of its own: a panic in there (a minute of silence) is a hang, not the end of the benchmark.
    let mut task = JoinSet::new();
    task.spawn(ask(client, body, start));
    match timeout(limit, task.join_next()).await {
        Ok(Some(Ok(called))) => called,
        _ => Called::failed(start, true, "hang"),
    }
}

async fn ask(client: Client, body: Value, start: Instant) -> Called {
    let stream = body["stream"] == true;
    let path = "/v1/chat/completions";
    let open = match client.try_open("POST".parse().unwrap_or_default(), path, body.to_string().into()).await
    {
        Ok(open) => open,
        Err(why) => return Called::failed(start, false, format!("no head: {why}")),
    };
    let heard = open.hear().await;
    if stream && heard.status == 200 { of_stream(&heard, start) } else { of_answer(&heard, start) }
}

fn of_stream(heard: &Heard, start: Instant) -> Called {
    let end = match (heard.error(), heard.ended) {
        (Some(error), _) => Err(format!("event {}", code(&error))),
        (None, Body::Broken) => Err("broken stream".to_owned()),
        (None, Body::Clean) => Ok(()),
    };
    Called {
        end,
        hung: false,
        text: heard.text(),
        elapsed: start.elapsed(),
        first_token: first_content(heard).map(|at| at - start),
        model: heard.chunks().iter().rev().find_map(|chunk| chunk["model"].as_str().map(str::to_owned)),
        usage: heard.usage().is_some(),
        attempts: attempts(heard),
    }
}

fn of_answer(heard: &Heard, start: Instant) -> Called {
    let body: Value = serde_json::from_slice(&heard.body).unwrap_or_default();
    let end = if heard.status != 200 {
        Err(format!("{} {}", heard.status.as_u16(), code(&body["error"])))
    } else if heard.ended == Body::Broken {
        Err("broken body".to_owned())
    } else if body.is_null() {
        Err("200 without JSON".to_owned())
    } else {
        Ok(())
    };
    Called {
        hung: false,
        text: body["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned(),
        elapsed: start.elapsed(),
        first_token: end.is_ok().then(|| start.elapsed()),
        model: body["model"].as_str().map(str::to_owned),
        usage: body["usage"].is_object(),
        attempts: attempts(heard),
        end,
    }
}

/// `error.code`, else its type.
fn code(error: &Value) -> String {
    let named = error["code"].as_str().or_else(|| error["type"].as_str());
    named.unwrap_or("without a code").to_owned()
}

fn attempts(heard: &Heard) -> usize {
    heard.header("x-concierge-attempts").parse().unwrap_or(0)
}

/// When the first piece came that held content.
fn first_content(heard: &Heard) -> Option<Instant> {
    let has_content = |len: usize| {
        let (events, _) = sse::parse(&heard.body[..len]);
        let text = |chunk: Value| Some(!chunk["choices"][0]["delta"]["content"].as_str()?.is_empty());
        events.iter().filter_map(sse::Event::json).any(|chunk| text(chunk).unwrap_or(false))
    };
    heard.arrivals.iter().find(|(_, len)| has_content(*len)).map(|(at, _)| *at)
}
