//! From samples to the two tables: our figures against their limits, and everybody side by side.
//!
//! Limits stand here and nowhere else. It must never leave out a figure because it is bad, and a figure that is not there
//! misses its limit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    peer::{DIRECT, NGINX, OURS, Peer, REMEMBERING},
    rows::{Row, Samples},
};
use crate::{storm::figures::round, traffic::Measured};

/// What was measured of one peer outside the rounds. NaN where nothing was.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Memory after the first answer, MB.
    pub idle_mb: f64,
    /// … after all rounds, MB.
    pub after_mb: f64,
    /// … of each of a thousand open streams, KiB.
    pub stream_kib: f64,
    /// From the start to the first answer, milliseconds.
    pub start_ms: f64,
    /// On disk, MB.
    pub disk_mb: f64,
}

/// Of every peer.
pub type Footprints = BTreeMap<Peer, Footprint>;

/// One of our figures.
pub struct Figure {
    name: &'static str,
    must: f64,
    aim: f64,
    got: f64,
}

impl Figure {
    /// Whether the limit is kept; NaN never is.
    pub fn holds(&self) -> bool {
        self.got <= self.must
    }

    fn verdict(&self) -> &'static str {
        match (self.holds(), self.got <= self.aim) {
            (_, true) => "aim",
            (true, false) => "must",
            (false, false) => "MISSED",
        }
    }

    fn to_json(&self) -> Value {
        let Self { name, must, aim, got } = self;
        json!({"name": name, "must": must, "aim": aim, "got": round(*got), "verdict": self.verdict()})
    }
}

/// Ours, with their limits.
pub fn figures(samples: &Samples, footprints: &Footprints) -> Vec<Figure> {
    let figure = |name, must, aim, got| Figure { name, must, aim, got };
    let ours = footprints.get(&OURS).copied().unwrap_or(Footprint::UNKNOWN);
    let cpu = Measured::cpu_per_answer;
    let remembering =
        samples.paired((Row::Request, REMEMBERING), (Row::Request, NGINX), cpu, |ours, theirs| ours / theirs);
    let failover =
        samples.paired((Row::Failover, OURS), (Row::Request, OURS), cpu, |all, plain| all / plain - 1.0);
    let first =
        samples.paired((Row::Paced, OURS), (Row::Paced, NGINX), first_ms, |ours, theirs| ours - theirs);
    vec![
        figure("CPU per request, saturated, x nginx", 1.5, 1.2, samples.times_nginx(Row::Request, OURS, cpu)),
        figure("… with memory on, recall cached, x nginx", 1.9, 1.5, remembering),
        figure(
            "CPU per paced chunk, x nginx",
            1.3,
            1.15,
            samples.times_nginx(Row::Paced, OURS, Measured::cpu_per_chunk),
        ),
        // 500 and 150 µs where nginx needs 83.
        figure(
            "CPU per stream of 100 chunks at once, x nginx",
            6.0,
            1.8,
            samples.times_nginx(Row::Burst, OURS, cpu),
        ),
        figure("first token, later than nginx, ms", 0.2, 0.1, first),
        figure("memory per open stream, KiB", 18.0, 12.0, ours.stream_kib),
        figure("memory idle, MB", 15.0, 8.0, ours.idle_mb),
        figure("memory after load, MB", 25.0, 15.0, ours.after_mb),
        figure("start to the first proxied answer, ms", 50.0, 25.0, ours.start_ms),
        figure("CPU of one failover, x a plain request", 1.0, 1.0, failover),
    ]
}

fn first_ms(measured: &Measured) -> f64 {
    measured.first_us[0] / 1e3
}

/// The table of limits.
pub fn print_figures(figures: &[Figure]) {
    println!("\n{:<50} {:>8} {:>8} {:>10}", "", "must", "aim", "got");
    for figure in figures {
        let Figure { name, must, aim, got } = figure;
        println!("{name:<50} {must:>8} {aim:>8} {:>10.3}  {}", got, figure.verdict());
    }
}

/// One column of the comparison: its title, and a peer's value.
type Column = (&'static str, fn(&Samples, &Footprint, Peer) -> f64);

/// Everybody side by side. Medians; times and sizes as the title says.
const COLUMNS: [Column; 14] = [
    ("CPU us/request", |samples, _, peer| samples.median(Row::Request, peer, Measured::cpu_per_answer)),
    ("x nginx", |samples, _, peer| samples.times_nginx(Row::Request, peer, Measured::cpu_per_answer)),
    ("requests/s", |samples, _, peer| samples.median(Row::Request, peer, Measured::rate)),
    ("CPU us/chunk", |samples, _, peer| samples.median(Row::Paced, peer, Measured::cpu_per_chunk)),
    ("CPU us/burst", |samples, _, peer| samples.median(Row::Burst, peer, Measured::cpu_per_answer)),
    ("first token +ms", |samples, _, peer| added(samples, Row::Paced, peer, first_ms)),
    ("transit p50 us", |samples, _, peer| {
        samples.median(Row::Paced, peer, |measured| measured.transit_us[0])
    }),
    ("transit p99 us", |samples, _, peer| {
        samples.median(Row::Paced, peer, |measured| measured.transit_us[1])
    }),
    ("open loop +p50 us", |samples, _, peer| {
        added(samples, Row::Open, peer, |measured| measured.latency_us[0])
    }),
    ("open loop +p99 us", |samples, _, peer| {
        added(samples, Row::Open, peer, |measured| measured.latency_us[1])
    }),
    ("KiB/stream", |_, footprint, _| footprint.stream_kib),
    ("idle MB", |_, footprint, _| footprint.idle_mb),
    ("after MB", |_, footprint, _| footprint.after_mb),
    ("start ms", |_, footprint, _| footprint.start_ms),
];

/// More than the provider asked directly in the same round.
fn added(samples: &Samples, row: Row, peer: Peer, value: fn(&Measured) -> f64) -> f64 {
    samples.paired((row, peer), (row, DIRECT), value, |through, direct| through - direct)
}

/// The comparison for the results file, by peer.
pub fn comparison(samples: &Samples, footprints: &Footprints) -> Value {
    let of = |peer: Peer, footprint: &Footprint| {
        let cells = COLUMNS.iter().map(|(title, value)| (*title, value(samples, footprint, peer)));
        let cells = cells.chain([("disk MB", footprint.disk_mb)]);
        cells
            .filter(|(_, got)| got.is_finite())
            .map(|(title, got)| (title.to_owned(), json!(round(got))))
            .collect::<Value>()
    };
    footprints.iter().map(|(peer, footprint)| (peer.name.to_owned(), of(*peer, footprint))).collect()
}

/// The comparison as a table; a dash where a peer gave errors instead of answers.
pub fn print_comparison(comparison: &Value) {
    let Some(peers) = comparison.as_object() else { return };
    println!();
    print!("{:<18}", "");
    peers.keys().for_each(|name| print!("{name:>17}"));
    println!();
    for title in COLUMNS.iter().map(|(title, _)| *title).chain(["disk MB"]) {
        print!("{title:<18}");
        for cells in peers.values() {
            let cell = cells[title].as_f64().map_or("–".to_owned(), |got| format!("{got:.2}"));
            print!("{cell:>17}");
        }
        println!();
    }
}

/// For the results file.
pub fn to_json(figures: &[Figure]) -> Value {
    figures.iter().map(Figure::to_json).collect()
}

impl Footprint {
    /// Nothing measured.
    pub const UNKNOWN: Self = Self {
        idle_mb: f64::NAN,
        after_mb: f64::NAN,
        stream_kib: f64::NAN,
        start_ms: f64::NAN,
        disk_mb: f64::NAN,
    };
}
