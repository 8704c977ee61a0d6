//! Gets an answer from some target.
//!
//! [`run`] follows a call's [`plan`] with an `AttemptLoop` until a target answers. A [`relay`] carries a
//! stream to the client; if the stream breaks, it runs the loop again (`rescue`). Nothing is repeated after the
//! first content has been sent.

mod attempt_loop;
pub mod budget;
mod continuation;
mod dispatcher;
mod hedge;
pub(crate) mod passthrough;
pub mod plan;
pub(crate) mod relay;
mod rescue;
mod transcript;

use std::sync::Arc;

use bytes::Bytes;

pub use self::dispatcher::{Dispatcher, ResponseTrail};
use self::{attempt_loop::AttemptLoop, passthrough::RawRelay, relay::Relay};
use crate::{
    call::{Call, Phase},
    failpoint::{self, Failpoint},
    refusal::Refusal,
    upstream::exchange::{UpstreamHead, UpstreamResponse},
};

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
