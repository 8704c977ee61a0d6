//! The counters: typed handles that live with what they count.
//!
//! A target, a model and the gateway each own theirs, so a request finds them without a lookup, and the metrics of a target
//! that a reload removed disappear with it. Written on the hot path, read only by `GET /metrics` (`admin::metrics`).
//!
//! Labels are bounded here: they come from constants of the source code and from the configuration. Nothing of a
//! request may become a label.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
pub(crate) use prometheus_client::metrics::counter::Counter;

use super::histogram::{DURATION, FIRST_TOKEN, Histogram, SHORT, TOKENS};

/// Counts by a key with few values. It takes a lock, so it is for rare events.
#[derive(Debug)]
pub struct CounterMap<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for CounterMap<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> CounterMap<K> {
    /// Counts `key` once more.
    pub fn add(&self, key: K) {
        *self.0.lock().entry(key).or_default() += 1;
    }

    /// Every key counted so far.
    pub fn read(&self) -> Vec<(K, u64)> {
        self.0.lock().iter().map(|(key, count)| (key.clone(), *count)).collect()
    }
}

/// Durations in seconds, separately for successes and for each kind of error.
#[derive(Debug)]
pub struct OutcomeHistogram {
    bounds: &'static [f64],
    ok: Histogram,
    failed: Mutex<BTreeMap<&'static str, Arc<Histogram>>>,
}

impl OutcomeHistogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, ok: Histogram::new(bounds), failed: Mutex::default() }
    }

    /// Counts one that took `time`; `error` is its kind of error. Without an error it takes no lock.
    pub fn observe(&self, time: Duration, error: Option<&'static str>) {
        match error {
            None => self.ok.observe(time.as_secs_f64()),
            Some(word) => self.histogram(word).observe(time.as_secs_f64()),
        }
    }

    fn histogram(&self, word: &'static str) -> Arc<Histogram> {
        let new = || Arc::new(Histogram::new(self.bounds));
        self.failed.lock().entry(word).or_insert_with(new).clone()
    }

    /// Successes, then each kind of error that happened.
    pub fn each(&self, mut see: impl FnMut(Option<&'static str>, &Histogram)) {
        if self.ok.count() > 0 {
            see(None, &self.ok);
        }
        let failed: Vec<_> = self.failed.lock().iter().map(|(word, h)| (*word, h.clone())).collect();
        failed.iter().for_each(|(word, histogram)| see(Some(word), histogram));
    }
}

/// `gen_ai.operation.name`: OpenTelemetry's name of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GenAi {
    /// Chat completion.
    Chat,
    TextCompletion,
    /// Embeddings of texts.
    Embeddings,
    /// Anything else; not a name of OpenTelemetry's.
    #[default]
    Other,
}

impl GenAi {
    /// All of them, each at the index of its discriminant.
    pub const ALL: [Self; 4] = [Self::Chat, Self::TextCompletion, Self::Embeddings, Self::Other];

    /// The value of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Other => "other",
        }
    }
}

/// How well the token count of an attempt is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CostMeters {
    /// The provider's count of a whole answer.
    Complete,
    /// The provider's count of an answer that broke off.
    Partial,
    /// The provider may have done work, and did not report its usage.
    Unknown,
}

impl CostMeters {
    /// All of them, each at the index of its discriminant.
    pub(crate) const ALL: [Self; 3] = [Self::Complete, Self::Partial, Self::Unknown];

    /// The name in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// A value for each operation seen so far: created on first use, read without a lock.
#[derive(Debug)]
pub struct PerOperation<T>([OnceLock<Box<T>>; GenAi::ALL.len()]);

impl<T> Default for PerOperation<T> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<T: Default> PerOperation<T> {
    /// The value of `operation`.
    pub fn get(&self, operation: GenAi) -> &T {
        self.0[operation as usize].get_or_init(Box::default)
    }

    /// The values that were used.
    pub fn used(&self) -> impl Iterator<Item = (GenAi, &T)> {
        GenAi::ALL.into_iter().zip(&self.0).filter_map(|(operation, cell)| Some((operation, &**cell.get()?)))
    }
}

/// The label of everything that is not in the configuration, such as ad-hoc targets.
pub(crate) const OTHER: &str = "other";

/// The metrics of a target, of which the gateway is the client.
#[derive(Debug)]
pub struct TargetMeters {
    /// Its label: `provider/model`, or [`OTHER`] for those that are in no model.
    pub label: Arc<str>,
    /// Attempts by operation.
    pub attempts: PerOperation<Attempts>,
    /// Failovers from this target: to which one, and after which outcome.
    pub failovers: CounterMap<(Arc<str>, &'static str)>,
    /// Attempts by what is known of their [`CostMeters`], each at the index of its discriminant.
    pub usage: [Counter; CostMeters::ALL.len()],
    /// Times its circuit breaker opened.
    pub opened: Counter,
    /// Times its circuit breaker closed again.
    pub closed: Counter,
    /// Events of its streams that were not relayed.
    pub noise: Counter,
}

impl TargetMeters {
    /// All counts zero.
    pub fn new(label: Arc<str>) -> Self {
        Self {
            label,
            attempts: PerOperation::default(),
            failovers: CounterMap::default(),
            usage: Default::default(),
            opened: Counter::default(),
            closed: Counter::default(),
            noise: Counter::default(),
        }
    }
}

/// The attempts of one operation.
#[derive(Debug)]
pub struct Attempts {
    /// Seconds from the first byte to the last, by outcome.
    pub duration: OutcomeHistogram,
    /// Seconds to the first content of a stream.
    pub first_chunk: Histogram,
    /// Tokens of prompts, where the provider counted them.
    pub input: Histogram,
    /// Tokens of answers, where the provider counted them.
    pub output: Histogram,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            duration: OutcomeHistogram::new(DURATION),
            first_chunk: Histogram::new(FIRST_TOKEN),
            input: Histogram::new(TOKENS),
            output: Histogram::new(TOKENS),
        }
    }
}

/// The metrics of a model, of which the gateway is the server.
#[derive(Debug, Default)]
pub struct ModelMeters {
    /// Requests by operation.
    pub requests: PerOperation<RequestMeters>,
    /// Streams that broke after their first content.
    pub broken: Counter,
    /// Streams that another target continued.
    pub rescued: Counter,
}

/// The admitted requests of one operation.
#[derive(Debug)]
pub struct RequestMeters {
    /// Seconds from the head of the request to the last byte of the answer, by error code.
    pub duration: OutcomeHistogram,
    /// Seconds to the first content of a stream.
    pub first_token: Histogram,
}

impl Default for RequestMeters {
    fn default() -> Self {
        Self { duration: OutcomeHistogram::new(DURATION), first_token: Histogram::new(FIRST_TOKEN) }
    }
}

/// The metrics of the whole gateway.
#[derive(Debug)]
pub struct GatewayMeters {
    /// Requests that were refused, by error code.
    pub refusals: CounterMap<&'static str>,
    /// Panics that were caught: bugs.
    pub panics: Counter,
    /// Seconds in the gateway before the first attempt, without the queue.
    pub overhead: Histogram,
    /// Seconds in the queue, of requests that got a slot.
    pub queue: Histogram,
    /// When the process started.
    pub started: SystemTime,
    reloads: Mutex<Reloads>,
}

/// The results of reloads.
#[derive(Debug, Clone, Copy)]
pub struct Reloads {
    /// Reloads that were activated.
    pub done: u64,
    /// Reloads that were rejected.
    pub refused: u64,
    /// Whether the last one was activated; also true before the first.
    pub last_ok: bool,
    /// Since when the configuration is in force.
    pub in_force: SystemTime,
}

impl GatewayMeters {
    /// Counts a reload.
    pub fn reloaded(&self, ok: bool) {
        let mut reloads = self.reloads.lock();
        reloads.last_ok = ok;
        match ok {
            true => (reloads.done, reloads.in_force) = (reloads.done + 1, SystemTime::now()),
            false => reloads.refused += 1,
        }
    }

    /// The results of reloads so far.
    pub fn reloads(&self) -> Reloads {
        *self.reloads.lock()
    }
}

impl Default for GatewayMeters {
    fn default() -> Self {
        let started = SystemTime::now();
        Self {
            refusals: CounterMap::default(),
            panics: Counter::default(),
            overhead: Histogram::new(SHORT),
            queue: Histogram::new(SHORT),
            started,
            reloads: Mutex::new(Reloads { done: 0, refused: 0, last_ok: true, in_force: started }),
        }
    }
}

/// The metrics of memory.
#[derive(Debug)]
pub(crate) struct MemoryMeters {
    /// Recalls, by the reason why nothing was recalled.
    pub recalls: OutcomeHistogram,
    /// Calls that failed because of the store, by reason.
    pub store_errors: CounterMap<&'static str>,
}

impl Default for MemoryMeters {
    fn default() -> Self {
        Self { recalls: OutcomeHistogram::new(SHORT), store_errors: CounterMap::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_and_what_did_not_are_apart() {
        let timed = OutcomeHistogram::new(DURATION);
        timed.observe(Duration::from_millis(5), None);
        timed.observe(Duration::from_millis(5), Some("timeout"));
        timed.observe(Duration::from_millis(7), Some("timeout"));
        let mut seen = Vec::new();
        timed.each(|word, histogram| seen.push((word, histogram.count())));
        assert_eq!(seen, [(None, 1), (Some("timeout"), 2)]);
    }

    #[test]
    fn what_never_happened_is_not_there() {
        let meters = TargetMeters::new(OTHER.into());
        assert_eq!(meters.attempts.used().count(), 0);
        meters.attempts.get(GenAi::Embeddings).input.observe(1.0);
        let used: Vec<_> = meters.attempts.used().map(|(operation, _)| operation.as_str()).collect();
        assert_eq!(used, ["embeddings"]);
        OutcomeHistogram::new(DURATION).each(|_, _| panic!("nothing happened"));
    }
}
