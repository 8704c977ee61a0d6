//! The providers of the storm: quick, a little random as real ones are, and broken on demand while they run.
//!
//! Both say the same text, so that whoever answers, a caller can tell a whole answer from a cut one. Randomness is
//! seeded: two runs meet the same delays. It must never depend on what the gateway does.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use concierge_testkit::{End, FakeProvider, Request, Script, fake::Call, ms, openai};
use fastrand::Rng;
use tokio::time::Instant;

/// What both providers answer.
pub const TEXT: &str = "amber bronze coral denim ebony fawn green hazel ivory jade khaki lemon";
/// Between the tokens of a stream.
const TOKEN: Duration = ms(10);
/// First token, or whole answer, of a healthy provider: anything in this range, in milliseconds.
const FIRST_MS: std::ops::RangeInclusive<u64> = 20..=100;
/// How much slower `Fault::Slow` is.
const SLOWER: u32 = 10;
/// Seconds in the `retry-after` of `Fault::Limit`.
pub const RETRY_AFTER: u64 = 7;

/// What is wrong with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Healthy,
    /// Connections are reset, new ones refused.
    Refuse,
    /// Takes requests and never answers.
    Hang,
    /// Every answer is a 500.
    Fail,
    /// Every second answer, by chance, is a 500.
    FailHalf,
    /// The first token takes ten times as long.
    Slow,
    /// Every answer ends too early, some by a reset and some by a close.
    Cut,
    /// Every answer is a 429 with `retry-after: 7`.
    Limit,
}

/// A provider whose fault can be changed while it runs.
pub struct Mock {
    provider: FakeProvider,
    state: Arc<Mutex<(Fault, Rng)>>,
}

impl Mock {
    /// Opens a port; healthy.
    pub async fn start(seed: u64) -> Self {
        let provider = FakeProvider::saying(TEXT).await;
        let state = Arc::new(Mutex::new((Fault::Healthy, Rng::with_seed(seed))));
        let shared = Arc::clone(&state);
        provider.script(move |request| {
            if !request.is_work() {
                return openai::sane(request, TEXT);
            }
            let mut state = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (fault, rng) = &mut *state;
            answer(request, *fault, rng)
        });
        Self { provider, state }
    }

    /// The provider itself.
    pub fn provider(&self) -> &FakeProvider {
        &self.provider
    }

    /// Breaks or heals from now on.
    pub async fn turn(&self, fault: Fault) {
        let before = {
            let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            std::mem::replace(&mut state.0, fault)
        };
        match (before, fault) {
            (Fault::Refuse, Fault::Refuse) => {}
            (_, Fault::Refuse) => self.provider.refuse().await,
            (Fault::Refuse, _) => self.provider.accept_again().await,
            _ => {}
        }
    }

    /// When requests for work came, since `origin`.
    pub fn calls_since(&self, origin: Instant) -> Vec<Duration> {
        let at = |call: &Call| call.at.saturating_duration_since(origin);
        self.provider.calls().iter().map(at).collect()
    }
}

fn answer(request: &Request, fault: Fault, rng: &mut Rng) -> Script {
    let failed = || Script::status(500, openai::error_body("our fault", "server_error", None));
    let first = ms(rng.u64(FIRST_MS));
    match fault {
        Fault::Healthy | Fault::Refuse => healthy(request, first),
        Fault::Slow => healthy(request, first * SLOWER),
        Fault::Hang => Script::silent(),
        Fault::Fail => failed(),
        Fault::FailHalf if rng.bool() => failed(),
        Fault::FailHalf => healthy(request, first),
        Fault::Limit => {
            let body =
                openai::error_body("too many requests", "rate_limit_error", Some("rate_limit_exceeded"));
            Script::status(429, body).header("retry-after", &RETRY_AFTER.to_string())
        }
        Fault::Cut => cut(request, first, rng),
    }
}

fn healthy(request: &Request, first: Duration) -> Script {
    let script = openai::sane(request, TEXT);
    if request.streams() { script.every(TOKEN).first_after(first) } else { script.head_after(first) }
}

/// Any place behind the head and before the last token.
fn cut(request: &Request, first: Duration, rng: &mut Rng) -> Script {
    let end = if rng.bool() { End::Reset } else { End::Fin };
    let script = healthy(request, first);
    if request.streams() {
        return script.stop_after(rng.usize(1..=TEXT.split(' ').count()), end);
    }
    let body = script.wire_len() - script.head_len();
    script.cut_body(rng.usize(0..body), end)
}

#[cfg(test)]
mod tests;
