//! LiteLLM 1.109: `latency-based-routing` over ten samples, and the cooldown of every strategy (`cooldown_handlers.py`).
//!
//! A deployment cools for 5 s, or for the `retry-after` up to a minute: after a 429, or when more than half of at least
//! five requests of this minute failed.

use std::{collections::VecDeque, time::Duration};

use concierge::upstream::exchange::outcome::{HardKind, Outcome};
use tokio::time::Instant;

use super::{Guard, Order, failed, retry_after};
use crate::routing::policy::Ended;

const SAMPLES: usize = 10;
/// What a timeout is taken for; other failures leave no sample.
const TIMEOUT: f64 = 1000.0;
const COOLDOWN: Duration = Duration::from_secs(5);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
const MINUTE: Duration = Duration::from_secs(60);
const LEAST_REQUESTS: u32 = 5;

/// The least mean of the last ten latencies; who has none comes first.
pub struct TenSamples(Vec<VecDeque<f64>>);

impl TenSamples {
    pub fn new(targets: usize) -> Self {
        Self(vec![VecDeque::new(); targets])
    }

    fn mean(&self, target: usize) -> f64 {
        let samples = &self.0[target];
        samples.iter().sum::<f64>() / samples.len().max(1) as f64
    }
}

impl Order for TenSamples {
    fn pick(&mut self, eligible: &[usize], _now: Instant, rng: &mut fastrand::Rng) -> usize {
        let mut shuffled = eligible.to_vec();
        rng.shuffle(&mut shuffled);
        let least = shuffled.iter().copied().min_by(|a, b| self.mean(*a).total_cmp(&self.mean(*b)));
        least.unwrap_or(eligible[0])
    }

    fn ended(&mut self, ended: &Ended, _now: Instant) {
        let sample = match ended.outcome {
            Outcome::Success => ended.elapsed.as_secs_f64(),
            Outcome::Hard(HardKind::Silent) => TIMEOUT,
            _ => return,
        };
        let samples = &mut self.0[ended.target];
        samples.push_back(sample);
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }
}

/// Who cools down.
pub struct Cooldown(Vec<Minute>);

#[derive(Clone, Default)]
struct Minute {
    out_until: Option<Instant>,
    began: Option<Instant>,
    requests: u32,
    failures: u32,
}

impl Cooldown {
    pub fn new(targets: usize) -> Self {
        Self(vec![Minute::default(); targets])
    }
}

impl Guard for Cooldown {
    fn is_out(&self, target: usize, now: Instant) -> bool {
        self.0[target].out_until.is_some_and(|until| now < until)
    }

    fn ended(&mut self, ended: &Ended, now: Instant) {
        let minute = &mut self.0[ended.target];
        if minute.began.is_none_or(|began| now - began >= MINUTE) {
            *minute = Minute { began: Some(now), out_until: minute.out_until, ..Minute::default() };
        }
        minute.requests += 1;
        minute.failures += u32::from(failed(ended.outcome));
        let throttled = matches!(ended.outcome, Outcome::Throttled { .. });
        let mostly = minute.requests >= LEAST_REQUESTS && minute.failures * 2 > minute.requests;
        if failed(ended.outcome) && (throttled || mostly) {
            let said = retry_after(ended.outcome).filter(|said| *said <= LONGEST_RETRY_AFTER);
            minute.out_until = Some(now + said.unwrap_or(COOLDOWN));
        }
    }
}
