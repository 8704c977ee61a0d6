//! From samples to figures, and from figures to `must / got`: pure arithmetic, so that it can be tested.
//!
//! It must never decide what is good enough; the limits stand beside each figure where it is made.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

/// How one request ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The whole expected text.
    Whole,
    /// A clean end with another text: the worst there is.
    CutShownAsWhole,
    /// An error, by kind: status and code, or how the connection broke.
    Error(String),
}

/// One request of the load, times since the start of the run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was due (not when it got its turn: an open loop does not wait).
    pub due: Duration,
    /// From `due` to the first content, or to the whole answer; to the error if there was none.
    pub first_token: Duration,
    /// How it ended.
    pub ended: Ended,
    /// How many attempts the gateway says it took.
    pub attempts: usize,
}

/// A stretch of the run.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First moment.
    pub from: Duration,
    /// First moment after it.
    pub to: Duration,
}

impl Window {
    /// From and to, in seconds since the start.
    pub fn seconds(from: f64, to: f64) -> Self {
        Self { from: Duration::from_secs_f64(from), to: Duration::from_secs_f64(to.max(from)) }
    }

    /// Whether `at` lies in it.
    pub fn holds(self, at: Duration) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// What callers saw in one stretch.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// Requests due in it.
    pub requests: usize,
    /// Error kinds and how often each came.
    pub errors: BTreeMap<String, usize>,
    /// Clean ends with another text.
    pub cut_shown_as_whole: usize,
    /// First tokens of the good ones, milliseconds: p50, p95, p99.
    pub first_token_ms: [f64; 3],
    /// Time to the error, milliseconds: p99; 0 without errors.
    pub error_p99_ms: f64,
}

impl Callers {
    /// Sums up the samples due in `window`.
    pub fn of(samples: &[Sample], window: Window) -> Self {
        let due: Vec<&Sample> = samples.iter().filter(|sample| window.holds(sample.due)).collect();
        let mut callers = Self { requests: due.len(), ..Self::default() };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for sample in due {
            let ms = sample.first_token.as_secs_f64() * 1e3;
            match &sample.ended {
                Ended::Whole => good.push(ms),
                Ended::CutShownAsWhole => callers.cut_shown_as_whole += 1,
                Ended::Error(kind) => {
                    bad.push(ms);
                    *callers.errors.entry(kind.clone()).or_default() += 1;
                }
            }
        }
        callers.first_token_ms = [0.50, 0.95, 0.99].map(|q| quantile(&mut good, q));
        callers.error_p99_ms = quantile(&mut bad, 0.99);
        callers
    }

    /// All errors.
    pub fn error_count(&self) -> usize {
        self.errors.values().sum()
    }

    /// Errors per request, in percent.
    pub fn error_percent(&self) -> f64 {
        percent(self.error_count(), self.requests)
    }

    /// For the results file.
    pub fn to_json(&self) -> Value {
        let [p50, p95, p99] = self.first_token_ms;
        json!({
            "requests": self.requests, "errors": self.error_count(), "error_kinds": self.errors,
            "cut_shown_as_whole": self.cut_shown_as_whole,
            "first_token_ms": {"p50": round(p50), "p95": round(p95), "p99": round(p99)},
            "error_p99_ms": round(self.error_p99_ms),
        })
    }
}

/// `part` of `whole` in percent; 0 of nothing.
pub fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// The nearest-rank quantile; 0 of nothing. Sorts its argument.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Three digits after the point.
pub fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// One line of the last table: what must hold, and what was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The limit.
    pub must: Must,
    /// The measurement.
    pub got: f64,
}

/// A limit. The unit is in the figure's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Must {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// A figure that must not exceed `limit`.
    pub fn at_most(name: impl Into<String>, limit: f64, got: f64) -> Self {
        Self { name: name.into(), must: Must::AtMost(limit), got }
    }

    /// A figure that must reach `limit`.
    pub fn at_least(name: impl Into<String>, limit: f64, got: f64) -> Self {
        Self { name: name.into(), must: Must::AtLeast(limit), got }
    }

    /// Whether the limit is kept. NaN never is.
    pub fn holds(&self) -> bool {
        match self.must {
            Must::AtMost(limit) => self.got <= limit,
            Must::AtLeast(limit) => self.got >= limit,
        }
    }

    /// For the results file.
    pub fn to_json(&self) -> Value {
        let (relation, limit) = self.must.parts();
        json!({"name": self.name, "must": format!("{relation} {limit}"), "got": round(self.got), "holds": self.holds()})
    }
}

impl Must {
    /// The relation as a sign, and the limit.
    pub const fn parts(self) -> (&'static str, f64) {
        match self {
            Self::AtMost(limit) => ("<=", limit),
            Self::AtLeast(limit) => (">=", limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(due: u64, ms: u64, ended: Ended) -> Sample {
        Sample { due: Duration::from_millis(due), first_token: Duration::from_millis(ms), ended, attempts: 1 }
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| quantile(&mut hundred, q)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }

    #[test]
    fn callers_count_only_their_window_and_only_good_first_tokens() {
        let samples = [
            sample(999, 1, Ended::Whole),
            sample(1000, 10, Ended::Whole),
            sample(1500, 900, Ended::Error("502".into())),
            sample(1600, 5, Ended::CutShownAsWhole),
            sample(2000, 1, Ended::Whole),
        ];
        let callers = Callers::of(&samples, Window::seconds(1.0, 2.0));
        assert_eq!((callers.requests, callers.error_count(), callers.cut_shown_as_whole), (3, 1, 1));
        assert_eq!((callers.first_token_ms[2], callers.error_p99_ms), (10.0, 900.0));
    }

    #[test]
    fn a_limit_is_inclusive_and_nan_never_passes() {
        assert!(Figure::at_most("x", 0.0, 0.0).holds() && Figure::at_least("x", 40.0, 40.0).holds());
        assert!(!Figure::at_most("x", 1.0, 1.1).holds() && !Figure::at_least("x", 40.0, 39.9).holds());
        assert!(
            !Figure::at_most("x", 1.0, f64::NAN).holds() && !Figure::at_least("x", 1.0, f64::NAN).holds()
        );
    }
}
