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
pub mod record;

pub use answer_capture::AnswerCapture;

/// One admitted client request.
pub struct Call {
    /// `x-request-id`
    pub id: Arc<str>,
    /// For whom it is.
    pub user: UserId,
    /// What it speaks.
    pub api: Api,
    /// What it asks for.
    pub upstream: UpstreamRequest,
    /// The configuration and targets it was admitted under.
    pub snapshot: Arc<Snapshot>,
    /// When its head had arrived.
    pub received: Instant,
    /// How long it waited for its slot.
    pub queued: Duration,
    /// When it must be over.
    pub deadline: Instant,
    /// The user's right to run.
    pub slot: Slot,
    /// The client itself set the deadline.
    pub client_timeout: bool,
    /// What the client wants of the memory.
    pub memory: MemoryUse,
    /// Who listens to the answer; usually nobody.
    pub capture: Option<Arc<AnswerCapture>>,
    /// Its line in `/admin/requests`.
    pub in_flight: InFlightCall,
    /// Its line in the log.
    pub record: RequestRecord,
}

/// What a call may do with the user's memory (`x-concierge-memory`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryUse {
    /// Recall and remember.
    #[default]
    On,
    /// Neither.
    Off,
    /// Only recall.
    Read,
    /// Only remember.
    Write,
}

impl MemoryUse {
    /// What the word in the header means.
    pub fn parse(word: &str) -> Option<Self> {
        let words = [("on", Self::On), ("off", Self::Off), ("read", Self::Read), ("write", Self::Write)];
        words.into_iter().find_map(|(name, meaning)| name.eq_ignore_ascii_case(word).then_some(meaning))
    }

    /// Whether something may be recalled.
    pub fn reads(self) -> bool {
        matches!(self, Self::On | Self::Read)
    }

    /// Whether something may be remembered.
    pub fn writes(self) -> bool {
        matches!(self, Self::On | Self::Write)
    }
}

/// What is to be sent to a provider.
pub struct UpstreamRequest {
    /// The client's method.
    pub method: Method,
    /// Path and query below the base URL.
    pub path: Cow<'static, str>,
    /// The client's headers that travel upstream.
    pub headers: HeaderMap,
    /// The client's body, untouched.
    pub body: Bytes,
    /// What the process holds for it.
    pub held: HeldBytes,
    /// What was read of it.
    pub content: RequestContent,
    /// Who may be asked: the model that was asked for, then its fallbacks.
    pub models: Vec<Arc<Model>>,
    /// Only one target may be asked, and only once.
    pub pinned: bool,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Phase {
    /// Waits for its slot.
    Queued,
    /// Waits until a target may be asked.
    Waiting,
    /// A target was asked; no content yet.
    Asking,
    /// Content is flowing.
    Streaming,
    /// The stream broke; another target goes on.
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
pub struct Registry {
    next: AtomicU64,
    /// By the order of their coming.
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

/// A call in the list; it leaves when this is dropped.
#[derive(Debug)]
pub struct InFlightCall {
    key: u64,
    row: Arc<InFlightRow>,
    registry: Arc<Registry>,
}

/// One line of `/admin/requests`.
#[derive(Debug, Serialize)]
pub struct CallView {
    /// `x-request-id`
    pub id: String,
    /// For whom.
    pub user: String,
    /// `chat`, `embeddings`, … or `other`.
    pub operation: &'static str,
    /// The model that was asked for.
    pub model: String,
    /// Who is being asked.
    pub target: Option<String>,
    /// Where it is.
    pub phase: Phase,
    /// Attempts so far.
    pub attempts: u32,
    /// Milliseconds since it was admitted.
    pub elapsed_ms: u64,
}

impl Registry {
    /// Puts a call in the list.
    pub fn enter(
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
    pub fn len(&self) -> usize {
        self.calls.lock().len()
    }

    /// Whether no call is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list, oldest first.
    pub fn view(&self, now: Instant) -> Vec<CallView> {
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
    /// The call is here now.
    pub fn phase(&self, phase: Phase) {
        self.row.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// `target` is asked now.
    pub fn asks(&self, target: Arc<str>) {
        self.row.attempts.fetch_add(1, Ordering::Relaxed);
        *self.row.target.lock() = Some(target);
        self.phase(Phase::Asking);
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.row.attempts.load(Ordering::Relaxed)
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.registry.calls.lock().remove(&self.key);
    }
}
