//! One admitted client request, and the list of all that are in flight.
//!
//! A [`Call`] pins the configuration it was admitted under and owns its [`Slot`] to the last byte.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    admission::{process_limits::HeldBytes, slot::Slot},
    call::record::RequestRecord,
    clock,
    openai::{Api, request_body::RequestContent},
    upstream::{Model, Snapshot},
    user::UserId,
};

mod answer_capture;
pub(crate) mod record;

pub(crate) use answer_capture::AnswerCapture;

/// One admitted client request.
pub struct Call {
    /// `x-request-id`
    pub id: Arc<str>,
    /// The user the call belongs to.
    pub user: UserId,
    /// The API family of the request.
    pub api: Api,
    /// The request as it goes to a provider.
    pub upstream: UpstreamRequest,
    /// The configuration and targets it was admitted under.
    pub snapshot: Arc<Snapshot>,
    /// When its head had arrived.
    pub received: Instant,
    /// How long it waited for its slot.
    pub queued: Duration,
    /// When it must have ended.
    pub deadline: Instant,
    /// The right to run; held until the last byte.
    pub slot: Slot,
    /// The deadline came from the client.
    pub client_timeout: bool,
    /// How the client lets the call use memory.
    pub memory: MemoryUse,
    /// Captures the answer for memory; usually `None`.
    pub capture: Option<Arc<AnswerCapture>>,
    /// Its row in `/admin/requests`.
    pub in_flight: InFlightCall,
    /// Its record in the log, the metrics and the trace.
    pub record: RequestRecord,
}

/// What a call may do with the user's memory (`x-concierge-memory`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryUse {
    /// Recall and store.
    #[default]
    On,
    /// Neither recall nor store.
    Off,
    /// Recalls, and remembers nothing.
    Read,
    /// Only store.
    Write,
}

impl MemoryUse {
    /// Parses the value of the header.
    pub fn parse(word: &str) -> Option<Self> {
        let words = [("on", Self::On), ("off", Self::Off), ("read", Self::Read), ("write", Self::Write)];
        words.into_iter().find_map(|(name, meaning)| name.eq_ignore_ascii_case(word).then_some(meaning))
    }

    /// Whether something may be recalled.
    pub fn reads(self) -> bool {
        matches!(self, Self::On | Self::Read)
    }

    /// Whether something may be stored.
    pub fn writes(self) -> bool {
        matches!(self, Self::On | Self::Write)
    }
}

/// The request to send to a provider.
pub struct UpstreamRequest {
    /// The client's method.
    pub method: Method,
    /// Path and query below the base URL.
    pub path: Cow<'static, str>,
    /// The client's headers that are forwarded.
    pub headers: HeaderMap,
    /// The client's body, unchanged.
    pub body: Bytes,
    /// What of the process's memory is reserved for it.
    pub held: HeldBytes,
    /// What was read from the body.
    pub content: RequestContent,
    /// The models that may be used: the requested one, then its fallbacks.
    pub models: Vec<Arc<Model>>,
    /// Only one target may be tried, and only once.
    pub pinned: bool,
}

/// The phase of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Phase {
    /// Waits for its slot.
    Queued,
    /// Waits until a target may be tried.
    Waiting,
    /// Sent to a target; no content yet.
    Asking,
    /// Content is being relayed.
    Streaming,
    /// The stream broke; another target is to continue it.
    Rescuing,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Queued,
            1 => Self::Waiting,
            2 => Self::Asking,
            3 => Self::Streaming,
            _ => Self::Rescuing,
        }
    }
}

/// All calls in flight.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    next: AtomicU64,
    /// By order of arrival.
    calls: Mutex<HashMap<u64, Arc<InFlightRow>, RandomState>>,
}

#[derive(Debug)]
struct InFlightRow {
    id: Arc<str>,
    user: UserId,
    operation: &'static str,
    model: Arc<str>,
    since: Instant,
    phase: AtomicU8,
    attempts: AtomicU32,
    target: Mutex<Option<Arc<str>>>,
}

/// A call in the registry; dropping it removes the row.
#[derive(Debug)]
pub struct InFlightCall {
    key: u64,
    row: Arc<InFlightRow>,
    registry: Arc<Registry>,
}

/// One row of `/admin/requests`.
#[derive(Debug, Serialize)]
pub(crate) struct CallView {
    /// `x-request-id`
    pub id: String,
    /// The id of its user.
    pub user: String,
    /// `chat`, `embeddings`, … or `other`.
    pub operation: &'static str,
    /// The model that was requested.
    pub model: String,
    /// The target being tried.
    pub target: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Attempts so far, all targets together.
    pub attempts: u32,
    /// Milliseconds since it was admitted.
    pub elapsed_ms: u64,
}

impl Registry {
    /// Adds a call to the registry.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: Arc<str>,
        user: UserId,
        operation: &'static str,
        model: Arc<str>,
    ) -> InFlightCall {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(InFlightRow {
            id,
            user,
            operation,
            model,
            since: clock::now(),
            phase: AtomicU8::new(Phase::Queued as u8),
            attempts: AtomicU32::new(0),
            target: Mutex::new(None),
        });
        self.calls.lock().insert(key, line.clone());
        InFlightCall { key, row: line, registry: self.clone() }
    }

    /// How many calls are in flight.
    pub(crate) fn len(&self) -> usize {
        self.calls.lock().len()
    }

    /// Whether no call is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows, oldest first.
    pub(crate) fn view(&self, now: Instant) -> Vec<CallView> {
        let mut lines: Vec<_> = self.calls.lock().iter().map(|(key, line)| (*key, line.clone())).collect();
        lines.sort_by_key(|(key, _)| *key);
        lines.into_iter().map(|(_, line)| line.view(now)).collect()
    }
}

impl InFlightRow {
    fn view(&self, now: Instant) -> CallView {
        CallView {
            id: self.id.to_string(),
            user: self.user.to_string(),
            operation: self.operation,
            model: self.model.to_string(),
            target: self.target.lock().as_deref().map(str::to_owned),
            phase: Phase::from_u8(self.phase.load(Ordering::Relaxed)),
            attempts: self.attempts.load(Ordering::Relaxed),
            elapsed_ms: now.saturating_duration_since(self.since).as_millis() as u64,
        }
    }
}

impl InFlightCall {
    /// Moves the call to this phase.
    pub fn phase(&self, phase: Phase) {
        self.row.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Records that `target` is tried now.
    pub fn asks(&self, target: Arc<str>) {
        self.row.attempts.fetch_add(1, Ordering::Relaxed);
        *self.row.target.lock() = Some(target);
        self.phase(Phase::Asking);
    }

    /// Attempts so far, all targets together.
    pub fn attempts(&self) -> u32 {
        self.row.attempts.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.registry.calls.lock().remove(&self.key);
    }
}
