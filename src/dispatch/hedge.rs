//! A second attempt while the first is silent: off by default, and bounded by a budget.
//!
//! The first content wins; the other attempt is dropped, which cancels it. Source: "The Tail at Scale" (Dean and
//! Barroso, 2013): hedge after the 95th percentile of the class.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{
    config::Hedge,
    upstream::{Target, health::score::LatencyKind},
};

/// The shortest delay, however fast the target usually is.
const FLOOR: Duration = Duration::from_millis(50);
/// Hedges that may accumulate.
const SAVED: f64 = 10.0;

/// The hedges that may be made: a share of the calls.
#[derive(Debug)]
pub(crate) struct Hedges(Mutex<f64>);

impl Default for Hedges {
    fn default() -> Self {
        Self(Mutex::new(1.0))
    }
}

impl Hedges {
    /// Counts a call, which earns `share` of a hedge.
    pub(crate) fn earn(&self, share: f64) {
        let mut saved = self.0.lock();
        *saved = (*saved + share).min(SAVED);
    }

    /// Takes a hedge, if one was earned.
    pub(crate) fn take(&self) -> bool {
        let mut saved = self.0.lock();
        let earned = *saved >= 1.0;
        if earned {
            *saved -= 1.0;
        }
        earned
    }
}

/// The silence of `target` after which a second target is tried; `None`: never.
pub(crate) fn delay(hedge: Hedge, target: &Target, kind: LatencyKind) -> Option<Duration> {
    match hedge {
        Hedge::Off => None,
        Hedge::After(delay) => Some(delay),
        Hedge::Auto if kind == LatencyKind::Whole => None,
        Hedge::Auto => target.state.usual_first_token().map(|usual| usual.max(FLOOR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_are_a_share_of_the_calls() {
        let hedges = Hedges::default();
        let made = (0..1000)
            .filter(|_| {
                hedges.earn(0.05);
                hedges.take()
            })
            .count();
        assert!((50..=51).contains(&made), "{made}");
    }
}
