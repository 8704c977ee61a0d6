//! The provider that misbehaves on purpose: the model's name selects the fault.
//!
//! Where the published wall closes a silent connection at last (after 120 s, or 30 s into a stall), this one stays
//! silent for ever: stricter, and the same for every gateway that has a timeout. It must never know who is asking.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use concierge_testkit::{
    End, FakeProvider, Request, Script,
    openai::{self, SIXTY},
};
use tokio::time::Instant;

/// Tokens before the cut of S08 and S14.
const CUT_AFTER: usize = 40;
/// Tokens before the silence of S09.
const STALL_AFTER: usize = 20;
/// Which token comes after the malformed chunk of S10.
const MALFORMED_AT: usize = 10;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Head to first token in S07.
    pub slow_first_token: Duration,
    /// How long the primary is down in S15.
    pub outage: Duration,
    /// Between tokens.
    pub token: Duration,
    /// Requests of the sequence in S15.
    pub requests: usize,
    /// Between them.
    pub interval: Duration,
}

impl Timing {
    /// The published profile.
    pub const FULL: Self = Self {
        slow_first_token: Duration::from_secs(20),
        outage: Duration::from_secs(60),
        token: Duration::from_millis(15),
        requests: 20,
        interval: Duration::from_secs(4),
    };
    /// For trying out; never for published figures.
    pub const FAST: Self = Self {
        slow_first_token: Duration::from_secs(3),
        outage: Duration::from_secs(6),
        token: Duration::from_millis(5),
        requests: 10,
        interval: Duration::from_millis(1200),
    };
}

/// A running wall. Its clock starts with [`Wall::begin`].
pub struct Wall {
    provider: FakeProvider,
    origin: Arc<OnceLock<Instant>>,
}

impl Wall {
    /// Opens a port.
    pub async fn start(timing: Timing) -> Self {
        let provider = FakeProvider::start().await;
        let origin = Arc::new(OnceLock::<Instant>::new());
        let begun = Arc::clone(&origin);
        let attempts = Mutex::new(HashMap::<String, usize>::new());
        provider.script(move |request| {
            if !request.is_work() {
                return openai::sane(request, SIXTY);
            }
            let attempt = {
                let mut attempts = attempts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let count = attempts.entry(request.model()).or_default();
                *count += 1;
                *count
            };
            let up = begun.get().map_or(Duration::ZERO, Instant::elapsed);
            answer(request, attempt, up, timing)
        });
        Self { provider, origin }
    }

    /// What goes into `base_url`.
    pub fn base_url(&self) -> String {
        self.provider.base_url()
    }

    /// Starts the clock of the outage and of the attempt times.
    pub fn begin(&self) -> Instant {
        *self.origin.get_or_init(Instant::now)
    }

    /// When attempts on this model came, in seconds since [`Wall::begin`].
    pub fn attempts(&self, model: &str) -> Vec<f64> {
        let origin = self.begin();
        let calls = self.provider.calls();
        let of_model = calls.iter().filter(|call| call.model() == model);
        of_model.map(|call| call.at.duration_since(origin).as_secs_f64()).collect()
    }

    /// How often a prefill was refused.
    pub fn prefill_refused(&self) -> usize {
        self.provider.calls().iter().filter(|call| refuses_prefill(call)).count()
    }
}

fn refuses_prefill(request: &Request) -> bool {
    request.model() == "fb-ok-noprefill" && request.prefill().is_some()
}

/// The answer to one attempt; `up` is the time since the start.
fn answer(request: &Request, attempt: usize, up: Duration, timing: Timing) -> Script {
    if refuses_prefill(request) {
        return refusal(400, "messages must not end with an assistant message", "invalid_prefill");
    }
    let model = request.model();
    let first = attempt == 1;
    match model.split('-').nth(1).unwrap_or_default() {
        "s01" if first => refusal(429, "too many requests", "rate_limit_exceeded").header("retry-after", "2"),
        "s02" => refusal(429, "too many requests", "rate_limit_exceeded"),
        "s03" if first => refusal(500, "an error on our side", "internal"),
        "s04" | "s16" => refusal(503, "overloaded", "overloaded"),
        "s05" if first => Script::reset(),
        "s06" => Script::silent(),
        "s07" => healthy(request, timing).first_after(timing.slow_first_token),
        "s08" | "s14" => healthy(request, timing).stop_after(1 + CUT_AFTER, End::Fin),
        "s09" => healthy(request, timing).stop_after(1 + STALL_AFTER, End::Hang),
        "s10" => malformed(request, timing),
        "s11" => without_done(request, timing),
        "s12" => refusal(400, "the maximum context length is 8192 tokens", "context_length_exceeded"),
        "s13" => refusal(400, "refused by our safety system", "content_policy_violation"),
        "s15" if up < timing.outage => refusal(503, "overloaded", "overloaded"),
        "ok" | "s01" | "s03" | "s05" | "s15" => healthy(request, timing),
        _ => refusal(404, &format!("no model {model}"), "model_not_found"),
    }
}

fn refusal(status: u16, message: &str, code: &str) -> Script {
    let kind = match status {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    Script::status(status, openai::error_body(message, kind, Some(code)))
}

/// The canonical answer; of a prefill that it begins with, the rest.
fn healthy(request: &Request, timing: Timing) -> Script {
    if !request.streams() {
        return openai::sane(request, SIXTY);
    }
    Script::sse(events(request)).every(timing.token)
}

/// The events of a healthy stream: the role, a token each, the finish, usage if asked for, `[DONE]`.
fn events(request: &Request) -> Vec<String> {
    let prefill = request.prefill().unwrap_or_default();
    let rest = SIXTY.strip_prefix(prefill.trim_end()).unwrap_or(SIXTY);
    let model = request.model();
    if request.wants_usage() {
        openai::chat_chunks_with_usage(&model, rest)
    } else {
        openai::chat_chunks(&model, rest)
    }
}

fn malformed(request: &Request, timing: Timing) -> Script {
    let mut events = events(request);
    let broken = "data: {\"id\": \"chatcmpl-1\", \"choices\": [{\"delta\": {\"content\": \n\n";
    events.insert(1 + MALFORMED_AT, broken.to_owned());
    Script::sse(events).every(timing.token)
}

fn without_done(request: &Request, timing: Timing) -> Script {
    let mut events = events(request);
    events.pop();
    Script::sse(events).every(timing.token)
}
