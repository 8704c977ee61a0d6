//! Gets an answer from some target.
//!
//! [`run`] follows a call's [`plan`] with an `AttemptLoop` until a target answers. A [`relay`] carries a
//! stream to the client; if the stream breaks, it runs the loop again (`rescue`). Nothing is repeated after the
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
    /// Bounds how many attempts may be repeats.
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

    /// The tasks of the process.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// An answer on its way to the client.
pub struct DispatchResponse {
    /// The path to it, for the response headers.
    pub trail: ResponseTrail,
    /// Its status and headers.
    pub head: UpstreamHead,
    /// Its body, of one of three kinds.
    pub body: AnsweredBody,
}

/// The three kinds of answers.
pub enum AnsweredBody {
    /// The whole body, and the call, which ends when the body has been sent.
    Whole(Bytes, Box<Call>),
    /// Events, relayed as they arrive.
    Events(Box<Relay>),
    /// Bytes, relayed as they arrive.
    Raw(Box<RawRelay>),
}

/// The path to an answer, for the response headers.
#[derive(Debug, Clone)]
pub struct ResponseTrail {
    /// The target that answered, or failed last; `None` if none was tried.
    pub target: Option<Arc<str>>,
    /// Attempts made, on all targets together.
    pub attempts: u32,
    /// Time spent in the queue for a slot.
    pub queued: Duration,
    /// Time in the gateway before the first attempt, without the queue.
    pub overhead: Duration,
}

/// A refusal and the path to it.
pub struct DispatchRefusal {
    /// What the client gets.
    pub refusal: Refusal,
    /// The path to it, for the response headers.
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
