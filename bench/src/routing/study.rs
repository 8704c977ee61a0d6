//! All policies through all traces: regret is what a policy cost more than the oracle on the same trace.
//!
//! A kind of trace counts the same however many requests it has: kinds are averaged over their seeds, then with each
//! other.

use serde_json::{Value, json};

use super::{
    catalogue, cost,
    cost::Tally,
    engine,
    ours::Ours,
    policy::Policy,
    report::rounded,
    rivals::{self, Make},
    trace::Trace,
};

/// A policy that takes part.
pub struct Entrant {
    name: &'static str,
    who: Who,
}

enum Who {
    /// The product with this added to its configuration.
    Ours(&'static str),
    Rival(Make),
}

impl Entrant {
    /// The product with `settings`.
    pub fn ours(name: &'static str, settings: &'static str) -> Self {
        Self { name, who: Who::Ours(settings) }
    }

    /// Everybody else.
    pub fn rivals() -> impl Iterator<Item = Self> {
        rivals::ALL.into_iter().map(|(name, make)| Self { name, who: Who::Rival(make) })
    }

    /// What it does in `trace`.
    pub fn run(&self, trace: &Trace) -> Tally {
        engine::run(trace, || Some(self.make(trace.targets.len(), trace.seed)))
    }

    fn make(&self, targets: usize, seed: u64) -> Box<dyn Policy> {
        match self.who {
            Who::Ours(settings) => Box::new(Ours::new(targets, settings, seed)),
            Who::Rival(make) => make(targets, seed),
        }
    }
}

/// What one policy did.
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Of each kind of trace, in the order of the catalogue.
    pub kinds: Vec<OfKind>,
}

/// What one policy did in all traces of one kind.
pub struct OfKind {
    /// Its name.
    pub name: &'static str,
    runs: Vec<(Tally, Tally)>,
}

/// Runs everybody through every kind of trace with these seeds.
pub fn run(entrants: &[Entrant], seeds: &[u64]) -> Vec<Measured> {
    let measured = |entrant: &Entrant| Measured { name: entrant.name, kinds: Vec::new() };
    let mut all: Vec<Measured> = entrants.iter().map(measured).collect();
    for kind in 0..catalogue::kinds() {
        let traces: Vec<Trace> = seeds.iter().map(|seed| catalogue::trace(kind, *seed)).collect();
        let best: Vec<Tally> = traces.iter().map(|trace| engine::run(trace, || None)).collect();
        for (entrant, measured) in entrants.iter().zip(&mut all) {
            let runs = traces.iter().zip(&best).map(|(trace, best)| (entrant.run(trace), best.clone()));
            measured.kinds.push(OfKind { name: traces[0].name, runs: runs.collect() });
        }
    }
    all
}

impl Measured {
    /// Mean regret over all kinds, seconds per call, at this price of an error.
    pub fn regret(&self, error: f64) -> f64 {
        mean(self.kinds.iter().map(|kind| kind.regret(error)))
    }

    /// The same without the kind of trace in which it is the largest.
    pub fn regret_without_worst(&self, error: f64) -> f64 {
        let regrets = || self.kinds.iter().map(|kind| kind.regret(error));
        let worst = regrets().fold(f64::NEG_INFINITY, f64::max);
        (regrets().sum::<f64>() - worst) / (self.kinds.len() - 1) as f64
    }

    /// Mean of another figure over all kinds.
    pub fn mean(&self, figure: impl Fn(&OfKind) -> f64) -> f64 {
        mean(self.kinds.iter().map(figure))
    }

    /// Everything, for the results file.
    pub fn to_json(&self) -> Value {
        let of = |kind: &OfKind| {
            json!({
                "trace": kind.name,
                "regret_s": rounded(kind.regret(cost::ERROR)),
                "errors": rounded(kind.errors()),
                "first_token_p50_s": rounded(kind.first_token(0.5)),
                "first_token_p99_s": rounded(kind.first_token(0.99)),
                "wasted_per_call": rounded(kind.wasted()),
            })
        };
        json!({
            "policy": self.name,
            "regret_s": rounded(self.regret(cost::ERROR)),
            "traces": self.kinds.iter().map(of).collect::<Vec<_>>(),
        })
    }
}

impl OfKind {
    /// What a call cost more than with the oracle, seconds.
    pub fn regret(&self, error: f64) -> f64 {
        mean(self.runs.iter().map(|(run, best)| run.mean_cost(error) - best.mean_cost(error)))
    }

    /// Part of the calls that ended in an error.
    pub fn errors(&self) -> f64 {
        mean(self.runs.iter().map(|(run, _)| run.errors as f64 / run.calls as f64))
    }

    /// Attempts per call that brought nothing.
    pub fn wasted(&self) -> f64 {
        mean(self.runs.iter().map(|(run, _)| run.wasted as f64 / run.calls as f64))
    }

    /// The part `q` of the first tokens came within so many seconds.
    pub fn first_token(&self, q: f64) -> f64 {
        mean(self.runs.iter().map(|(run, _)| run.first_token(q)))
    }
}

fn mean(figures: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = figures.fold((0.0, 0), |(sum, count), figure| (sum + figure, count + 1));
    sum / f64::from(count)
}
