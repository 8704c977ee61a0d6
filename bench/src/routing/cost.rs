//! What a request costs its caller, and what a run did: the yardstick of every policy.
//!
//! The prices are stated here and nowhere else. It must never know which policy it measures.

/// Seconds of waiting that an error is worth: an SDK's backoff and second try, or a person who asks again.
pub const ERROR: f64 = 10.0;
/// Seconds of waiting that an attempt without an answer is worth: work and rate limit of a provider, for nothing.
pub const WASTED: f64 = 0.1;

/// What happened to all calls of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Calls that came.
    pub calls: usize,
    /// Of them, those whose caller got an error, or a stream that broke.
    pub errors: usize,
    /// Attempts that brought nothing.
    pub wasted: usize,
    /// First-token times of the calls that got one, seconds, failed attempts included.
    pub first_tokens: Vec<f64>,
    /// Seconds that all calls waited for a first token or an error.
    waited: f64,
}

impl Tally {
    /// A call got its first token after `waited` seconds.
    pub fn answered(&mut self, waited: f64) {
        self.calls += 1;
        self.first_tokens.push(waited);
        self.waited += waited;
    }

    /// A call got an error after `waited` seconds.
    pub fn refused(&mut self, waited: f64) {
        self.calls += 1;
        self.errors += 1;
        self.waited += waited;
    }

    /// A stream broke that had begun.
    pub fn cut(&mut self) {
        self.errors += 1;
    }

    /// An attempt brought nothing.
    pub fn wasted(&mut self) {
        self.wasted += 1;
    }

    /// Mean cost of a call, seconds, at this price of an error (the usual one is [`ERROR`]).
    pub fn mean_cost(&self, error: f64) -> f64 {
        let cost = self.waited + self.errors as f64 * error + self.wasted as f64 * WASTED;
        cost / self.calls.max(1) as f64
    }

    /// The part `q` (0..1) of the first tokens came within so many seconds.
    pub fn first_token(&self, q: f64) -> f64 {
        let mut sorted = self.first_tokens.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * q).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}
