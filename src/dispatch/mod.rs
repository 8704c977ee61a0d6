//! Gets an answer from some target.
//!
//! [`run`] is the whole story: a [`attempt_loop::AttemptLoop`] follows its [`plan`] until a target answers, and what it found goes
//! down through a [`relay`], which searches again if a stream breaks ([`rescue`]). Nothing is repeated after the
//! first content has been sent.

mod attempt_loop;
pub mod budget;
mod continuation;
mod hedge;
pub mod passthrough;
pub mod plan;
pub mod relay;
mod rescue;
mod transcript;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use self::{attempt_loop::AttemptLoop, budget::Budget, hedge::Hedges, passthrough::RawRelay, relay::Relay};
use crate::{
    call::{Call, Phase},
    events::Events,
    failpoint::{self, Failpoint},
    refusal::Refusal,
    tasks::Tasks,
    upstream::exchange::{UpstreamHead, UpstreamResponse},
};

/// What all calls share.
pub struct Dispatcher {
    /// How many attempts may be repeats.
    pub budget: Arc<Budget>,
    hedges: Hedges,
    events: Events,
    tasks: Tasks,
}

impl Dispatcher {
    /// With a full budget.
    pub fn new(events: Events, tasks: Tasks, now: Instant) -> Arc<Self> {
        Arc::new(Self { budget: Budget::new(now), hedges: Hedges::default(), events, tasks })
    }

    /// Every task of the process.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// An answer on its way to the client.
pub struct DispatchResponse {
    /// How it was got.
    pub trail: ResponseTrail,
    /// What describes it.
    pub head: UpstreamHead,
    /// The body: whole, streamed or passed through.
    pub body: AnsweredBody,
}

/// The three kinds of answers.
pub enum AnsweredBody {
    /// All of it, and the call that ends when it has been sent.
    Whole(Bytes, Box<Call>),
    /// Events as they come.
    Events(Box<Relay>),
    /// Bytes as they come.
    Raw(Box<RawRelay>),
}

/// How an answer was got, for the response headers.
#[derive(Debug, Clone)]
pub struct ResponseTrail {
    /// Who answered, or refused last; `None` if nobody was asked.
    pub target: Option<Arc<str>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Time in the queue.
    pub queued: Duration,
    /// Time in the gateway before the first target was asked, without the queue.
    pub overhead: Duration,
}

/// A refusal and how it came about.
pub struct DispatchRefusal {
    /// What the client is told.
    pub refusal: Refusal,
    /// How it came about.
    pub trail: ResponseTrail,
    /// The call, which ends with it.
    pub call: Box<Call>,
}

/// Gets an answer for `call`.
pub async fn run(dispatcher: &Arc<Dispatcher>, call: Box<Call>) -> Result<DispatchResponse, DispatchRefusal> {
    let mut search = AttemptLoop::new(dispatcher.clone(), call);
    failpoint::request(Failpoint::Search, &search.call.id);
    let found = search.find_in_time().await;
    let trail = search.trail();
    let (head, body) = match found {
        Err(refusal) => return Err(DispatchRefusal { refusal, trail, call: search.call }),
        Ok(UpstreamResponse::Whole(head, body, usage)) => {
            search.call.record.answered(&head, usage);
            if let Some(capture) = &search.call.capture {
                capture.whole(search.call.api, &body);
            }
            (head, AnsweredBody::Whole(body, search.call))
        }
        Ok(UpstreamResponse::Stream(open)) => {
            search.call.record.begins();
            search.call.in_flight.phase(Phase::Streaming);
            (open.head.clone(), AnsweredBody::Events(Box::new(Relay::new(search, *open))))
        }
        Ok(UpstreamResponse::Raw(raw)) => {
            search.call.in_flight.phase(Phase::Streaming);
            (raw.head.clone(), AnsweredBody::Raw(Box::new(RawRelay::new(search, *raw))))
        }
    };
    Ok(DispatchResponse { trail, head, body })
}
