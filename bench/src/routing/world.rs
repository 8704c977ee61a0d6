//! What becomes of an attempt: the providers of a trace, on a virtual clock.
//!
//! Luck belongs to the request and the target, not to the order of events: every policy that asks the same target for
//! the same request has the same luck, so that policies differ by what they choose alone. It must never see who asks.

use std::time::Duration;

use concierge::upstream::exchange::outcome::{HardKind, Outcome};

use super::trace::{Limit, Trace, Weather};

/// Spread of first-token times: the standard deviation of their logarithm.
const SIGMA: f64 = 0.35;
/// One first token in so many is from the tail …
const TAIL: f64 = 0.02;
/// … and takes up to so many times as long.
const TAIL_FACTOR: f64 = 6.0;
/// The mean first token of a median of 1: of the lognormal, and of the tail.
const MEAN: f64 = 1.063 * (1.0 + TAIL * (TAIL_FACTOR - 1.0) / 2.0);
/// Median of the time a stream goes on after its first token, seconds.
const STREAM: f64 = 1.5;
/// Median of the time to a 500 and to a 429, seconds.
const REFUSAL: f64 = 0.06;
/// Time to find that nobody listens, seconds.
const NO_CONNECTION: f64 = 0.002;

/// What becomes of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Fate {
    /// First content or failure, so long after the question; `None`: never.
    pub after: Option<Duration>,
    /// Which of them.
    pub outcome: Outcome,
    /// What the answer says about the rate limit.
    pub room: Option<Room>,
    /// How long the stream goes on after its first content.
    pub stream: Duration,
    /// It breaks then.
    pub cut: bool,
}

/// Rate-limit headers.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Requests in one window.
    pub limit: u32,
    /// Of them left.
    pub remaining: u32,
    /// Seconds until all are there again.
    pub reset: f64,
}

/// The targets of one run.
#[derive(Debug)]
pub struct World<'a> {
    trace: &'a Trace,
    states: Vec<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that wait for their first token.
    waiting: u32,
    /// The current window of the rate limit, and what was asked in it.
    window: u64,
    used: u32,
}

impl<'a> World<'a> {
    /// Before the first request.
    pub fn new(trace: &'a Trace) -> Self {
        Self { trace, states: trace.targets.iter().map(|_| State::default()).collect() }
    }

    /// How many targets there are.
    pub fn targets(&self) -> usize {
        self.states.len()
    }

    /// `target` is asked by the `attempt`-th attempt of `call`. Until [`World::settled`] it waits there.
    pub fn ask(&mut self, call: u64, attempt: u32, target: usize, now: f64) -> Fate {
        let script = &self.trace.targets[target];
        let weather = script.weather(now);
        let state = &mut self.states[target];
        let load = 1.0 + script.capacity.map_or(0.0, |capacity| f64::from(state.waiting) / capacity);
        state.waiting += 1;
        let mut luck = Luck::of(self.trace.seed, call, attempt, target);
        let room = (!weather.refuses && !weather.hangs)
            .then(|| script.limit.map(|limit| state.spend(limit, now)))
            .flatten();
        luck.fate(&weather, script.median * load, room, script.limit)
    }

    /// An attempt on `target` waits no longer.
    pub fn settled(&mut self, target: usize) {
        self.states[target].waiting -= 1;
    }

    /// What asking `target` now brings on average, for somebody who knows the trace but not the luck.
    pub fn prospect(&self, target: usize, now: f64) -> Prospect {
        let script = &self.trace.targets[target];
        let (weather, state) = (script.weather(now), &self.states[target]);
        let full = script.limit.is_some_and(|limit| state.left(limit, now) == 0);
        let out = weather.refuses || weather.hangs || weather.throttles.is_some() || full;
        // Who waits makes those who come meanwhile wait as much longer as he waits longer himself.
        let load = 1.0 + script.capacity.map_or(0.0, |capacity| 2.0 * f64::from(state.waiting) / capacity);
        Prospect {
            fails: if out { 1.0 } else { weather.fails },
            failure: REFUSAL,
            first_token: script.median * MEAN * load * weather.slower,
            cut: weather.cuts,
        }
    }
}

/// What asking a target brings on average.
#[derive(Debug, Clone, Copy)]
pub struct Prospect {
    /// Part of the attempts that fail.
    pub fails: f64,
    /// Seconds to a failure.
    pub failure: f64,
    /// Seconds to a first token.
    pub first_token: f64,
    /// Part of the streams that break.
    pub cut: f64,
}

impl State {
    /// What is left of the window at `now`.
    fn left(&self, limit: Limit, now: f64) -> u32 {
        let used = if (now / limit.window) as u64 == self.window { self.used } else { 0 };
        limit.requests.saturating_sub(used)
    }

    /// Takes one request off the window; what is left *before* it decides, what is left after it is stated.
    fn spend(&mut self, limit: Limit, now: f64) -> Room {
        let left = self.left(limit, now);
        self.window = (now / limit.window) as u64;
        self.used = limit.requests - left + u32::from(left > 0);
        let reset = limit.window - now % limit.window;
        // One more than there is, so that 0 is "refused" here and "the last one" in the headers.
        Room { limit: limit.requests, remaining: left, reset }
    }
}

/// The luck of one attempt.
struct Luck(fastrand::Rng);

impl Luck {
    fn of(seed: u64, call: u64, attempt: u32, target: usize) -> Self {
        let parts = [seed, call, u64::from(attempt), target as u64];
        Self(fastrand::Rng::with_seed(parts.into_iter().fold(0, |mixed, part| scramble(mixed ^ part))))
    }

    fn fate(&mut self, weather: &Weather, median: f64, room: Option<Room>, limit: Option<Limit>) -> Fate {
        // Always drawn, in this order, so that weather does not change the rest of the luck.
        let first_token = self.first_token(median) * weather.slower;
        let refusal = REFUSAL * self.lognormal(0.4);
        let stream = Duration::from_secs_f64(STREAM * self.lognormal(0.6));
        let (fails, cut) = (self.0.f64() < weather.fails, self.0.f64() < weather.cuts);
        let full = room.is_some_and(|room| room.remaining == 0);
        let rest = weather.throttles.or(room.filter(|_| full).map(|room| room.reset));
        let (after, outcome) = if weather.refuses {
            (Some(NO_CONNECTION), Outcome::Hard(HardKind::Connect))
        } else if weather.hangs {
            (None, Outcome::Hard(HardKind::Silent))
        } else if let Some(rest) = rest {
            let rest = Duration::from_secs_f64(rest.ceil().max(1.0));
            (Some(refusal), Outcome::Throttled { rest: Some(rest) })
        } else if fails {
            (Some(refusal), Outcome::Hard(HardKind::Status(500)))
        } else {
            (Some(first_token), Outcome::Success)
        };
        let stated = room.filter(|_| limit.is_some_and(|limit| limit.stated));
        let room = stated.map(|room| Room { remaining: room.remaining.saturating_sub(1), ..room });
        Fate { after: after.map(Duration::from_secs_f64), outcome, room, stream, cut }
    }

    /// Lognormal with a tail.
    fn first_token(&mut self, median: f64) -> f64 {
        let usual = median * self.lognormal(SIGMA);
        let (is_tail, how_far) = (self.0.f64() < TAIL, self.0.f64());
        if is_tail { usual * (1.0 + (TAIL_FACTOR - 1.0) * how_far) } else { usual }
    }

    /// Lognormal around 1 (Box and Muller 1958).
    fn lognormal(&mut self, sigma: f64) -> f64 {
        let radius = (-2.0 * self.0.f64().max(f64::MIN_POSITIVE).ln()).sqrt();
        (sigma * radius * (std::f64::consts::TAU * self.0.f64()).cos()).exp()
    }
}

/// The finalizer of splitmix64: neighbours in, strangers out.
fn scramble(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
