//! One log line per request, written when it is over, however it ended; what it has cost is then settled with the
//! user's limits.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use crate::{admission::rate::Reservation, api::usage::Usage, upstream::ask::Head};

/// What the log line says. It is written when this is dropped.
#[derive(Debug)]
pub struct Report {
    /// `x-request-id`
    id: Arc<str>,
    operation: &'static str,
    model: String,
    received: Instant,
    status: Option<u16>,
    /// Who answered last.
    pub target: Option<Arc<str>>,
    /// Attempts made.
    pub attempts: u32,
    first_token: Option<Duration>,
    usage: Option<Usage>,
    broken: u32,
    rescued: u32,
    ended_with: Option<&'static str>,
    /// Tokens of the user that are held back for it,
    reservation: Reservation,
    /// and those it has really cost.
    spent: u64,
}

impl Report {
    /// A request that has just been admitted.
    pub fn new(
        id: Arc<str>,
        operation: &'static str,
        model: String,
        received: Instant,
        reservation: Reservation,
    ) -> Self {
        Self {
            id,
            operation,
            model,
            received,
            status: None,
            target: None,
            attempts: 0,
            first_token: None,
            usage: None,
            broken: 0,
            rescued: 0,
            ended_with: None,
            reservation,
            spent: 0,
        }
    }

    /// A whole answer.
    pub fn answered(&mut self, head: &Head, usage: Option<Usage>) {
        self.status = Some(head.status.as_u16());
        self.usage = usage;
        // Nobody knows how long the answer is: the reservation stands.
        let spent = usage.map_or(self.reservation.tokens(), |usage| usage.total_tokens);
        self.spent = self.spent.saturating_add(spent);
    }

    /// A stream ended, whole or not. What each attempt cost is a line of its own.
    pub fn streamed(&mut self, usage: Option<Usage>, events: u64, first_token: Option<Duration>) {
        self.status = Some(200);
        self.usage = usage;
        self.heard(usage, events);
        self.first_token = self.first_token.or(first_token);
    }

    /// A stream has cost this much, even if nobody hears the end: what the provider counted, else the prompt and a token
    /// for each of its `events` with content.
    pub fn heard(&mut self, usage: Option<Usage>, events: u64) {
        let counted = usage.map(|usage| usage.total_tokens);
        let spent = counted.unwrap_or_else(|| self.reservation.cost().prompt.saturating_add(events));
        self.spent = self.spent.saturating_add(spent);
    }

    /// A stream broke.
    pub fn broke(&mut self) {
        self.broken += 1;
    }

    /// Another target goes on.
    pub fn rescued(&mut self) {
        self.rescued += 1;
    }

    /// It was refused.
    pub fn refused(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// A stream ended with an error event of this code.
    pub fn ended_with(&mut self, code: &'static str) {
        self.ended_with = Some(code);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.reservation.settle(self.spent);
        // A bug of ours, on its way up to where it is caught.
        let panicked = std::thread::panicking();
        let tokens = self.usage.map_or(0, |usage| usage.total_tokens);
        tracing::info!(
            request = %self.id,
            operation = self.operation,
            model = self.model,
            target_id = self.target.as_deref().unwrap_or("-"),
            attempts = self.attempts,
            // A client that leaves before the answer gets no status.
            status = self.status.unwrap_or(if panicked { 500 } else { 499 }),
            first_token_ms = self.first_token.map(|time| time.as_millis() as u64),
            total_ms = self.received.elapsed().as_millis() as u64,
            tokens,
            broken = self.broken,
            rescued = self.rescued,
            error = self.ended_with.or(panicked.then_some("internal_error")),
            "request"
        );
    }
}
