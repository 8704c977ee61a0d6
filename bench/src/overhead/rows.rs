//! What is measured, and in which order: short stretches, one peer after the other, again and again.
//!
//! The machine is never the same for long, so a figure is a ratio of two stretches of one round, and of many rounds the
//! median. It must never compare stretches of different rounds.

use std::collections::BTreeMap;

use super::{
    machine::Ground,
    peer::{DIRECT, NGINX, OURS, Peer, REMEMBERING, Running},
};
use crate::{
    setup,
    storm::figures::quantile,
    traffic::{Measured, Pace, Plan, Shape},
};

/// Connections and requests at once at saturation.
const SATURATED: usize = 64;
/// Paced streams at once.
const PACED: usize = 64;
/// Burst streams at once.
const BURSTS: usize = 16;
/// Connections of the open loop.
const OPEN: usize = 32;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Whole answers, as many as go through.
    Request,
    /// The same, where the first target of each request fails.
    Failover,
    /// Streams with 5 ms between chunks.
    Paced,
    /// Streams whose chunks are all there at once.
    Burst,
    /// Whole answers at a fixed rate.
    Open,
}

impl Row {
    fn plan(self, of: &Running) -> Plan {
        let (shape, pace, connections, warm_up_ms, measure_ms) = match self {
            Self::Request => (Shape::Plain, Pace::Closed, SATURATED, 250, 1200),
            Self::Failover => (Shape::Failover, Pace::Closed, SATURATED, 250, 1200),
            Self::Paced => (Shape::Paced, Pace::Closed, PACED, 700, 1500),
            Self::Burst => (Shape::Burst, Pace::Closed, BURSTS, 200, 1000),
            Self::Open => (Shape::Plain, Pace::Open(of.peer.rate), OPEN, 300, 1500),
        };
        let measure_ms = if setup::fast() { measure_ms / 3 } else { measure_ms };
        let connections = connections.min(of.peer.lanes);
        let (warm_up_ms, measure_ms) = (warm_up_ms * of.peer.stretch, measure_ms * of.peer.stretch);
        Plan { warm_up_ms, measure_ms, ..of.plan(shape, pace, connections) }
    }

    /// Latencies are measured before all other work of the machine; at saturation that would starve it.
    fn realtime(self) -> bool {
        matches!(self, Self::Paced | Self::Open)
    }

    fn asks(self, peer: Peer) -> bool {
        match self {
            Self::Request => peer != DIRECT,
            Self::Failover => peer == OURS,
            Self::Burst => peer != DIRECT && peer != REMEMBERING,
            Self::Paced | Self::Open => peer != REMEMBERING,
        }
    }
}

/// Rows that are compared with each other, and so alternate.
const GROUPS: [&[Row]; 4] = [&[Row::Request, Row::Failover], &[Row::Paced], &[Row::Burst], &[Row::Open]];

/// Everything measured: by row and peer, one entry a round.
#[derive(Default)]
pub struct Samples(BTreeMap<(Row, Peer), Vec<Measured>>);

/// Runs all rounds over the peers that run.
pub async fn measure(ground: &Ground, peers: &[Running], rounds: usize) -> Result<Samples, String> {
    let mut samples = Samples::default();
    for rows in GROUPS {
        for round in 1..=rounds {
            println!("  {rows:?}, round {round} of {rounds}");
            for (row, of) in rows.iter().flat_map(|row| peers.iter().map(move |of| (*row, of))) {
                if row.asks(of.peer) {
                    let measured = ground.load(&row.plan(of), row.realtime()).await?;
                    samples.0.entry((row, of.peer)).or_default().push(measured);
                }
            }
        }
    }
    Ok(samples)
}

impl Samples {
    /// One value of each round; nothing where the peer gave errors instead of answers.
    pub fn of(&self, row: Row, peer: Peer, value: impl Fn(&Measured) -> f64) -> Vec<f64> {
        let rounds = self.0.get(&(row, peer)).map(Vec::as_slice).unwrap_or_default();
        let good = |measured: &&Measured| measured.answers > 0 && measured.errors == 0;
        if rounds.iter().all(|measured| good(&measured)) {
            rounds.iter().map(value).collect()
        } else {
            Vec::new()
        }
    }

    /// The median over the rounds; NaN without any.
    pub fn median(&self, row: Row, peer: Peer, value: impl Fn(&Measured) -> f64) -> f64 {
        median(self.of(row, peer, value))
    }

    /// The median of what `pair` makes of the two values of each round.
    pub fn paired(
        &self,
        (row, peer): (Row, Peer),
        (other_row, other): (Row, Peer),
        value: impl Fn(&Measured) -> f64,
        pair: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        let (ours, theirs) = (self.of(row, peer, &value), self.of(other_row, other, &value));
        median(ours.into_iter().zip(theirs).map(|(a, b)| pair(a, b)).collect())
    }

    /// How many times as much as nginx.
    pub fn times_nginx(&self, row: Row, peer: Peer, value: impl Fn(&Measured) -> f64) -> f64 {
        self.paired((row, peer), (row, NGINX), value, |ours, theirs| ours / theirs)
    }

    /// The first thing that went wrong anywhere, by row and peer.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|((row, peer), rounds)| {
            let errors: u64 = rounds.iter().map(|measured| measured.errors).sum();
            let why = rounds.iter().find_map(|measured| measured.first_error.as_ref())?;
            let line = why.lines().next().unwrap_or_default();
            Some(format!("{}: {row:?}: {errors} errors, the first: {line}", peer.name))
        })
    }
}

/// NaN of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() { f64::NAN } else { quantile(&mut values, 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_ns: u64, errors: u64) -> Measured {
        Measured { answers: 1, cpu_ns, errors, ..Measured::default() }
    }

    #[test]
    fn ratios_are_of_one_round_and_their_median_counts() {
        let ours = [10, 400, 30].map(|cpu| measured(cpu * 1000, 0)).to_vec();
        let theirs = [10, 200, 10].map(|cpu| measured(cpu * 1000, 0)).to_vec();
        let samples =
            Samples(BTreeMap::from([((Row::Request, OURS), ours), ((Row::Request, NGINX), theirs)]));
        // Of the medians it would be 3.
        assert_eq!(samples.times_nginx(Row::Request, OURS, Measured::cpu_per_answer), 2.0);
    }

    #[test]
    fn a_peer_that_gave_errors_has_no_figure() {
        let rounds = vec![measured(1000, 0), measured(1, 1)];
        let samples = Samples(BTreeMap::from([((Row::Burst, NGINX), rounds)]));
        assert!(samples.median(Row::Burst, NGINX, Measured::cpu_per_answer).is_nan());
        assert!(samples.median(Row::Burst, OURS, Measured::cpu_per_answer).is_nan());
    }
}
